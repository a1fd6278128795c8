//! Deliberate defects, each of which the tests must catch. Without the feature `sabotage` no defect is compiled in.

/// One broken rule. The first seven are the rules of the seam between replay and live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Rule 1: the head is published before the frames are in the views.
    HeadBeforeFrames,
    /// Rule 2: a frame's id takes the heads without the view's own positions.
    IdWithoutView,
    /// Rule 3: a view is registered without waiting for batches in flight.
    RegisterWithoutWaiting,
    /// Rule 4: a progress frame carries the view's id, wherever the cursor is.
    ProgressAnywhere,
    /// Rule 5: a cursor leaves the ring in the middle of a frame.
    LeaveMidFrame,
    /// Rule 6: a record below the head is taken again.
    TakeBelowHead,
    /// Rule 7: a re-created topic continues without a purge.
    KeepRecreated,
    /// A subscription joins a view that is behind it.
    JoinAhead,
    /// An id holds only the position of the partition that its frame came from.
    IdsWithoutOtherPartitions,
    /// A resume begins one offset late.
    OffByOne,
    /// Gaps are not announced.
    SilentGap,
    /// A blank line precedes a connection's first id.
    BlankLineFirst,
    /// New partitions are never assigned.
    StaleAssignment,
    /// Neither a topic that was created again nor one that is stuck gets a new client.
    KeepClient,
}

#[cfg(feature = "sabotage")]
#[allow(clippy::disallowed_methods, reason = "in builds with defects alone, which no release is")]
mod switch {
    use super::Sabotage;
    use std::cell::Cell;
    use std::sync::OnceLock;

    const NAMES: [(&str, Sabotage); 14] = [
        ("head_before_frames", Sabotage::HeadBeforeFrames),
        ("id_without_view", Sabotage::IdWithoutView),
        ("register_without_waiting", Sabotage::RegisterWithoutWaiting),
        ("progress_anywhere", Sabotage::ProgressAnywhere),
        ("leave_mid_frame", Sabotage::LeaveMidFrame),
        ("take_below_head", Sabotage::TakeBelowHead),
        ("keep_recreated", Sabotage::KeepRecreated),
        ("join_ahead", Sabotage::JoinAhead),
        ("ids_without_other_partitions", Sabotage::IdsWithoutOtherPartitions),
        ("off_by_one", Sabotage::OffByOne),
        ("silent_gap", Sabotage::SilentGap),
        ("blank_line_first", Sabotage::BlankLineFirst),
        ("stale_assignment", Sabotage::StaleAssignment),
        ("keep_client", Sabotage::KeepClient),
    ];

    static BY_ENVIRONMENT: OnceLock<Option<Sabotage>> = OnceLock::new();
    thread_local!(static BY_TEST: Cell<Option<Sabotage>> = const { Cell::new(None) });

    /// Breaks one rule for everything that this OS thread runs (all threads of a model run on one OS thread).
    pub fn sabotage(rule: Option<Sabotage>) {
        BY_TEST.with(|cell| cell.set(rule));
    }

    /// Whether the rule is broken in this process or thread.
    pub fn broken(rule: Sabotage) -> bool {
        let named = BY_ENVIRONMENT.get_or_init(|| {
            let name = std::env::var("TAILRACE_SABOTAGE").ok()?;
            let found = NAMES.iter().find(|(known, _)| *known == name);
            Some(found.unwrap_or_else(|| panic!("TAILRACE_SABOTAGE: no defect is named {name:?}")).1)
        });
        *named == Some(rule) || BY_TEST.with(Cell::get) == Some(rule)
    }

    /// Whether any rule is broken: assertions elsewhere rely on all rules, and tests have to catch the defect instead.
    pub(crate) fn any_broken() -> bool {
        BY_ENVIRONMENT.get().copied().flatten().or_else(|| BY_TEST.with(Cell::get)).is_some()
    }

    /// Some defects show only within a few microseconds. In a real process, this makes that time longer; a model finds such
    /// defects by itself.
    pub(crate) fn widen(rules: &[Sabotage]) {
        let by_environment = BY_ENVIRONMENT.get().copied().flatten();
        if by_environment.is_some_and(|rule| rules.contains(&rule)) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

#[cfg(feature = "sabotage")]
pub use switch::broken;
#[cfg(feature = "sabotage")]
pub use switch::sabotage;
#[cfg(feature = "sabotage")]
pub(crate) use switch::{any_broken, widen};

#[cfg(not(feature = "sabotage"))]
#[inline(always)]
/// Always false: no defect is compiled in.
pub const fn broken(_: Sabotage) -> bool {
    false
}

#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub(crate) const fn any_broken() -> bool {
    false
}

#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub(crate) const fn widen(_: &[Sabotage]) {}
