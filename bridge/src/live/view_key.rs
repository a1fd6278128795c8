//! What makes two subscriptions share a view.

use crate::record::RecordRef;
use crate::record::filter::{self, Filter};
use crate::record::selector::Selector;
use crate::record::tenant::TenantId;
use crate::sse::envelope::Envelope;
use crate::sse::framing::{EventName, Framing};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ViewKey {
    pub(crate) tenant: TenantId,
    pub(crate) framing: Framing,
    pub(crate) event_name: EventName,
    pub(crate) envelope: Envelope,
    /// Whether masked fields are shown as they are.
    pub(crate) unmasked: bool,
    /// Whether readers keep state by key, so that they are told of a key whose record does not meet the filter any more.
    tells_left: bool,
    /// `None`: all topics without a filter, which is what most subscriptions request.
    part: Option<Box<WantedPart>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct WantedPart {
    /// Sorted names; if empty: every topic that can have records of the tenant.
    topics: Vec<String>,
    filter: Filter,
}

/// What readers are told of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The record.
    Record,
    /// The key alone: a reader may have an earlier record of it that meets the filter, and this one does not.
    Left,
}

impl ViewKey {
    /// `topics` are sorted; if empty: all topics. `by_key`: readers keep state by key.
    pub(crate) fn new(
        tenant: TenantId,
        topics: Vec<String>,
        filter: Filter,
        (framing, event_name, envelope): (Framing, EventName, Envelope),
        unmasked: bool,
        by_key: bool,
    ) -> ViewKey {
        let is_all = topics.is_empty() && filter == filter::ANYTHING;
        ViewKey {
            tenant,
            framing,
            event_name,
            envelope,
            unmasked,
            tells_left: by_key && !filter.is_of_key(),
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

    /// What readers are told of the record; `None`: nothing.
    pub(crate) fn told_of(&self, record: &RecordRef<'_>) -> Option<Told> {
        let filter = self.filter();
        if filter.matches(record) {
            return Some(Told::Record);
        }
        let leaves = self.tells_left && record.key.is_some() && filter.admits_key(record);
        leaves.then_some(Told::Left)
    }

    /// The ways in which the view can be found by what a record has in its fields: a record that does not meet one of these does
    /// not concern it.
    pub(crate) fn selectors(&self) -> Vec<Selector<'_>> {
        let mut all = self.filter().selectors();
        if self.tells_left {
            all.retain(Selector::is_of_key);
        }
        all
    }

    pub(crate) fn filter(&self) -> &Filter {
        self.part.as_ref().map_or(&filter::ANYTHING, |part| &part.filter)
    }
}
