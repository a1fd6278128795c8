//! A client's request for a subscription, and why it may fail.

use crate::core::Unserved;
use crate::history::source::HistoryError;
use crate::live::view::Shared;
use crate::position::event_id::{EventId, EventIdError};
use crate::position::gap::Gap;
use crate::position::start_from::StartFrom;
use crate::read::filter_check::MaskedCondition;
use crate::record::filter::Filter;
use crate::record::tenant::TenantId;
use crate::sse::envelope::Envelope;
use crate::sse::framing::{EventName, Framing};

/// A client's request for a subscription.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// Whose records the client gets.
    pub tenant: TenantId,
    /// Names of topics; empty: all that can have records of the tenant.
    pub topics: Vec<String>,
    /// Which of these records.
    pub filter: Filter,
    /// How events are written.
    pub framing: Framing,
    /// What names the event of a record.
    pub event_name: EventName,
    /// How a record is written in them.
    pub envelope: Envelope,
    /// Whether the client may see masked fields as they are.
    pub unmasked: bool,
    /// Whether the client gets, of what it has missed, only the newest record of each key.
    pub conflate: bool,
    /// Where to start, unless there is a last event id.
    pub from: StartFrom,
    /// The last event id that the client saw, as it was sent; it takes precedence over `from`.
    pub last_event_id: Option<String>,
}

/// The longest unreadable id that is echoed to the client; a request's headers may take 16 KiB.
const MAX_ID_TEXT: usize = 16 * 1024;

/// The last event id in a request.
#[derive(Debug)]
pub(crate) enum LastEventId {
    /// There is none: the client starts for the first time.
    None,
    /// The client continues there.
    Known {
        /// As it was sent, or, where ids are sealed in another way now, as it is written today: so a client of a quiet topic
        /// has an id of the present key once it has come back.
        text: String,
        id: EventId,
    },
    /// It cannot be parsed: a gap says so, and the client starts as one without an id.
    Unknown {
        /// As it was sent, or what is echoed in its place.
        text: String,
    },
}

impl LastEventId {
    /// An empty id counts as none, as in a browser.
    pub(crate) fn of(text: Option<String>, tenant: &TenantId, shared: &Shared) -> LastEventId {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return LastEventId::None };
        match shared.read_id(tenant, &text) {
            Ok(id) => LastEventId::Known { text: shared.write_id(tenant, &id), id },
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

    /// The gap that announces an unreadable id.
    pub(crate) fn gap(&self) -> Option<Gap> {
        matches!(self, LastEventId::Unknown { .. }).then(Gap::unknown_id)
    }

    /// The id that is echoed to the client until its position moves.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            LastEventId::None => None,
            LastEventId::Known { text, .. } | LastEventId::Unknown { text } => Some(text),
        }
    }
}

/// Whether an unreadable id may be echoed to the client.
fn is_harmless(text: &str) -> bool {
    text.len() <= MAX_ID_TEXT && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// Why a subscription cannot start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubscribeError {
    /// No such topic is served, or it cannot have records of this tenant.
    #[error("there is no topic {0:?} here")]
    UnknownTopic(String),
    /// The topic is configured and could have records of this tenant, but is not served now.
    #[error("the topic {topic:?} {why}")]
    Unserved {
        /// Its name.
        topic: String,
        /// Why it is not served.
        why: Unserved,
    },
    /// The id to start at cannot be read.
    #[error("{0}")]
    BadId(#[from] EventIdError),
    /// The filter would tell the value of a field or header that the client may not see.
    #[error("{0}")]
    Masked(#[from] MaskedCondition),
    /// Kafka had to be asked where to start, and did not answer.
    #[error("Kafka could not be asked where to begin: {0}")]
    Unavailable(#[from] HistoryError),
}
