//! How a log can fail, by what is to be done about it.

/// Why a log did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It may pass: try again, with a pause.
    #[error("{0}")]
    Unavailable(String),
    /// Another instance owns the partition now: drop its state.
    #[error("another instance owns the partition: {0}")]
    Fenced(String),
    /// The client or the log's handle cannot be used any more: make it anew and recover.
    #[error("{0}")]
    Broken(String),
    /// Records that are needed were deleted; only an operator can help.
    #[error(
        "offset {wanted} of {topic}, partition {partition}, was deleted; the oldest that is left is {oldest}"
    )]
    Gone {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What was asked for.
        wanted: i64,
        /// What is there.
        oldest: i64,
    },
    /// Only an operator can help.
    #[error("{0}")]
    Refused(String),
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}
