//! Shared by the benchmarks: streams in memory, and time per record.
#![allow(clippy::indexing_slicing, reason = "a benchmark may panic")]

pub mod alone;

use std::io;
use std::time::Duration;

use weir_engine::{AHEAD_MAX, Admission, Ahead, BoundReached, Config, Intake, Schedule, Shard};
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::{Alert, Transaction, Verdict};

/// A generated stream in memory.
#[derive(Debug)]
pub struct Stream {
    /// Transactions, one JSON object per line.
    pub transactions: Vec<u8>,
    /// Mandates, one JSON object per line.
    pub mandates: Vec<u8>,
}

impl Stream {
    /// A stream of about `transactions` records by about `agents` agents.
    ///
    /// # Errors
    /// When the generator refuses the numbers.
    pub fn generate(transactions: u64, agents: u64, seed: u64) -> io::Result<Self> {
        // Habits with long sessions would leave most of a million agents unseen.
        let only = if agents >= 100_000 { vec!["shopper".to_owned()] } else { Vec::new() };
        let options = weir_sim::Options {
            transactions,
            agents: Some(agents),
            seed,
            only,
            ..weir_sim::Options::default()
        };
        let mut stream = Self { transactions: Vec::new(), mandates: Vec::new() };
        weir_sim::generate(&options, &mut stream.transactions, &mut stream.mandates, &mut io::sink())?;
        Ok(stream)
    }

    /// The transactions' lines.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.transactions.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
    }

    /// Every transaction, parsed.
    #[must_use]
    pub fn parsed(&self) -> Vec<Transaction<'_>> {
        let base = Config::default().base_currency.0;
        self.lines().filter_map(|line| parse_transaction(line, base).ok()).collect()
    }

    /// An engine that knows the mandates which are in force before the first transaction, and the
    /// schedule of the others.
    ///
    /// # Errors
    /// When there are more mandates than a shard may hold.
    pub fn engine(&self, config: &Config) -> Result<Engine, BoundReached> {
        let shard = Shard::new(config, 1);
        let lines = self.mandates.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let records = lines.filter_map(|line| parse_mandate(line, config.base_currency.0).ok());
        let schedule = Schedule::new(records.map(|record| shard.prepare(&record)).collect());
        let mut engine = Engine {
            intake: Intake::new(config, 1),
            shard,
            schedule,
            verdict: Verdict::default(),
            alerts: Vec::new(),
            keys: Vec::new(),
            ahead: Vec::new(),
        };
        engine.apply(None)?;
        Ok(engine)
    }
}

/// Intake and shard of one thread, as the replay wires them.
#[derive(Debug)]
pub struct Engine {
    /// Watermark and repeats.
    pub intake: Intake,
    /// State and decision.
    pub shard: Shard,
    schedule: Schedule,
    /// The latest verdict.
    pub verdict: Verdict,
    alerts: Vec<Alert>,
    keys: Vec<u64>,
    ahead: Vec<Ahead>,
}

impl Engine {
    fn apply(&mut self, greatest_us: Option<i64>) -> Result<(), BoundReached> {
        self.schedule.take_due(greatest_us).try_for_each(|change| self.shard.apply(&change))
    }

    /// Takes transactions in, at most [`AHEAD_MAX`] together as the replay does, and shows each
    /// verdict; how many were decided.
    ///
    /// # Errors
    /// When a bound of the shard is reached.
    pub fn process<'t>(
        &mut self,
        transactions: &'t [Transaction<'t>],
        mut show: impl FnMut(&'t Transaction<'t>, &Verdict),
    ) -> Result<usize, BoundReached> {
        let mut decided = 0;
        for some in transactions.chunks(AHEAD_MAX) {
            self.keys.clear();
            self.keys.extend(some.iter().map(Intake::key));
            self.intake.look_ahead(self.keys.iter().copied());
            self.shard.look_ahead(some.iter(), &mut self.ahead);
            for (at, tx) in some.iter().enumerate() {
                let admission = self.intake.admit(tx, self.keys[at]);
                self.apply(self.intake.greatest_us())?;
                let Admission::New(stamp) = admission else { continue };
                self.alerts.clear();
                self.shard.decide_ahead(tx, &self.ahead[at], &stamp, &mut self.verdict, &mut self.alerts)?;
                show(tx, &self.verdict);
                decided += 1;
            }
        }
        Ok(decided)
    }
}

/// Processor time of this thread so far: what else the machine does counts little in it.
#[must_use]
pub fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

/// Time of `work` per item of `items`.
pub fn per_item<T>(items: u64, work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = processor_time();
    let result = work();
    let elapsed = processor_time() - begun;
    (Duration::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX) / items.max(1)), result)
}

/// Resident memory of this process in bytes, where the system tells.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
