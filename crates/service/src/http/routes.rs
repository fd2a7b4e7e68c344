//! What is asked, and who may.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use weir_log::Answer;

use super::auth::Token;
use super::door::Door;
use super::problem::Problem;
use super::rate::Rate;
use super::{Backend, Http, Limits, ProfileAnswer, follow, input};
use crate::metrics::{CONTENT_TYPE as METRICS_TYPE, Metrics};

/// Media type of one record.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Media type of a record per line.
pub(super) const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Most bytes of an id; who asks for a longer one asks for nobody.
const ID_BYTES_MAX: usize = 128;

/// Bytes that one permit of [`App::bodies`] stands for.
const PERMIT_BYTES: usize = 1 << 10;

const HEALTHZ: &str = "/healthz";
const READYZ: &str = "/readyz";
const METRICS: &str = "/metrics";
const AGENT: &str = "/v1/agents/{user_id}/{agent_id}";
const DECISIONS: &str = "/v1/decisions";
const TRANSACTIONS: &str = "/v1/transactions";
const MANDATES: &str = "/v1/mandates";

/// Every route, as told in metrics.
const ROUTES: [&str; 7] = [HEALTHZ, READYZ, METRICS, AGENT, DECISIONS, TRANSACTIONS, MANDATES];

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) IpAddr);

/// What every request sees.
pub(super) struct App {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Limits,
    pub(super) door: Door,
    /// Places for followers.
    pub(super) followers: Arc<Semaphore>,
    /// Room for bodies.
    bodies: Arc<Semaphore>,
    token: Option<Token>,
    rate: Rate,
    /// Of those who ask for metrics, which has to go on when others ask too often.
    metrics_rate: Rate,
    /// Set when the server stops.
    stop: watch::Receiver<bool>,
}

impl App {
    pub(super) fn new(
        http: &Http,
        backend: Arc<dyn Backend>,
        stop: watch::Receiver<bool>,
    ) -> std::io::Result<Self> {
        let limits = http.limits.clone();
        Ok(Self {
            metrics: backend.metrics(),
            backend,
            door: Door::new()?,
            followers: Arc::new(Semaphore::new(limits.followers)),
            bodies: Arc::new(Semaphore::new(
                (limits.bodies_bytes / PERMIT_BYTES).min(Semaphore::MAX_PERMITS),
            )),
            rate: Rate::new(limits.requests_per_second),
            metrics_rate: Rate::new(limits.requests_per_second),
            limits,
            token: http.token.as_deref().map(Token::new),
            stop,
        })
    }

    /// Whether a request may be answered. Who guesses tokens is held up as well.
    fn may(&self, route: &str, request: &Request) -> Result<(), Problem> {
        let rate = if route == METRICS { &self.metrics_rate } else { &self.rate };
        if let Some(Client(client)) = request.extensions().get() {
            rate.check(*client).map_err(Problem::too_many_requests)?;
        }
        if self.token.as_ref().is_none_or(|token| token.allows(request.headers())) {
            return Ok(());
        }
        let detail = "this needs the header `Authorization: Bearer` with the token of `http.token_file`";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail))
    }

    /// Whether the server stops.
    pub(super) fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Holds room for a body of so many bytes.
    pub(super) fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.bodies).try_acquire_many_owned(permits);
        held.map_err(|_| Problem::busy("as many bodies are being read as may; try again in a moment"))
    }

    /// Waits for the log's answers.
    pub(super) async fn answered(
        &self,
        told: oneshot::Receiver<Vec<Answer>>,
    ) -> Result<Vec<Answer>, Problem> {
        let late = "the log has not answered; send it again to learn what became of it";
        match tokio::time::timeout(self.limits.answer_wait, told).await {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(_)) | Err(_) => Err(Problem::unavailable(late)),
        }
    }

    /// The routes.
    pub(super) fn router(self) -> Router {
        let app = Arc::new(self);
        Router::new()
            .route(HEALTHZ, get(healthz))
            .route(READYZ, get(readyz))
            .route(METRICS, get(metrics))
            .route(AGENT, get(agent))
            .route(DECISIONS, get(follow::decisions))
            .route(TRANSACTIONS, post(input::transactions))
            .route(MANDATES, post(input::mandates))
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(not_found)
            .layer(from_fn_with_state(Arc::clone(&app), guard))
            .with_state(app)
    }
}

/// Lets a request in that may, and counts how it was answered.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = ROUTES.into_iter().find(|&route| path == Some(route)).unwrap_or("other");
    let open = route == HEALTHZ || route == READYZ;
    let may = if open { Ok(()) } else { app.may(route, &request) };
    let mut response = match may {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    app.metrics.request(route, response.status().as_u16());
    response
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
}

async fn healthz(State(app): State<Arc<App>>) -> Response {
    let health = app.backend.health();
    told(health.live, &health.details)
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    let health = app.backend.health();
    told(health.live && health.ready && !app.stopping(), &health.details)
}

/// Health as JSON.
fn told(well: bool, details: &serde_json::Value) -> Response {
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CONTENT_TYPE, JSON)], details.to_string()).into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE))], app.metrics.encode()).into_response()
}

async fn agent(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Ok(Path((user_id, agent_id))) = path else {
        let detail = "the ids of the path must be UTF-8, percent-encoded";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_path", detail));
    };
    let unknown =
        || Problem::new(StatusCode::NOT_FOUND, "unknown_agent", "no payment of this agent and user was seen");
    let is_id = |id: &str| (1..=ID_BYTES_MAX).contains(&id.len()) && !id.chars().any(char::is_control);
    if !is_id(&user_id) || !is_id(&agent_id) {
        return Err(unknown());
    }
    let backend = Arc::clone(&app.backend);
    let asked = tokio::task::spawn_blocking(move || backend.profile(&user_id, &agent_id)).await;
    match asked {
        Ok(ProfileAnswer::Found(profile)) => Ok(([(CONTENT_TYPE, JSON)], profile).into_response()),
        Ok(ProfileAnswer::Unknown) => Err(unknown()),
        Ok(ProfileAnswer::Elsewhere) => Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "shard_elsewhere",
            "another instance owns this user's partition; ask that one",
        )),
        Ok(ProfileAnswer::NotReady) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "recovering",
            "the state of this user's partition is being recovered; try again in a moment",
        )),
        Err(_) => Err(Problem::unavailable("the profile could not be read")),
    }
}
