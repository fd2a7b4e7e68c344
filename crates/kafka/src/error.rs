//! What a client's error means for the one who asked.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use weir_log::LogError;

/// The error's code, where it has one.
pub(crate) fn code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        KafkaError::Transaction(error) => Some(error.code()),
        error => error.rdkafka_error_code(),
    }
}

/// The error in words, without values of properties: they may be secrets.
pub(crate) fn text(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, description, name, _) if description.starts_with("No such") => {
            format!("librdkafka has no property `{name}`")
        }
        KafkaError::ClientConfig(_, _, name, _) => {
            format!("the value of property `{name}` is not one that librdkafka takes")
        }
        KafkaError::Transaction(error) => format!("{} ({})", error.string(), error.name()),
        error => error.to_string(),
    }
}

/// The error of something that was asked of the cluster.
pub(crate) fn of(what: &str, error: &KafkaError) -> LogError {
    let message = format!("{what}: {}", text(error));
    match (error, code(error)) {
        (KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_), _) => LogError::Refused(message),
        (_, Some(code)) => by_code(code, message),
        _ => LogError::Broken(message),
    }
}

/// What is to be done about a code.
pub(crate) fn by_code(code: Code, message: String) -> LogError {
    if fenced(code) {
        LogError::Fenced(message)
    } else if only_an_operator_helps(code) {
        LogError::Refused(message)
    } else if may_pass(code) {
        LogError::Unavailable(message)
    } else {
        LogError::Broken(message)
    }
}

/// Another producer has the transactional id.
pub(crate) fn fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::TransactionCoordinatorFenced
            | Code::FencedInstanceId
    )
}

/// Trying again does not help.
pub(crate) fn only_an_operator_helps(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidTopic
            | Code::PolicyViolation
            | Code::MessageSizeTooLarge
            | Code::InvalidRecord
            | Code::InvalidRequiredAcks
            | Code::InvalidTransactionTimeout
            | Code::UnsupportedForMessageFormat
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
    )
}

/// Whether the error says that the offset is not there.
pub(crate) fn out_of_range(code: Code) -> bool {
    matches!(code, Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset)
}

/// An error of reading a partition, in words.
pub(crate) fn reading(topic: &str, partition: i32, text: &str) -> String {
    format!("{topic}, partition {partition}: {text}")
}

/// What an error of reading a partition means.
///
/// # Errors
/// [`LogError::Refused`] where only an operator helps; any other passes.
pub(crate) fn of_reading(topic: &str, partition: i32, code: Code, text: &str) -> Result<(), LogError> {
    let refused = only_an_operator_helps(code);
    if refused { Err(LogError::Refused(reading(topic, partition, text))) } else { Ok(()) }
}

/// The broker is away, or not ready. One that has just come back may not know topics that were there at the start.
fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::WaitingForCoordinator
            | Code::InProgress
            | Code::Retry
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::ConcurrentTransactions
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::UnstableOffsetCommit
    )
}
