//! What makes two subscriptions share a view.

use crate::record::filter::{self, Filter};
use crate::record::tenant::TenantId;
use crate::sse::envelope::Envelope;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ViewKey {
    pub(crate) tenant: TenantId,
    pub(crate) envelope: Envelope,
    /// Whether masked fields are shown as they are.
    pub(crate) unmasked: bool,
    /// `None`: all topics without a filter, which is what most subscriptions request.
    part: Option<Box<WantedPart>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct WantedPart {
    /// Sorted names; if empty: every topic that can have records of the tenant.
    topics: Vec<String>,
    filter: Filter,
}

impl ViewKey {
    /// `topics` are sorted; if empty: all topics.
    pub(crate) fn new(
        tenant: TenantId,
        topics: Vec<String>,
        filter: Filter,
        envelope: Envelope,
        unmasked: bool,
    ) -> ViewKey {
        let is_all = topics.is_empty() && filter == filter::ANYTHING;
        ViewKey {
            tenant,
            envelope,
            unmasked,
            part: (!is_all).then(|| Box::new(WantedPart { topics, filter })),
        }
    }

    pub(crate) fn names_topics(&self) -> bool {
        self.part.as_ref().is_some_and(|part| !part.topics.is_empty())
    }

    pub(crate) fn names(&self, topic: &str) -> bool {
        let named = |part: &WantedPart| part.topics.iter().any(|name| name == topic);
        !self.names_topics() || self.part.as_deref().is_some_and(named)
    }

    /// Sorted names; empty: all topics.
    pub(crate) fn topics(&self) -> &[String] {
        self.part.as_ref().map_or(&[], |part| &part.topics)
    }

    pub(crate) fn filter(&self) -> &Filter {
        self.part.as_ref().map_or(&filter::ANYTHING, |part| &part.filter)
    }
}
