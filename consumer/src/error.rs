//! What can go wrong between this package and Kafka.

use rdkafka_sys::rd_kafka_resp_err_t as Code;
use tailrace_bridge::HistoryError;

/// Kafka, or librdkafka, did not do what was asked of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KafkaError {
    /// The properties do not make a client.
    #[error("the Kafka properties do not make a client: {0}")]
    Config(String),
    /// A request to the cluster failed.
    #[error("{what}: {message}")]
    #[non_exhaustive]
    Request {
        /// What was asked.
        what: &'static str,
        /// librdkafka's code for the failure.
        code: Code,
        /// librdkafka's words for it.
        message: String,
    },
    /// A read of history brought nothing.
    #[error(transparent)]
    #[non_exhaustive]
    History(HistoryError),
    /// No answer in time, again and again.
    #[error("{0} does not answer")]
    Silent(&'static str),
    /// A thread could not be started.
    #[error("start a thread: {0}")]
    Thread(String),
}

/// Why Kafka was asked and nothing came of it, where no request of ours failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("no answer in time")]
    Late,
    /// An error that no request of ours brought back, in librdkafka's words.
    #[error("{0}")]
    Client(String),
    #[error("the leader's answer contradicts its log")]
    Contradiction,
}

/// Records are held back, since their schema is not known yet: in words, why not.
#[derive(Clone, Debug, thiserror::Error)]
#[error("records are held back: {0}")]
pub(crate) struct HeldBack(pub(crate) String);

impl KafkaError {
    /// Whether Kafka answered, and the answer was no.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, KafkaError::Request { code, .. } if is_denied(*code))
    }
}

/// Whether the code says that the credentials lack a permission.
pub(crate) fn is_denied(code: Code) -> bool {
    matches!(
        code,
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
    )
}
