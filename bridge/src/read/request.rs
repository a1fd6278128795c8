//! What a client asks for, and why it may get nothing.

use crate::core::Unserved;
use crate::history::source::HistoryError;
use crate::position::event_id::EventId;
use crate::position::gap::Gap;
use crate::position::start_from::StartFrom;
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

/// The longest id of a client that is repeated to it; a request's headers may take 16 KiB.
const MAX_ID_TEXT: usize = 16 * 1024;

/// The last event id that a client came with.
#[derive(Debug)]
pub(crate) enum LastEventId {
    /// The client comes for the first time.
    None,
    /// It goes on there.
    Known {
        /// As it came.
        text: String,
        id: EventId,
    },
    /// It came with something that cannot be read: a gap says so, and it starts as one that comes for the first time.
    Unknown {
        /// As it came, or what can be repeated in place of it.
        text: String,
    },
}

impl LastEventId {
    /// An empty one is none, as for a browser.
    pub(crate) fn of(text: Option<String>) -> LastEventId {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return LastEventId::None };
        match text.parse() {
            Ok(id) => LastEventId::Known { text, id },
            Err(_) if is_harmless(&text) => LastEventId::Unknown { text },
            Err(_) => LastEventId::Unknown { text: "unknown".to_owned() },
        }
    }

    pub(crate) fn is_some(&self) -> bool {
        !matches!(self, LastEventId::None)
    }

    pub(crate) fn is_known(&self) -> bool {
        matches!(self, LastEventId::Known { .. })
    }

    /// The gap that says that it cannot be read.
    pub(crate) fn gap(&self) -> Option<Gap> {
        matches!(self, LastEventId::Unknown { .. }).then(Gap::unknown_id)
    }

    /// What is repeated to the client as long as nothing has moved its position.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            LastEventId::None => None,
            LastEventId::Known { text, .. } | LastEventId::Unknown { text } => Some(text),
        }
    }
}

/// Whether text that is no id may be repeated to the client.
fn is_harmless(text: &str) -> bool {
    text.len() <= MAX_ID_TEXT && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// Why a subscription cannot start.
#[derive(Clone, Debug, thiserror::Error)]
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
    Unavailable(#[from] HistoryError),
}
