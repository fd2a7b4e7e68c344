//! Decisions as they are made, as server-sent events.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use weir_log::{DecisionReader, LogError};

use super::body::Fed;
use super::problem::Problem;
use super::routes::App;

/// How long a follower's thread waits for decisions before it looks whether anybody is still there.
const LOOK: Duration = Duration::from_millis(250);
/// How soon a client comes back when it was cut off.
const RETRY: &str = "retry: 1000\n";
/// Most partitions that a position can tell of; more are no position.
const PARTITIONS_MAX: usize = 10_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where to begin, where the header does not say it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct From {
    from: Option<String>,
}

/// `GET /v1/decisions`
///
/// The id of an event is the position after it: the offset of the next decision of each partition.
pub(super) async fn decisions(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    query: Result<Query<From>, QueryRejection>,
) -> Response {
    let answer = match query {
        Ok(Query(query)) => follow(app, &headers, query.from).await,
        Err(_) => Err(invalid("the query is `from=` and a position")),
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn follow(app: Arc<App>, headers: &HeaderMap, from: Option<String>) -> Result<Response, Problem> {
    let told = headers.get(LAST_EVENT_ID).map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let from = match told.or(from).filter(|from| !from.is_empty()) {
        Some(from) => Some(position(&from).ok_or_else(|| {
            invalid(
                "a position is the id of an event: the offset of each partition, with commas between them",
            )
        })?),
        None => None,
    };
    let Ok(place) = Arc::clone(&app.followers).try_acquire_owned() else {
        return Err(Problem::busy("as many clients follow decisions as may; try again in a moment"));
    };
    let log = app.backend.log();
    let reader = tokio::task::spawn_blocking(move || log.decisions(from.as_deref())).await;
    let reader = match reader {
        Ok(Ok(reader)) => reader,
        Ok(Err(error)) => return Err(problem(&error)),
        Err(_) => return Err(Problem::unavailable("the decisions could not be read")),
    };
    let (feed, fed) = mpsc::channel(4);
    let follower = Follower { app, reader, feed, _place: place };
    // A thread of its own: it waits for decisions, and for a client that is slow to take them.
    tokio::task::spawn_blocking(move || follower.run());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::new(Fed(fed))).into_response())
}

/// A position: offsets with commas between them.
fn position(text: &str) -> Option<Vec<i64>> {
    let mut parts = text.split(',');
    let offset = |part: &str| part.trim().parse().ok().filter(|&offset: &i64| offset >= 0);
    let offsets = parts.by_ref().take(PARTITIONS_MAX).map(offset).collect();
    if parts.next().is_some() { None } else { offsets }
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_position", detail)
}

/// Why decisions cannot be read from where it was asked for.
fn problem(error: &LogError) -> Problem {
    match error {
        LogError::Gone { .. } => Problem::new(StatusCode::GONE, "pruned", error.to_string()),
        LogError::Refused(why) => invalid(why.clone()),
        other => Problem::unavailable(other.to_string()),
    }
}

/// One client that follows.
struct Follower {
    app: Arc<App>,
    reader: Box<dyn DecisionReader>,
    feed: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// Tells the client of decisions until it goes, the server stops, or they cannot be read any more.
    fn run(mut self) {
        self.app.metrics.followers().inc();
        self.tell();
        self.app.metrics.followers().dec();
    }

    fn tell(&mut self) {
        let mut position = self.reader.position();
        // Who is cut off before the first decision comes back to here as well.
        let mut text = String::from(RETRY);
        id(&mut text, &position);
        text.push('\n');
        let mut told = Instant::now();
        while !self.app.stopping() {
            if !text.is_empty() {
                if self.feed.blocking_send(Bytes::from(std::mem::take(&mut text))).is_err() {
                    return;
                }
                told = Instant::now();
            }
            match self.reader.next(LOOK) {
                Ok(decisions) => {
                    for (partition, offset, decision) in decisions {
                        let partition = usize::try_from(partition).ok();
                        if let Some(next) = partition.and_then(|at| position.get_mut(at)) {
                            *next = offset + 1;
                        }
                        event(&mut text, &position, &decision);
                    }
                }
                // It may pass; what is missed meanwhile is read afterwards.
                Err(LogError::Unavailable(_)) => std::thread::sleep(LOOK),
                // The client comes back with its position and is told then.
                Err(_) => return,
            }
            if self.feed.is_closed() {
                return;
            }
            if text.is_empty() && told.elapsed() >= self.app.limits.keep_alive {
                text.push_str(":\n\n");
            }
        }
    }
}

/// Appends the line with an event's id.
fn id(text: &mut String, position: &[i64]) {
    text.push_str("id: ");
    for (at, offset) in position.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{offset}");
    }
    text.push('\n');
}

/// Appends an event.
fn event(text: &mut String, position: &[i64], decision: &[u8]) {
    id(text, position);
    for line in String::from_utf8_lossy(decision).lines() {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
}
