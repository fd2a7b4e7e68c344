//! A service that is made up.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::json;
use weir_log::{Answer, Assignment, DecisionReader, Kind, Log, LogError, MandateSource, Partition, Submit};

use super::super::{Backend, Health, Http, Limits, ProfileAnswer, Server};
use crate::metrics::Metrics;

/// Decisions of two partitions, as (partition, offset, JSON).
type Decisions = Vec<(i32, i64, Vec<u8>)>;

/// What a test can look at and change.
pub(super) struct Fake {
    metrics: Arc<Metrics>,
    pub(super) health: Mutex<Health>,
    /// Whom was asked for.
    pub(super) asked: Mutex<Vec<(String, String)>>,
    pub(super) log: Arc<FakeLog>,
    /// `None`: records come through a broker.
    pub(super) takes: Mutex<Option<Arc<FakeSubmit>>>,
}

impl Backend for Fake {
    fn profile(&self, user_id: &str, agent_id: &str) -> ProfileAnswer {
        self.asked.lock().unwrap().push((user_id.to_owned(), agent_id.to_owned()));
        match user_id {
            "unknown" => ProfileAnswer::Unknown,
            "elsewhere" => ProfileAnswer::Elsewhere,
            "recovering" => ProfileAnswer::NotReady,
            _ => ProfileAnswer::Found(json!({ "user_id": user_id, "agent_id": agent_id }).to_string().into()),
        }
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap().clone()
    }

    fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.log) as Arc<dyn Log>
    }

    fn submit(&self) -> Option<Arc<dyn Submit>> {
        self.takes.lock().unwrap().clone().map(|takes| takes as Arc<dyn Submit>)
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }
}

/// The topic of decisions.
#[derive(Default)]
struct Topic {
    decisions: Mutex<Decisions>,
    more: Condvar,
}

/// A log of which decisions alone can be read.
#[derive(Default)]
pub(super) struct FakeLog(Arc<Topic>);

impl FakeLog {
    /// A decision is committed.
    pub(super) fn decide(&self, partition: i32, decision: &str) {
        let mut decisions = self.0.decisions.lock().unwrap();
        let offset = next(&decisions, partition);
        decisions.push((partition, offset, decision.as_bytes().to_vec()));
        self.0.more.notify_all();
    }
}

/// Offset of a partition's next decision; the first two were deleted.
fn next(decisions: &Decisions, partition: i32) -> i64 {
    2 + decisions.iter().filter(|(of, ..)| *of == partition).count() as i64
}

impl Log for FakeLog {
    fn partitions(&self) -> Result<i32, LogError> {
        Ok(2)
    }

    fn next_assignment(&self, _wait: Duration) -> Result<Option<Assignment>, LogError> {
        Ok(None)
    }

    fn partition(&self, number: i32) -> Result<Box<dyn Partition>, LogError> {
        Err(LogError::Refused(number.to_string()))
    }

    fn mandates(&self) -> Result<Option<Box<dyn MandateSource>>, LogError> {
        Ok(None)
    }

    fn decisions(&self, from: Option<&[i64]>) -> Result<Box<dyn DecisionReader>, LogError> {
        let decisions = self.0.decisions.lock().unwrap();
        let now = [next(&decisions, 0), next(&decisions, 1)];
        let position = from.unwrap_or(&now).to_vec();
        if position.len() != 2 {
            return Err(LogError::Refused("there are two partitions".to_owned()));
        }
        match position.iter().position(|&offset| offset < 2) {
            Some(at) => Err(LogError::Gone {
                topic: "weir.decisions".to_owned(),
                partition: at as i32,
                wanted: position[at],
                oldest: 2,
            }),
            None => Ok(Box::new(FakeReader { topic: Arc::clone(&self.0), position, fails: 1 })),
        }
    }

    fn close(&self) {}
}

struct FakeReader {
    topic: Arc<Topic>,
    position: Vec<i64>,
    /// How often it cannot be read at first.
    fails: u32,
}

impl DecisionReader for FakeReader {
    fn next(&mut self, wait: Duration) -> Result<Decisions, LogError> {
        if self.fails > 0 {
            self.fails -= 1;
            return Err(LogError::Unavailable("the broker is away".to_owned()));
        }
        let new = |decisions: &Decisions| -> Decisions {
            let is_new = |(of, offset, _): &&(i32, i64, Vec<u8>)| *offset >= self.position[*of as usize];
            decisions.iter().filter(is_new).cloned().collect()
        };
        let decisions = self.topic.decisions.lock().unwrap();
        let waited =
            self.topic.more.wait_timeout_while(decisions, wait, |decisions| new(decisions).is_empty());
        let found = new(&waited.unwrap().0);
        for (partition, offset, _) in &found {
            self.position[*partition as usize] = offset + 1;
        }
        Ok(found)
    }

    fn position(&self) -> Vec<i64> {
        self.position.clone()
    }
}

/// How records are taken.
#[derive(Default)]
pub(super) struct FakeSubmit {
    /// Everything that was taken.
    pub(super) taken: Mutex<Vec<(Kind, Vec<u8>)>>,
    /// What is told instead of taking what is handed in next, one for each time.
    pub(super) refusals: Mutex<VecDeque<Option<LogError>>>,
    /// Kept without an answer: records that say `silence`.
    pub(super) silent: Mutex<Vec<Sender<(usize, Answer)>>>,
}

impl Submit for FakeSubmit {
    fn submit(
        &self,
        kind: Kind,
        records: Vec<Vec<u8>>,
        answers: Sender<(usize, Answer)>,
    ) -> Result<(), LogError> {
        if let Some(Some(error)) = self.refusals.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.taken.lock().unwrap().extend(records.iter().map(|record| (kind, record.clone())));
        // Backwards, since answers may come in any order.
        for (at, record) in records.into_iter().enumerate().rev() {
            let text = String::from_utf8_lossy(&record).into_owned();
            let answer = match text.split_once(' ').unwrap_or((&text, "")) {
                ("silence", _) => {
                    self.silent.lock().unwrap().push(answers.clone());
                    continue;
                }
                ("lost", _) => continue,
                ("reject", code) => Answer::Rejected(
                    json!({
                        "schema_version": 1, "code": code, "field": "amount", "message": "no good", "original": ""
                    })
                    .to_string()
                    .into(),
                ),
                ("plain", why) => Answer::Rejected(why.as_bytes().to_vec()),
                ("forgotten", _) => Answer::Forgotten,
                ("unavailable", _) => Answer::Unavailable("the disk is full".to_owned()),
                _ if kind == Kind::Mandates => Answer::Accepted,
                _ => Answer::Decided(json!({ "decided": text }).to_string().into()),
            };
            let _ = answers.send((at, answer));
        }
        Ok(())
    }
}

/// Bounds that a test can reach.
pub(super) fn small() -> Limits {
    Limits {
        record_bytes: 1_000,
        lines_bytes: 200_000,
        lines: 5_000,
        bodies_bytes: 1 << 20,
        answer_wait: Duration::from_millis(500),
        keep_alive: Duration::from_millis(100),
        ..Limits::default()
    }
}

/// A server before a service that is well and takes records.
pub(super) fn serve(token: Option<&str>, limits: Limits) -> (Server, Arc<Fake>) {
    let fake = Arc::new(Fake {
        metrics: Arc::new(Metrics::new()),
        health: Mutex::new(Health { live: true, ready: true, details: json!({ "partitions": {} }) }),
        asked: Mutex::default(),
        log: Arc::default(),
        takes: Mutex::new(Some(Arc::default())),
    });
    let http = Http { listen: ([127, 0, 0, 1], 0).into(), token: token.map(str::to_owned), limits };
    let server = http.start(Arc::clone(&fake) as Arc<dyn Backend>).unwrap();
    (server, fake)
}
