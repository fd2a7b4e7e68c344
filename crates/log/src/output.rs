//! What a batch leaves behind, encoded once, so that it can be sent again with the same bytes.

use std::ops::Range;

/// Topics that Weir writes. The partition is always the shard's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// One record per transaction.
    Decisions,
    /// Compacted, one key per agent.
    RiskScores,
    /// Episodes.
    Alerts,
    /// What could not be used.
    Rejects,
    /// What it was decided under.
    Journal,
}

impl Topic {
    /// Every topic, in the order in which a batch's messages stand.
    pub const ALL: [Self; 5] =
        [Self::Decisions, Self::RiskScores, Self::Alerts, Self::Rejects, Self::Journal];
}

/// One message; its bytes lie in the output's arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub topic: Topic,
    /// Key; empty: none.
    pub key: Range<usize>,
    /// Value.
    pub value: Range<usize>,
    /// Offset of the transaction that it tells of.
    pub source_offset: Option<i64>,
}

/// What became of one record of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Decided: the decision is the message at this position.
    Decided(usize),
    /// The same transaction again, dropped: hash of its user and id.
    Duplicate(u64),
    /// Rejected: the reject is the message at this position.
    Rejected(usize),
}

/// What a batch leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The batch's number in its shard's journal, from 0.
    pub sequence: u64,
    /// The transactions' position after the batch.
    pub position: i64,
    /// Messages in the order in which they are to stand in their topics.
    pub messages: Vec<Message>,
    /// What became of each record of the batch.
    pub fates: Vec<Fate>,
    /// Hash of user and `tx_id` of each decided record, at the position of its fate; 0 for the others.
    pub keys: Vec<u64>,
    /// The messages' bytes.
    pub bytes: Vec<u8>,
}

impl Output {
    /// Empties the output and keeps its memory.
    pub fn clear(&mut self) {
        self.sequence = 0;
        self.position = 0;
        self.messages.clear();
        self.fates.clear();
        self.keys.clear();
        self.bytes.clear();
    }

    /// Appends a message whose key and value are written by the closures.
    pub fn push(
        &mut self,
        topic: Topic,
        source_offset: Option<i64>,
        key: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let start = self.bytes.len();
        key(&mut self.bytes);
        let middle = self.bytes.len();
        value(&mut self.bytes);
        let end = self.bytes.len();
        self.messages.push(Message { topic, key: start..middle, value: middle..end, source_offset });
        self.messages.len() - 1
    }

    /// Key and value of a message.
    #[must_use]
    pub fn message(&self, message: &Message) -> (&[u8], &[u8]) {
        let bytes = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        (bytes(&message.key), bytes(&message.value))
    }

    /// Value of the message at a position.
    #[must_use]
    pub fn value(&self, at: usize) -> &[u8] {
        self.messages.get(at).map_or(&[], |message| self.message(message).1)
    }
}
