//! What a client asks for, and why it may get nothing.

use crate::core::Unserved;
use crate::position::start::StartFrom;
use crate::record::filter::Filter;
use crate::record::tenant::TenantId;
use crate::sse::envelope::Envelope;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// Whose records.
    pub tenant: TenantId,
    /// Names of topics; empty: all that can yield the tenant.
    pub topics: Vec<String>,
    /// Which of them.
    pub filter: Filter,
    /// How a record is written.
    pub envelope: Envelope,
    /// Where to start, unless there is a last event id.
    pub from: StartFrom,
    /// The last event id that the client saw, as it came; it wins over `from`.
    pub last_event_id: Option<String>,
}

/// Why a subscription cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// No such topic is served, or it cannot yield this tenant.
    #[error("there is no topic {0:?} here")]
    UnknownTopic(String),
    /// The topic is configured and could yield this tenant, but is not served now.
    #[error("the topic {topic:?} {why}")]
    Unserved {
        /// Its name.
        topic: String,
        /// What is in the way.
        why: Unserved,
    },
    /// Kafka had to be asked where to start, and did not answer.
    #[error("Kafka could not be asked where to begin: {0}")]
    Unavailable(String),
}
