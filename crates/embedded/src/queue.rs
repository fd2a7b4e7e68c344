//! What waits: records to be taken in, batches to be committed, and who is to be told.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weir_log::{Answer, Kind, LogError};

use crate::store::{Ends, Input};

/// To whom the answer to a record goes.
#[derive(Debug)]
pub(crate) struct Reply {
    at: usize,
    to: Sender<(usize, Answer)>,
}

impl Reply {
    /// Answers; who has gone away is told nothing.
    pub(crate) fn send(&self, answer: Answer) {
        let _ = self.to.send((self.at, answer));
    }
}

/// A record that was handed in.
#[derive(Debug)]
pub(crate) struct Queued {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its text.
    pub(crate) bytes: Box<[u8]>,
    /// When it was handed in.
    pub(crate) received_us: i64,
    /// Who waits for it.
    pub(crate) reply: Reply,
}

/// How much waits for an answer.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    records: usize,
    bytes: usize,
}

/// A batch that was given out and is to be committed.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// What is stored of it.
    pub(crate) input: Input,
    /// Who waits for the transactions, in their order.
    pub(crate) replies: Vec<Reply>,
    /// Who waits for the mandates, with what they are told.
    pub(crate) mandates: Vec<(Reply, Answer)>,
    /// Position after the batch.
    pub(crate) position: i64,
    /// Bytes that were queued for it.
    pub(crate) bytes: usize,
}

impl Pending {
    /// Tells everybody that nothing was kept.
    fn give_up(self, why: &str) {
        let mandates = self.mandates.into_iter().map(|(reply, _)| reply);
        for reply in self.replies.into_iter().chain(mandates) {
            reply.send(Answer::Unavailable(why.to_owned()));
        }
    }

    fn load(&self) -> Load {
        Load { records: self.replies.len() + self.mandates.len(), bytes: self.bytes }
    }
}

/// Whether records are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// Not yet: the shard's state is being recovered.
    Recovering,
    /// Yes.
    Live,
    /// No: the file could not be written or opened.
    Failed(String),
    /// No, and never again.
    Closed,
}

/// What is guarded by the queue's lock.
#[derive(Debug)]
struct State {
    status: Status,
    /// Raised by every [`Queue::recover`]: sources and sinks of before it are fenced.
    generation: u64,
    queue: VecDeque<Queued>,
    pending: VecDeque<Pending>,
    load: Load,
    ends: Ends,
    /// Bytes of the batch that could not be written.
    failed_bytes: u64,
}

/// The queue that those who hand in, the source, the sink and the followers of decisions share.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// A record came, or the status changed.
    came: Condvar,
    /// A batch was committed, or the status changed.
    done: Condvar,
    max: Load,
}

/// Why nothing is taken.
const RECOVERING: &str = "the service is recovering its state; try again in a moment";
/// As above.
const CLOSED: &str = "the service is stopping";

impl Queue {
    /// A queue that takes nothing yet.
    pub(crate) fn new(records_max: usize, bytes_max: usize, ends: Ends) -> Self {
        let state = State {
            status: Status::Recovering,
            generation: 0,
            queue: VecDeque::new(),
            pending: VecDeque::new(),
            load: Load::default(),
            ends,
            failed_bytes: 0,
        };
        let max = Load { records: records_max, bytes: bytes_max };
        Self { state: Mutex::new(state), came: Condvar::new(), done: Condvar::new(), max }
    }

    /// A thread that panicked has left nothing half done: each change is one step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues records, all or none.
    pub(crate) fn submit(
        &self,
        kind: Kind,
        records: Vec<Vec<u8>>,
        answers: &Sender<(usize, Answer)>,
        received_us: i64,
    ) -> Result<(), LogError> {
        let load = Load { records: records.len(), bytes: records.iter().map(Vec::len).sum() };
        if load.records > self.max.records || load.bytes > self.max.bytes {
            return Err(LogError::Refused(format!(
                "at most {} records of {} bytes together are taken at once; these are {} of {}",
                self.max.records, self.max.bytes, load.records, load.bytes
            )));
        }
        let mut state = self.lock();
        match &state.status {
            Status::Live => {}
            Status::Recovering => return Err(LogError::Unavailable(RECOVERING.to_owned())),
            Status::Closed => return Err(LogError::Unavailable(CLOSED.to_owned())),
            Status::Failed(why) => return Err(LogError::Unavailable(why.clone())),
        }
        let all = Load { records: state.load.records + load.records, bytes: state.load.bytes + load.bytes };
        if all.records > self.max.records || all.bytes > self.max.bytes {
            return Err(LogError::Unavailable(format!(
                "{} records of {} bytes wait already; try again in a moment",
                state.load.records, state.load.bytes
            )));
        }
        state.load = all;
        state.queue.extend(records.into_iter().enumerate().map(|(at, bytes)| Queued {
            kind,
            bytes: bytes.into(),
            received_us,
            reply: Reply { at, to: answers.clone() },
        }));
        drop(state);
        self.came.notify_all();
        Ok(())
    }

    /// Takes what waits, at most `max` of each kind: mandates, then transactions up to the next mandate, so that
    /// each is decided under the mandates that came before it and no other. Waits for the first alone.
    pub(crate) fn take(
        &self,
        generation: u64,
        max: usize,
        wait: Duration,
    ) -> Result<(Vec<Queued>, Vec<Queued>), LogError> {
        let end = Instant::now() + wait;
        let mut state = self.lock();
        loop {
            state.check(generation)?;
            if !state.queue.is_empty() {
                break;
            }
            let (again, waited) = wait_until(&self.came, state, end);
            state = again;
            if !waited {
                return Ok((Vec::new(), Vec::new()));
            }
        }
        let mut run = |kind: Kind| {
            let length = state.queue.iter().take(max).take_while(|queued| queued.kind == kind).count();
            state.queue.drain(..length).collect()
        };
        let mandates = run(Kind::Mandates);
        Ok((mandates, run(Kind::Transactions)))
    }

    /// Notes a batch that was given out.
    pub(crate) fn given(&self, generation: u64, pending: Pending) -> Result<(), LogError> {
        let mut state = self.lock();
        if let Err(error) = state.check(generation) {
            // What waited was counted down to nothing when the generation ended.
            drop(state);
            pending.give_up(&error.to_string());
            return Err(error);
        }
        state.pending.push_back(pending);
        Ok(())
    }

    /// The batch to be committed next.
    pub(crate) fn next_pending(&self, generation: u64) -> Result<Pending, LogError> {
        let mut state = self.lock();
        state.check(generation)?;
        let pending = state.pending.pop_front();
        pending.ok_or_else(|| LogError::Broken("no batch was given out to be committed".to_owned()))
    }

    /// Notes that a batch was committed.
    pub(crate) fn committed(&self, pending: &Pending, ends: Ends) {
        let mut state = self.lock();
        state.discharge(pending.load());
        state.ends = ends;
        drop(state);
        self.done.notify_all();
    }

    /// Records that wait to be taken.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// The ends as last committed.
    pub(crate) fn ends(&self) -> Ends {
        self.lock().ends
    }

    /// Waits until there are decisions from this offset on; false: there are none.
    pub(crate) fn await_decisions(&self, from: i64, wait: Duration) -> Result<bool, LogError> {
        let end = Instant::now() + wait;
        let mut state = self.lock();
        loop {
            if state.status == Status::Closed {
                return Err(LogError::Stopped);
            }
            if state.ends.decisions > from {
                return Ok(true);
            }
            let (again, waited) = wait_until(&self.done, state, end);
            state = again;
            if !waited {
                return Ok(false);
            }
        }
    }

    /// Waits until the queue is closed; true: it is.
    pub(crate) fn await_close(&self, wait: Duration) -> bool {
        let end = Instant::now() + wait;
        let mut state = self.lock();
        loop {
            if state.status == Status::Closed {
                return true;
            }
            let (again, waited) = wait_until(&self.done, state, end);
            state = again;
            if !waited {
                return false;
            }
        }
    }

    /// Takes no more, and tells everybody who waits why.
    fn stop(&self, status: Status, why: &str, failed: Option<Pending>) {
        let mut state = self.lock();
        if state.status != Status::Closed {
            state.status = status;
        }
        state.generation += 1;
        if let Some(failed) = &failed {
            state.failed_bytes = failed.bytes as u64;
        }
        state.load = Load::default();
        let queue = std::mem::take(&mut state.queue);
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        self.came.notify_all();
        self.done.notify_all();
        for pending in failed.into_iter().chain(pending) {
            pending.give_up(why);
        }
        for queued in queue {
            queued.reply.send(Answer::Unavailable(why.to_owned()));
        }
    }

    /// The file cannot be used; `failed`: the batch that could not be written.
    pub(crate) fn fail(&self, why: &str, failed: Option<Pending>) {
        self.stop(Status::Failed(why.to_owned()), why, failed);
    }

    /// Nothing is taken any more.
    pub(crate) fn close(&self) {
        self.stop(Status::Closed, CLOSED, None);
    }

    /// Fences the sources and sinks there are.
    pub(crate) fn recover(&self) -> Result<(), LogError> {
        if self.lock().status == Status::Closed {
            return Err(LogError::Stopped);
        }
        self.stop(Status::Recovering, RECOVERING, None);
        Ok(())
    }

    /// What the file's ends are, after it was opened again; the disk has taken what failed before.
    pub(crate) fn opened(&self, ends: Ends) {
        let mut state = self.lock();
        state.ends = ends;
        state.failed_bytes = 0;
    }

    /// Bytes of the batch that the disk did not take; `None`: the file did not fail.
    pub(crate) fn failure(&self) -> Option<u64> {
        let state = self.lock();
        matches!(state.status, Status::Failed(_)).then_some(state.failed_bytes)
    }

    /// Takes records from now on; gives the generation of the source and the sink.
    pub(crate) fn go_live(&self) -> Result<u64, LogError> {
        let mut state = self.lock();
        match &state.status {
            Status::Recovering | Status::Live => state.status = Status::Live,
            Status::Failed(why) => return Err(LogError::Broken(why.clone())),
            Status::Closed => return Err(LogError::Stopped),
        }
        Ok(state.generation)
    }
}

/// Waits for a change until `end`; false: it is past.
fn wait_until<'a>(
    changed: &Condvar,
    state: MutexGuard<'a, State>,
    end: Instant,
) -> (MutexGuard<'a, State>, bool) {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return (state, false);
    }
    let (state, _) = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
    (state, true)
}

impl State {
    /// Whether a source or sink of this generation may go on.
    fn check(&self, generation: u64) -> Result<(), LogError> {
        match &self.status {
            Status::Closed => Err(LogError::Stopped),
            Status::Failed(why) => Err(LogError::Broken(why.clone())),
            _ if self.generation != generation => {
                Err(LogError::Fenced("the partition was opened again".to_owned()))
            }
            Status::Recovering => Err(LogError::Broken(RECOVERING.to_owned())),
            Status::Live => Ok(()),
        }
    }

    fn discharge(&mut self, load: Load) {
        self.load.records = self.load.records.saturating_sub(load.records);
        self.load.bytes = self.load.bytes.saturating_sub(load.bytes);
    }
}
