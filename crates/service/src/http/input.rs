//! Transactions and mandates that come over HTTP.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use weir_log::{Answer, Kind, LogError, Submit};

use super::body::{self, Fed};
use super::problem::{Problem, outcome};
use super::routes::{App, JSON, NDJSON};

/// Most records that are handed in at once of a body of lines; so that others come between.
const CHUNK_RECORDS: usize = 1_000;
/// Most bytes of them, beside the first.
const CHUNK_BYTES: usize = 4 << 20;
/// Chunks that are handed in before the first is answered.
const CHUNKS_AHEAD: usize = 4;

/// What stands at the beginning of a file from some editors.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One record.
    One,
    /// A record in each line.
    Lines,
}

/// `POST /v1/transactions`
pub(super) async fn transactions(State(app): State<Arc<App>>, request: Request) -> Response {
    take(app, Kind::Transactions, request).await.unwrap_or_else(IntoResponse::into_response)
}

/// `POST /v1/mandates`
pub(super) async fn mandates(State(app): State<Arc<App>>, request: Request) -> Response {
    take(app, Kind::Mandates, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn take(app: Arc<App>, kind: Kind, request: Request) -> Result<Response, Problem> {
    let Some(log) = app.backend.submit() else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "embedded_log_only",
            "records come over HTTP with `log = \"embedded\"` alone; send them to the topic",
        ));
    };
    let form = form(request.headers())?;
    let max = match form {
        Form::One => app.limits.record_bytes,
        Form::Lines => app.limits.lines_bytes,
    };
    let expected = length(request.headers()).unwrap_or(max);
    if expected > max {
        return Err(body::too_large(max));
    }
    let held = app.hold(expected)?;
    let body = body::read(request.into_body(), max, app.limits.body_wait).await?;
    match form {
        Form::One => one(&app, &*log, kind, body).await,
        Form::Lines => lines(app, log, kind, &body, held).await,
    }
}

/// What the request says that its body holds.
fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let unsupported =
        |detail| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail);
    let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(unsupported("the body must not be compressed"));
    }
    let media = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let media = media.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if media.eq_ignore_ascii_case(b"application/json") {
        Ok(Form::One)
    } else if media.eq_ignore_ascii_case(b"application/x-ndjson") {
        Ok(Form::Lines)
    } else {
        Err(unsupported(
            "Content-Type must be application/json for one record or application/x-ndjson for a record per line",
        ))
    }
}

/// The length that the request announces.
fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Answers for one record.
async fn one(app: &App, log: &dyn Submit, kind: Kind, body: Vec<u8>) -> Result<Response, Problem> {
    let told = app.door.hand_in(log, kind, vec![body]).map_err(Problem::of_refusal)?;
    let answers = app.answered(told).await?;
    let answer = answers.into_iter().next().map(outcome);
    let json = answer.unwrap_or_else(|| Err(Problem::unavailable("the log gave no answer")))?;
    Ok(([(CONTENT_TYPE, JSON)], json).into_response())
}

/// Lines that are handed in together.
#[derive(Default)]
struct Chunk {
    /// Numbers of the lines, from 1.
    numbers: Vec<usize>,
    records: Vec<Vec<u8>>,
    /// One line alone, larger than a record may be: refused here, so that nobody fills the log with what can only
    /// be rejected.
    too_large: bool,
}

/// The records of a body in chunks; fails when there are more than may be.
fn chunks(body: &[u8], records_max: usize, bytes_max: usize) -> Result<VecDeque<Chunk>, Problem> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let lines = body.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).zip(1..);
    let mut chunks: VecDeque<Chunk> = VecDeque::new();
    let (mut bytes, mut count) = (0, 0);
    for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
        count += 1;
        if count > records_max {
            return Err(Problem::too_large(format!("a body may have {records_max} records")));
        }
        let too_large = line.len() > bytes_max;
        let room = |chunk: &&mut Chunk| {
            let full = chunk.records.len() == CHUNK_RECORDS || bytes + line.len() > CHUNK_BYTES;
            !full && !too_large && !chunk.too_large
        };
        let record = if too_large { Vec::new() } else { line.to_vec() };
        if let Some(chunk) = chunks.back_mut().filter(room) {
            chunk.numbers.push(number);
            chunk.records.push(record);
            bytes += line.len();
        } else {
            chunks.push_back(Chunk { numbers: vec![number], records: vec![record], too_large });
            bytes = line.len();
        }
    }
    Ok(chunks)
}

/// Answers for a record in each line, as the log answers for them.
async fn lines(
    app: Arc<App>,
    log: Arc<dyn Submit>,
    kind: Kind,
    body: &[u8],
    held: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let chunks = chunks(body, app.limits.lines, app.limits.record_bytes)?;
    let mut talk = Talk { app, log, kind, chunks, waiting: VecDeque::new(), _held: held };
    // Where not even the first is taken, the whole request is refused and can be sent again as it is.
    talk.hand_in(1)?;
    let (feed, fed) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(answer) = talk.next().await {
            // The client has gone: what it has not handed in yet it can send again.
            if feed.send(answer).await.is_err() {
                return;
            }
        }
    });
    Ok(([(CONTENT_TYPE, NDJSON)], Body::new(Fed(fed))).into_response())
}

/// A body of lines, being handed in and answered.
struct Talk {
    app: Arc<App>,
    log: Arc<dyn Submit>,
    kind: Kind,
    /// Not handed in yet.
    chunks: VecDeque<Chunk>,
    /// Handed in: numbers of the lines, and where the answers come.
    waiting: VecDeque<(Vec<usize>, oneshot::Receiver<Vec<Answer>>)>,
    /// The room that the body takes.
    _held: OwnedSemaphorePermit,
}

impl Talk {
    /// Hands in what may be ahead; fails when nothing waits and nothing more was taken.
    fn hand_in(&mut self, ahead: usize) -> Result<(), Problem> {
        while self.waiting.len() < ahead {
            let Some(mut chunk) = self.chunks.pop_front() else { break };
            if chunk.too_large {
                let (tell, told) = oneshot::channel();
                let _ = tell.send(vec![Answer::Rejected(too_large(self.app.limits.record_bytes))]);
                self.waiting.push_back((chunk.numbers, told));
                continue;
            }
            let records = std::mem::take(&mut chunk.records);
            match self.app.door.hand_in(&*self.log, self.kind, records.clone()) {
                Ok(told) => self.waiting.push_back((chunk.numbers, told)),
                Err(LogError::Unavailable(_)) if !self.waiting.is_empty() => {
                    // There is room again when what waits is answered.
                    self.chunks.push_front(Chunk { records, ..chunk });
                    break;
                }
                Err(error) => {
                    self.chunks.push_front(Chunk { records, ..chunk });
                    return Err(Problem::of_refusal(error));
                }
            }
        }
        Ok(())
    }

    /// Answers of the next chunk, one in a line.
    async fn next(&mut self) -> Option<Bytes> {
        let problem = self.hand_in(CHUNKS_AHEAD).err();
        let mut text = Vec::new();
        let Some((numbers, told)) = self.waiting.pop_front() else {
            // Nothing more is taken: that is the answer to all that is left.
            let problem = problem?;
            let left = self.chunks.drain(..).flat_map(|chunk| chunk.numbers);
            left.for_each(|line| tell(&mut text, Err(problem.clone()), line));
            return Some(text.into()).filter(|text: &Bytes| !text.is_empty());
        };
        match self.app.answered(told).await {
            Ok(answers) => {
                for (answer, line) in answers.into_iter().zip(numbers) {
                    tell(&mut text, outcome(answer), line);
                }
            }
            Err(problem) => numbers.into_iter().for_each(|line| tell(&mut text, Err(problem.clone()), line)),
        }
        Some(text.into())
    }
}

/// A reject's JSON for a record over this size.
fn too_large(max: usize) -> Vec<u8> {
    let message = format!("a record sent over HTTP may have {max} bytes");
    let reject = serde_json::json!({ "code": "too_large", "field": null, "message": message });
    reject.to_string().into_bytes()
}

/// Appends the line that answers for a record.
fn tell(text: &mut Vec<u8>, outcome: Result<Vec<u8>, Problem>, line: usize) {
    text.extend(outcome.unwrap_or_else(|problem| problem.of_line(line).json()));
    text.push(b'\n');
}
