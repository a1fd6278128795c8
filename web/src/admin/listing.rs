//! What the open streams do at this moment, read from their entries: no stream is asked, and none waits.

use std::collections::HashMap;
use std::time::Duration;

use tailrace_bridge::{Behind, TenantId, ViewPosition};

use crate::registry::{Entered, Entry, Registry};

/// A stream that has not taken an event for this long lags; less is the time of the delivery itself.
const LAGS_AFTER: Duration = Duration::from_secs(1);

/// What a stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has not been live yet.
    Replaying,
    /// It has every event, or will have it at once.
    Live,
    /// It was live, and is behind now.
    Lagging,
    /// An operator has ended it; its last block is on its way.
    Revoked,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            State::Replaying => "replaying",
            State::Live => "live",
            State::Lagging => "lagging",
            State::Revoked => "revoked",
        }
    }

    fn of(entry: &Entry, behind: Behind) -> State {
        let standing = entry.standing();
        let is_late = behind.count > 0 && behind.waits.is_none_or(|waits| waits > LAGS_AFTER);
        match (standing.is_replaying(), standing.was_live()) {
            _ if entry.is_revoked() => State::Revoked,
            (true, false) => State::Replaying,
            (true, true) => State::Lagging,
            (false, _) if is_late => State::Lagging,
            (false, _) => State::Live,
        }
    }
}

/// One stream at this moment.
pub(super) struct Row {
    pub(super) entry: Entered,
    pub(super) tenant: TenantId,
    pub(super) behind: Behind,
    pub(super) state: State,
}

/// The streams of this tenant, of this subject; `None`: of all.
pub(super) fn rows(registry: &Registry, tenant: Option<&TenantId>, subject: Option<&str>) -> Vec<Row> {
    // Ten thousand streams may read one view, which is looked at once.
    let mut views: HashMap<usize, Option<ViewPosition>> = HashMap::new();
    let mut rows = Vec::new();
    for entry in registry.entries() {
        if subject.is_some() && entry.subject() != subject {
            continue;
        }
        let view = views.entry(entry.view.number()).or_insert_with(|| entry.view.look());
        // Without a view it has just ended.
        let Some(view) = view else { continue };
        if tenant.is_none_or(|wanted| wanted == view.tenant()) {
            let (tenant, behind) = (view.tenant().clone(), behind(&entry, view));
            let state = State::of(&entry, behind);
            rows.push(Row { entry, tenant, behind, state });
        }
    }
    rows
}

fn behind(entry: &Entry, view: &ViewPosition) -> Behind {
    let standing = entry.standing();
    let behind = view.behind(standing);
    // A view drops events that everybody has taken: the stream may have taken its events since.
    if behind.waits.is_none() && entry.standing() != standing {
        return view.behind(entry.standing());
    }
    behind
}
