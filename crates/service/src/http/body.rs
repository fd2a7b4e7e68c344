//! Bodies: read within bounds, and fed from a task.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use hyper::body::Frame;
use tokio::sync::mpsc::Receiver;

use super::problem::Problem;

/// Reads a body of at most `max` bytes within `wait`.
pub(super) async fn read(body: Body, max: usize, wait: Duration) -> Result<Vec<u8>, Problem> {
    let Ok(read) = tokio::time::timeout(wait, gather(body, max)).await else {
        let detail = format!("the body did not come within {} seconds", wait.as_secs());
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail));
    };
    read
}

async fn gather(mut body: Body, max: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_body", "the body could not be read to its end")
        })?;
        // Whatever else comes with a body, such as trailers, says nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > max {
            return Err(too_large(max));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// A body is larger than `max`.
pub(super) fn too_large(max: usize) -> Problem {
    Problem::too_large(format!("a body may have {max} bytes"))
}

/// A body that a task feeds, as fast as the client takes it.
pub(super) struct Fed(pub(super) Receiver<Bytes>);

impl HttpBody for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
