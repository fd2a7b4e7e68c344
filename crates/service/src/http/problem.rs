//! What is told to who asked for something that cannot be done.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use weir_events::RejectCode;
use weir_log::{Answer, LogError};

/// Media type of a problem document.
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A stable code.
type Code = Cow<'static, str>;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    code: Code,
    detail: Cow<'static, str>,
    field: Option<String>,
    /// Where in a body of lines the record stands, from 1.
    line: Option<usize>,
    /// After how many seconds to try again.
    retry_after: Option<u64>,
}

/// The problem as a document (RFC 9457).
#[derive(Serialize)]
struct Document<'a> {
    /// A name that is not meant to be looked up.
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

/// What a problem needs of a reject; the rest is for who reads the topic of rejects.
#[derive(Deserialize)]
struct Reject {
    code: String,
    field: Option<String>,
    message: String,
}

impl Problem {
    /// A problem with this code.
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Code>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self { status, code: code.into(), detail: detail.into(), field: None, line: None, retry_after }
    }

    /// Nothing was kept: try again later.
    pub(super) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// As much is being done as may be at once.
    pub(super) fn busy(detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    }

    /// The client is to wait so long.
    pub(super) fn too_many_requests(wait: Duration) -> Self {
        let detail =
            "this client asks more often than `http.max_requests_per_second` allows; nothing was done";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail);
        Self { retry_after: Some(wait.as_secs() + 1), ..problem }
    }

    /// A body or a record that is too large.
    pub(super) fn too_large(detail: String) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, RejectCode::TooLarge.name(), detail)
    }

    /// Of the record in this line, counted from 1.
    pub(super) fn of_line(self, line: usize) -> Self {
        Self { line: Some(line), ..self }
    }

    /// The problem of a reject, which is its JSON or, from elsewhere, a text.
    fn of_reject(reject: &[u8]) -> Self {
        let Ok(Reject { code, field, message }) = serde_json::from_slice(reject) else {
            let detail = String::from_utf8_lossy(reject).into_owned();
            return Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_record", detail);
        };
        let status = RejectCode::ALL.into_iter().find(|known| known.name() == code).map(status_of);
        let status = status.unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
        Self { field, ..Self::new(status, code, message) }
    }

    /// The problem of records that were not taken.
    pub(super) fn of_refusal(error: LogError) -> Self {
        match error {
            LogError::Refused(why) => Self::too_large(why),
            other => Self::unavailable(other.to_string()),
        }
    }

    /// Its JSON, in one line.
    pub(super) fn json(&self) -> Vec<u8> {
        let Self { status, code, detail, field, line, .. } = self;
        let mut title = code.replace('_', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let document = Document {
            kind: format!("urn:weir:problem:{code}"),
            title,
            status: status.as_u16(),
            detail,
            code,
            field: field.as_deref(),
            line: *line,
        };
        // All of it is text and numbers, which can always be written.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM);
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir\""));
        }
        response
    }
}

/// The status of a reject.
fn status_of(code: RejectCode) -> StatusCode {
    match code {
        RejectCode::InvalidJson
        | RejectCode::NotAnObject
        | RejectCode::DuplicateField
        | RejectCode::EmptyRecord => StatusCode::BAD_REQUEST,
        RejectCode::DuplicateConflict => StatusCode::CONFLICT,
        RejectCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RejectCode::MissingField
        | RejectCode::InvalidId
        | RejectCode::InvalidAmount
        | RejectCode::InvalidCurrency
        | RejectCode::InvalidCountry
        | RejectCode::InvalidTime
        | RejectCode::InvalidLocation
        | RejectCode::InvalidField
        | RejectCode::KeyMismatch
        | RejectCode::WrongPartition
        | RejectCode::TooOld => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// The JSON that tells what became of a record, or why nothing did.
pub(super) fn outcome(answer: Answer) -> Result<Vec<u8>, Problem> {
    match answer {
        Answer::Decided(decision) => Ok(decision),
        Answer::Accepted => Ok(b"{\"accepted\":true}".to_vec()),
        Answer::Rejected(reject) => Err(Problem::of_reject(&reject)),
        Answer::Forgotten => Err(Problem::new(
            StatusCode::GONE,
            "decision_pruned",
            "this transaction was decided before, and its decision is not kept any more",
        )),
        Answer::Unavailable(why) => Err(Problem::unavailable(why)),
    }
}
