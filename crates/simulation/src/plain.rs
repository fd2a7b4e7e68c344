//! The engine by itself: one record after another, without batches, journal or log.

use std::collections::BTreeMap;

use weir_engine::{Admission, Config, Intake, Shard};
use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::{Alert, Decision, MandateRecord, Timestamp, Transaction, Verdict};
use weir_log::{KeyFault, OwnedRecord, Partitioner};

/// What became of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// Its decision, as JSON, and what its episodes told.
    Decision(String, Vec<Alert>),
    /// Dropped.
    Duplicate,
    /// The code of its reject.
    Reject(String),
}

/// Intake and shard of a partition.
pub(crate) struct Plain {
    shard: Shard,
    intake: Intake,
    digest: String,
    partitioner: Partitioner,
    partition: i32,
    partitions: i32,
}

impl Plain {
    /// Before the first record.
    #[must_use]
    pub(crate) fn new(config: &Config, partitioner: Partitioner, partition: i32, partitions: i32) -> Self {
        let (shard, intake) = (Shard::new(config, 7), Intake::new(config, 7));
        Self { shard, intake, digest: config.digest(), partitioner, partition, partitions }
    }

    /// Another configuration.
    pub(crate) fn reconfigure(&mut self, config: &Config) {
        self.shard.reconfigure(config);
        self.intake.reconfigure(config);
        self.digest = config.digest();
    }

    /// A mandate comes into force or goes.
    ///
    /// # Errors
    /// When its text cannot be read.
    pub(crate) fn apply(
        &mut self,
        mandate_id: &str,
        text: Option<&[u8]>,
        version: i64,
    ) -> Result<(), String> {
        let record = match text {
            None => MandateRecord::Deleted { mandate_id: mandate_id.to_owned(), updated_at: None },
            Some(text) => {
                let base = self.shard.config().base_currency.0;
                parse_mandate(text, base).map_err(|fault| fault.to_string())?
            }
        };
        let change = self.shard.prepare(&record);
        self.shard.apply_version(&change, version).map_err(|error| error.to_string())
    }

    /// The next record.
    ///
    /// # Errors
    /// When the shard is full.
    pub(crate) fn step(&mut self, record: &OwnedRecord) -> Result<Told, String> {
        let reject = |code: &str| Ok(Told::Reject(code.to_owned()));
        let base = self.shard.config().base_currency.0;
        let mut tx: Transaction<'_> =
            match parse_transaction(record.value.as_deref().unwrap_or_default(), base) {
                Ok(tx) => tx,
                Err(fault) => {
                    let code = serde_json::to_value(fault.code).unwrap();
                    return reject(code.as_str().unwrap());
                }
            };
        match self.partitioner.check(record.key.as_deref(), &tx.user_id, self.partition, self.partitions) {
            Err(KeyFault::Mismatch) => return reject("key_mismatch"),
            Err(KeyFault::WrongPartition(_)) => return reject("wrong_partition"),
            Ok(()) => {}
        }
        let believable = |us: &i64| (Timestamp::MIN_INPUT.0..=Timestamp::MAX_INPUT.0).contains(us);
        let recorded = record.timestamp_us.filter(believable).map(Timestamp);
        tx.record_time = tx.record_time.or(recorded);
        let stamp = match self.intake.admit(&tx, Intake::key(&tx)) {
            Admission::New(stamp) => stamp,
            Admission::Duplicate => return Ok(Told::Duplicate),
            Admission::Rejected(fault) => {
                let code = serde_json::to_value(fault.code).unwrap();
                return reject(code.as_str().unwrap());
            }
        };
        let (mut verdict, mut alerts) = (Verdict::default(), Vec::new());
        let decided = self.shard.decide(&tx, &stamp, &mut verdict, &mut alerts);
        decided.map_err(|error| error.to_string())?;
        let mut json = Vec::new();
        Decision { transaction: &tx, verdict: &verdict, config_digest: &self.digest }.write(&mut json);
        Ok(Told::Decision(String::from_utf8(json).unwrap(), alerts))
    }

    /// The risk profile of every agent, by key.
    #[must_use]
    pub(crate) fn profiles(&self) -> BTreeMap<String, String> {
        let profiles = self.shard.profiles().map(|profile| {
            let key = serde_json::to_string(&[&profile.user_id, &profile.agent_id]).unwrap();
            (key, serde_json::to_string(&profile).unwrap())
        });
        profiles.collect()
    }
}
