//! Shared by the benchmarks: streams in memory, and time per record.

pub mod alone;

use std::io;
use std::time::{Duration, Instant};

use weir_engine::{Admission, BoundReached, Config, Intake, Schedule, Shard};
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
        let mut schedule = Schedule::default();
        let lines = self.mandates.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        for record in lines.filter_map(|line| parse_mandate(line, config.base_currency.0).ok()) {
            schedule.add(record);
        }
        let mut engine = Engine {
            intake: Intake::new(config, 1),
            shard: Shard::new(config, 1),
            schedule,
            verdict: Verdict::default(),
            alerts: Vec::new(),
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
}

impl Engine {
    fn apply(&mut self, greatest_us: Option<i64>) -> Result<(), BoundReached> {
        for record in self.schedule.take_due(greatest_us) {
            let terms = self.shard.terms(&record);
            self.shard.apply_mandate(record.mandate_id(), terms)?;
        }
        Ok(())
    }

    /// Takes a transaction in; whether it was decided.
    ///
    /// # Errors
    /// When a bound of the shard is reached.
    pub fn process(&mut self, tx: &Transaction<'_>) -> Result<bool, BoundReached> {
        let admission = self.intake.admit(tx);
        self.apply(self.intake.greatest_us())?;
        let Admission::New(stamp) = admission else { return Ok(false) };
        self.alerts.clear();
        self.shard.decide(tx, &stamp, &mut self.verdict, &mut self.alerts)?;
        Ok(true)
    }
}

/// Time of `work` per item of `items`.
pub fn per_item<T>(items: u64, work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let result = work();
    let elapsed = begun.elapsed();
    (Duration::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX) / items.max(1)), result)
}

/// Resident memory of this process in bytes, where the system tells.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
