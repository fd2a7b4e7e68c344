//! The service's own door: profiles, decisions as they are made, health and metrics; with the embedded log also
//! transactions and mandates.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 while the process works, 503 when it should be started anew; JSON; needs no token |
//! | `GET /readyz` | 200 when every partition that is owned is live, else 503; JSON with the reasons; needs no token |
//! | `GET /metrics` | 200, OpenMetrics text |
//! | `GET /v1/agents/{user_id}/{agent_id}` | 200 and the risk profile |
//! | `GET /v1/decisions` | 200 and server-sent events; `Last-Event-ID` or `?from=` says where to begin, else now |
//! | `POST /v1/transactions` | `application/json`: 200 and the decision; `application/x-ndjson`: 200 and a line per record |
//! | `POST /v1/mandates` | as above, with `{"accepted":true}` for a mandate that is in force |
//!
//! Everything else is a problem document (RFC 9457, `application/problem+json`) with `type`, `title`, `status`,
//! `detail`, `code` and, where one is at fault, `field`. In an answer of lines it stands in its record's place and
//! also tells the record's `line`:
//!
//! | status | codes |
//! |---|---|
//! | 400 | `invalid_json`, `not_an_object`, `duplicate_field`, `empty_record`: not a record at all; `invalid_position`, `invalid_path`, `invalid_body`: not a request |
//! | 401 | `unauthorized`, with `WWW-Authenticate` |
//! | 404 | `not_found`, `unknown_agent`, `embedded_log_only` |
//! | 405 | `method_not_allowed`, with `Allow` |
//! | 408 | `request_timeout`: the body took too long |
//! | 409 | `duplicate_conflict` |
//! | 410 | `pruned`: the decisions from there on were deleted; `decision_pruned`: a repeat whose decision was |
//! | 413 | `too_large` |
//! | 415 | `unsupported_media_type` |
//! | 421 | `shard_elsewhere`: another instance owns the agent's partition |
//! | 422 | every other reject: a record with something wrong in it |
//! | 429 | `too_many_requests`, with `Retry-After`: this client asks too often |
//! | 503 | `unavailable`, `recovering`, `busy`, with `Retry-After` |
//!
//! Who is slow holds nothing up: a request's head, its body and every write of the answer have a time, and
//! connections, followers, the memory for bodies and the requests of one client a bound.

mod auth;
mod body;
mod door;
mod follow;
mod input;
mod problem;
mod rate;
mod routes;
mod server;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use weir_log::{Log, Submit};

use crate::metrics::Metrics;

pub use server::Server;

/// What the service tells who asks.
pub trait Backend: Send + Sync + 'static {
    /// The risk profile of an agent, as committed. It may block for a moment.
    fn profile(&self, user_id: &str, agent_id: &str) -> ProfileAnswer;

    /// How the service is. It must not block.
    fn health(&self) -> Health;

    /// The log whose decisions are followed.
    fn log(&self) -> Arc<dyn Log>;

    /// Where records that come over HTTP go; `None` where they come through a broker.
    fn submit(&self) -> Option<Arc<dyn Submit>>;

    /// What is counted.
    fn metrics(&self) -> Arc<Metrics>;
}

/// What is known of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileAnswer {
    /// The risk profile's JSON.
    Found(Vec<u8>),
    /// Nobody of that name was seen.
    Unknown,
    /// Another instance knows.
    Elsewhere,
    /// Not known yet: the partition's state is being recovered.
    NotReady,
}

/// How the service is.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Whether it works; when not, it should be started anew.
    pub live: bool,
    /// Whether it can do what it is for.
    pub ready: bool,
    /// What it can tell of that; an object. Anybody may read it.
    pub details: serde_json::Value,
}

/// Requests of one client in a second, where nothing else is said.
pub const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(10_000).unwrap();

/// What nobody who asks can go beyond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one record: somewhat more than a record may have, so that one that is too large by a little is
    /// rejected in the log and not only here.
    pub record_bytes: usize,
    /// Bytes of a body of lines.
    pub lines_bytes: usize,
    /// Records of a body of lines.
    pub lines: usize,
    /// Bytes of all bodies that are held at the same time.
    pub bodies_bytes: usize,
    /// Requests of one client in a second; those for health are not counted.
    pub requests_per_second: NonZeroU32,
    /// Connections; who comes after waits to be let in.
    pub connections: usize,
    /// Clients that follow decisions.
    pub followers: usize,
    /// For the head of a request, and between two requests of a connection.
    pub head_wait: Duration,
    /// For the body of a request.
    pub body_wait: Duration,
    /// For the client to take some of what is written to it.
    pub write_wait: Duration,
    /// For the log to answer.
    pub answer_wait: Duration,
    /// Between two comments to a follower to whom there is nothing to tell.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes: 2 << 20,
            lines_bytes: 32 << 20,
            lines: 100_000,
            bodies_bytes: 256 << 20,
            requests_per_second: REQUESTS_PER_SECOND,
            connections: 1_024,
            followers: 64,
            head_wait: Duration::from_secs(10),
            body_wait: Duration::from_secs(30),
            write_wait: Duration::from_secs(30),
            answer_wait: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// The server, not started yet.
#[derive(Clone)]
pub struct Http {
    /// Where to listen; port 0 takes a free one, see [`Server::address`].
    pub listen: SocketAddr,
    /// The bearer token that every request but those for health needs.
    pub token: Option<String>,
    /// What nobody can go beyond.
    pub limits: Limits,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Http").field("listen", &self.listen).field("token", &token).finish_non_exhaustive()
    }
}
