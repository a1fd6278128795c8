//! A client that resumes: its last event id becomes the positions that it continues from. An id that cannot be read is a gap, which
//! [`subscribe`](super::subscribe) announces.

use std::sync::Arc;

use crate::base::sabotage::{Sabotage, broken};
use crate::core::{Hold, Inner};
use crate::history::History;
use crate::history::source::HistoryError;
use crate::log::partition::Partition;
use crate::log::topic::{Topic, Topics};
use crate::position::event_id::EventId;
use crate::position::{Part, Position, Vector};
use crate::read::reconcile::{StartPositions, first_record, reconcile, strangers};
use crate::read::request::SubscribeError;
use crate::read::run::Run;
use crate::read::start_offsets::{Offsets, offsets_since};
use crate::read::subscription::{Subscription, SubscriptionStart};
use crate::record::tenant::TenantId;

/// How far clocks may differ. A topic that an id lacks was not in the list when the id was made, so it starts this long before
/// the id's time.
const CLOCKS_DIFFER_MILLIS: i64 = 2 * 60 * 1000;

/// Refreshes the list of topics if the id has topics or partitions that are not known here. Topics that cannot have records of
/// the tenant count as unknown: whoever makes up an id must not learn from the answer which there are.
pub(crate) async fn see_parts_of(inner: &Inner, tenant: &TenantId, id: &EventId) {
    let all_seen = {
        let structure = inner.structure.lock();
        id.vector.parts.iter().all(|part| {
            structure.topics.values().any(|topic| {
                part.fingerprint.matches(topic.fingerprint())
                    && part.positions.len() <= topic.partitions().len()
                    && inner.rules.can_yield(topic.name(), tenant)
            })
        })
    };
    if !all_seen {
        inner.history.source().refresh().await;
    }
}

/// Continues at an id's positions, which are compared with the topics as they are now. `bounds`: those of the run that the id is
/// in, which goes on.
pub(crate) async fn resume(
    hold: Hold,
    id: EventId,
    bounds: Vec<Part>,
    mut start: SubscriptionStart,
) -> Result<Subscription, SubscribeError> {
    let topics = start.topics.clone();
    let mut vector = id.vector;
    if broken(Sabotage::OffByOne) {
        let positions = vector.parts.iter_mut().flat_map(|part| &mut part.positions);
        positions.filter(|position| position.is_known()).for_each(|position| position.offset += 1);
    }
    let since = SinceId::of(&hold.inner.history, &vector, id.minutes, &topics).await?;
    start.pending.extend(reconcile(&mut vector, &mut start.carried, &topics, &since));
    let unseen = strangers(&mut vector, &topics);
    let key = hold.view.key();
    if !key.names_topics() {
        start.carried.extend(unseen.into_iter().filter(|part| !is_seen(&hold.inner, &key.tenant, part)));
    }
    start.vector = vector;
    start.carried.extend(carried_bounds(&bounds, &start.carried));
    if !bounds.is_empty() {
        let mut run = Run::resumed(start.conflates);
        let now = hold.inner.shared.clock.now();
        run.set_out(&topics, &hold.view.snapshot().vector, &bounds, now);
        start.run = Some(run);
    }
    Ok(Subscription::replaying(hold, start))
}

/// The bounds of positions that this replica carries along.
fn carried_bounds(bounds: &[Part], carried: &[Part]) -> Vec<Part> {
    let of_part = |part: &Part| {
        let bound = bounds.iter().find(|bound| bound.fingerprint == part.fingerprint)?;
        let beside =
            |(bound, at): (&Position, &Position)| if at.is_known() { *bound } else { Position::UNKNOWN };
        let positions: Vec<Position> = bound.positions.iter().zip(&part.positions).map(beside).collect();
        let is_any = positions.iter().any(Position::is_known);
        is_any.then(|| Part { positions, ..*bound }.into_bound())
    };
    carried.iter().filter_map(of_part).collect()
}

/// Whether the part's topic is known here by name and can have records of the tenant, even if the subscription does not read it.
fn is_seen(inner: &Inner, tenant: &TenantId, part: &Part) -> bool {
    let structure = inner.structure.lock();
    let is_it = |topic: &&Arc<Topic>| topic.fingerprint().name == part.fingerprint.name;
    structure.topics.values().filter(is_it).any(|topic| inner.rules.can_yield(topic.name(), tenant))
}

/// For a resume: a topic without positions starts at the id's time, a partition added since at its first record.
pub(crate) struct SinceId {
    lacking: Offsets,
}

impl SinceId {
    /// Looks up the offsets of the topics that have partitions without a known position.
    pub(crate) async fn of(
        history: &History,
        vector: &Vector,
        minutes: u32,
        topics: &Topics,
    ) -> Result<SinceId, HistoryError> {
        let since = i64::from(minutes) * 60_000 - CLOCKS_DIFFER_MILLIS;
        let mut lacking = Offsets::new();
        for (topic, partitions) in topics {
            if !all_known(vector, topic, partitions) {
                let offsets = offsets_since(history, topic, partitions, since).await?;
                lacking.insert(topic.name().clone(), offsets);
            }
        }
        Ok(SinceId { lacking })
    }
}

impl StartPositions for SinceId {
    fn of_lacking(&self, partition: &Partition) -> Position {
        let offsets = self.lacking.get(partition.topic_name());
        match offsets.and_then(|offsets| offsets.get(partition.index() as usize)) {
            Some(&offset) => Position { offset, epoch: -1 },
            None => first_record(partition),
        }
    }

    fn of_added(&self, partition: &Partition) -> Position {
        first_record(partition)
    }
}

fn all_known(vector: &Vector, topic: &Topic, partitions: &[Arc<Partition>]) -> bool {
    let of_name = |part: &&Part| part.fingerprint.name == topic.fingerprint().name;
    let known = |index: usize| {
        vector
            .parts
            .iter()
            .filter(of_name)
            .any(|part| part.positions.get(index).is_some_and(Position::is_known))
    };
    (0..partitions.len()).all(known)
}
