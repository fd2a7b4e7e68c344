//! A partition that is owned: fenced, recovered, taken live.

use std::sync::Arc;

use weir_log::{Extent, Feed, Live, LogError, Partition, Reader};

use crate::commit::{LiveSink, LiveSource, Pace};
use crate::follow::Bounded;
use crate::log::Shared;
use crate::produce::Writer;

/// A partition.
pub(crate) struct KafkaPartition {
    shared: Arc<Shared>,
    number: i32,
    ownership: u64,
    /// What was opened, and under which lease.
    open: Option<(Writer, u64)>,
}

impl KafkaPartition {
    /// A partition that is owned.
    pub(crate) fn new(shared: Arc<Shared>, number: i32, ownership: u64) -> Self {
        Self { shared, number, ownership, open: None }
    }

    /// What the partition holds. Earlier owners are fenced: when something is still undecided at the journal's end,
    /// a stranger writes it, and its end is not final.
    fn extent(&self) -> Result<Extent, LogError> {
        let topics = &self.shared.config.topics;
        let query = &self.shared.query;
        let journal = query.range(&topics.journal, self.number)?;
        let end = self.shared.admin.end(&topics.journal, self.number)?;
        if end > journal.end {
            let message = format!(
                "somebody has an open transaction on {}, partition {}: it is committed up to {} and ends at {end}",
                topics.journal, self.number, journal.end
            );
            return Err(LogError::Unavailable(message));
        }
        Ok(Extent {
            transactions: query.range(&topics.transactions, self.number)?,
            journal,
            group_position: query.committed(&topics.transactions, self.number)?,
        })
    }
}

impl Partition for KafkaPartition {
    fn open(&mut self) -> Result<Extent, LogError> {
        self.open = None;
        self.shared.check_topics()?;
        // Only an owner may fence others.
        let lease = self.shared.group.lease(self.number, self.ownership);
        let gone = || LogError::Fenced(format!("partition {} is not assigned any more", self.number));
        let lease = lease.ok_or_else(gone)?;
        let writer = Writer::open(&self.shared.config, self.number).map_err(|error| match error {
            // Somebody else opened it at the same moment; the group says in time who owns it.
            LogError::Fenced(reason) if self.shared.group.holds(self.number, lease) => {
                LogError::Unavailable(reason)
            }
            error => error,
        })?;
        self.open = Some((writer, lease));
        self.extent()
    }

    fn read(&mut self, feed: Feed, from: i64) -> Result<Box<dyn Reader>, LogError> {
        let topics = &self.shared.config.topics;
        let topic = match feed {
            Feed::Transactions => &topics.transactions,
            Feed::Journal => &topics.journal,
        };
        Ok(Box::new(Bounded::new(&self.shared, topic, self.number, from)?))
    }

    fn go_live(&mut self, from: i64) -> Result<Live, LogError> {
        let open = self.open.take();
        let (writer, lease) = open.ok_or_else(|| LogError::Broken("the partition was not opened".into()))?;
        let pace = Arc::new(Pace::default());
        let source = LiveSource::new(&self.shared, self.number, lease, from, &pace)?;
        let sink = LiveSink::new(writer, &self.shared, self.number, lease, &pace);
        Ok((Box::new(source), Box::new(sink)))
    }

    fn forget_before(&mut self, offset: i64, _transactions: i64) -> Result<(), LogError> {
        self.shared.admin.delete_before(&self.shared.config.topics.journal, self.number, offset)
    }
}
