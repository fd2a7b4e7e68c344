//! Faults of keys and partitions, told as rejects tell them.

use weir_events::reject::{Fault, RejectCode};
use weir_log::{KeyFault, Partitioner};

/// The fault of a transaction's key.
pub(crate) fn transaction_fault(
    fault: KeyFault,
    key: Option<&[u8]>,
    user_id: &str,
    partition: i32,
    partitioner: Partitioner,
) -> Fault {
    match fault {
        KeyFault::Mismatch => Fault::key_mismatch(key, user_id),
        KeyFault::WrongPartition(expected) => Fault::wrong_partition(partition, expected, partitioner.name()),
    }
}

/// The fault of a mandate's key.
pub(crate) fn mandate_fault(
    fault: KeyFault,
    key: Option<&[u8]>,
    mandate_id: &str,
    partition: i32,
    partitioner: Partitioner,
) -> Fault {
    match fault {
        KeyFault::WrongPartition(expected) => Fault::wrong_partition(partition, expected, partitioner.name()),
        KeyFault::Mismatch => {
            let found =
                key.map_or_else(|| "no key".to_owned(), |key| format!("{:?}", String::from_utf8_lossy(key)));
            let message = format!("the record's key must be its mandate_id {mandate_id:?}; found {found}");
            Fault::new(RejectCode::KeyMismatch, Some("mandate_id"), message)
        }
    }
}
