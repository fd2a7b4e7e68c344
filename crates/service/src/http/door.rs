//! From a request to the log's queue and back.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::{io, thread};

use tokio::sync::oneshot;
use weir_log::{Answer, Kind, LogError, Submit};

/// Records that wait for their answers.
struct Waiting {
    answered: Receiver<(usize, Answer)>,
    records: usize,
    tell: oneshot::Sender<Vec<Answer>>,
}

/// Hands records to the log.
///
/// The log answers through channels that a thread waits at. One thread does for all requests: the log answers in
/// the order in which it was given, so nobody waits for another who is answered later.
pub(super) struct Door {
    waiting: Mutex<Sender<Waiting>>,
}

impl Door {
    /// A door, with its thread, which ends with the door.
    pub(super) fn new() -> io::Result<Self> {
        let (waiting, waits) = channel::<Waiting>();
        thread::Builder::new().name("weir-answers".to_owned()).spawn(move || {
            for Waiting { answered, records, tell } in waits {
                // Nobody listens any more when the request was given up; the records are decided all the same.
                let _ = tell.send(collect(&answered, records));
            }
        })?;
        Ok(Self { waiting: Mutex::new(waiting) })
    }

    /// Hands records in, all or none; the answers come in their order.
    pub(super) fn hand_in(
        &self,
        log: &dyn Submit,
        kind: Kind,
        records: Vec<Vec<u8>>,
    ) -> Result<oneshot::Receiver<Vec<Answer>>, LogError> {
        let (answers, answered) = channel();
        let (tell, told) = oneshot::channel();
        let waiting = Waiting { answered, records: records.len(), tell };
        // Held over both, so that the thread waits in the order of the log.
        let queue = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        log.submit(kind, records, answers)?;
        queue.send(waiting).map_err(|_| LogError::Unavailable("the server is stopping".to_owned()))?;
        Ok(told)
    }
}

/// The answers to so many records; those that never come are told as not kept.
fn collect(answered: &Receiver<(usize, Answer)>, records: usize) -> Vec<Answer> {
    let lost =
        || Answer::Unavailable("the log gave no answer; send it again to learn what became of it".to_owned());
    let mut answers: Vec<Answer> = (0..records).map(|_| lost()).collect();
    for _ in 0..records {
        let Ok((at, answer)) = answered.recv() else { break };
        if let Some(place) = answers.get_mut(at) {
            *place = answer;
        }
    }
    answers
}
