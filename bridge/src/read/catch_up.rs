//! One step of a replaying subscription: it emits the next chunk of records up to a snapshot of the view, or, once all of them
//! are emitted, joins the view and is live. [`Subscription::next`] makes one or more steps.

use std::sync::Arc;

use crate::base::metrics;
use crate::base::sabotage::{Sabotage, broken};
use crate::base::sync::atomic::Ordering;
use crate::live::delivery::Snapshot;
use crate::live::view_key::Told;
use crate::position::event_id::RunningId;
use crate::position::{Fingerprint, Part, Vector};
use crate::read::reconcile::{AtOrigin, deleted, reconcile, strangers};
use crate::read::replay::{Chunk, Context, Replayed};
use crate::read::run::Run;
use crate::read::subscription::{
    Budget, Next, Replaying, Round, Shape, State, Subscription, bounds_of, with_parts,
};
use crate::read::wait::Wait;
use crate::sse::frame;

/// A larger budget counts as this many bytes when a chunk looks ahead.
const MAX_LOOK_AHEAD: usize = 256 * 1024;
const NOT_REPLAYING: &str = "only a replaying subscription catches up";

impl Subscription {
    pub(super) fn catch_up(&mut self, budget: Budget) -> Round {
        if self.is_over_its_rate() {
            self.wait = Wait::Pace;
            return Round::Gives(Next::Wait);
        }
        if std::mem::take(&mut self.own_replay().yields) {
            self.wait = Wait::Turn;
            return Round::Gives(Next::Wait);
        }
        let kept = self.own_replay().target.take().filter(|target| !self.hold.view.was_cut_since(target));
        let is_new = kept.is_none();
        let target = kept.unwrap_or_else(|| self.hold.view.snapshot());
        if Shape::of(target.shape) != self.shape {
            self.reshape();
            return Round::Again;
        }
        if is_new {
            self.set_out(&target.vector);
        }
        let mut out = Emitted::default();
        let chunk = self.replay_chunk(&target.vector, budget, &mut out);
        if out.records > 0 && !self.synced {
            self.note(|rare| rare.replayed += out.records as u64);
        }
        let is_enough = self.note_examined() || self.own_replay().replay.has_opened();
        self.own_replay().yields = is_enough && out.records > 0;
        debug_assert!(
            out.records == 0 || matches!(chunk, Chunk::Moved),
            "records would be dropped: {chunk:?}"
        );
        match chunk {
            Chunk::Gap(pending) => {
                if let Some((topic, partition)) = pending.truncated()
                    && let Some(run) = &mut self.own_replay().replay.run
                {
                    run.forget(topic, partition);
                }
                self.announce([pending]);
            }
            Chunk::Moved => self.own_replay().target = Some(target),
            Chunk::Waiting => {
                // Keeps the target unless the view's shape has changed: a removed topic would never reach it.
                if self.hold.view.shape() == target.shape {
                    self.own_replay().target = Some(target);
                }
                self.own_replay().work.call_ended();
                self.wait = Wait::Replay;
                return Round::Gives(Next::Wait);
            }
            Chunk::Done => return self.end_run().unwrap_or_else(|| self.meet(target)),
        }
        match out.records {
            0 if is_enough => {
                self.wait = Wait::Turn;
                Round::Gives(Next::Wait)
            }
            0 => Round::Again,
            records => {
                self.own_replay().work.call_ended();
                Round::Gives(Next::Frames { bytes: vec![out.bytes.into()], records })
            }
        }
    }

    /// With a new target: a subscription that conflates begins a run to there, if it is not there yet; a run that goes on gets
    /// bounds for the partitions that need one. A topic that was carried along may be seen now, and its bound may be ahead.
    fn set_out(&mut self, target: &Vector) {
        let begins = self.conflates && !self.vector.meets(target);
        let (topics, now, conflates) = (self.topics.clone(), self.now(), self.conflates);
        let carried = self.take_carried_bounds();
        let run = &mut self.own_replay().replay.run;
        if !carried.is_empty() {
            run.get_or_insert_with(|| Run::resumed(conflates));
        }
        if begins {
            run.get_or_insert_with(Run::conflating);
        }
        if let Some(run) = run {
            run.set_out(&topics, target, &carried, now);
        }
    }

    /// The bounds that were carried along, of topics and partitions that are seen now.
    fn take_carried_bounds(&mut self) -> Vec<Part> {
        let Some(mut rare) = self.rare.take_if(|rare| !rare.carried.is_empty()) else { return Vec::new() };
        let mut bounds = Vec::new();
        let of_carried: Vec<Fingerprint> = rare.carried.iter().map(|part| part.fingerprint).collect();
        for (topic, partitions) in &*self.topics {
            let bound = topic.fingerprint().inverted();
            let is_seen = |part: &Part| {
                part.fingerprint == bound
                    && part.positions.len() <= partitions.len()
                    && !of_carried.contains(&topic.fingerprint())
            };
            let seen = rare.carried.extract_if(.., |part| is_seen(part));
            bounds.extend(seen.map(|part| Part { fingerprint: topic.fingerprint(), ..part }));
        }
        self.rare = rare.is_any().then_some(rare);
        bounds
    }

    /// The bounds are reached. If they were those of a snapshot, the client is told.
    fn end_run(&mut self) -> Option<Round> {
        let run = self.own_replay().replay.run.take()?;
        if !run.is_snapshot {
            return None;
        }
        if self.resumed {
            metrics::count_resume(self.own_replay().replay.used_history());
        }
        Some(Round::Gives(self.sync_snapshot()))
    }

    /// Whether the replays of the tenant have examined more than they may, and it is not this one's turn.
    fn is_over_its_rate(&mut self) -> bool {
        let now = self.now();
        let State::Replaying(replaying) = &mut self.state else { return false };
        // One that has nothing left to examine joins its view.
        if replaying.target.as_ref().is_some_and(|target| self.vector.meets(&target.vector)) {
            return false;
        }
        replaying.work.wait(self.hold.view.meter.get(), now).is_some()
    }

    /// Pays for what the last chunk examined. True: it is time for other streams.
    fn note_examined(&mut self) -> bool {
        let now = self.now();
        let State::Replaying(replaying) = &mut self.state else { return false };
        replaying.work.examined(replaying.replay.examined(), self.hold.view.meter.get(), now)
    }

    /// One chunk of the replay towards the target.
    fn replay_chunk(&mut self, target: &Vector, budget: Budget, out: &mut Emitted) -> Chunk {
        let now = self.now();
        let State::Replaying(replaying) = &mut self.state else { unreachable!("{NOT_REPLAYING}") };
        let key = self.hold.view.key();
        let context = Context {
            tenant: &key.tenant,
            meter: self.hold.view.meter.get(),
            key,
            filter: key.filter(),
            history: &self.hold.inner.history,
            topics: &self.topics,
            now,
        };
        let carried = self.rare.as_ref().map_or(&[][..], |rare| &rare.carried);
        let shared = &self.hold.inner.shared;
        let minutes = shared.minutes.load(Ordering::Relaxed);
        let (seal, look) = (shared.seal(&key.tenant), self.hold.view.look());
        let mut id = RunningId::default();
        let before = self.vector.clone();
        let mut vector = Vector::clone(&self.vector);
        let mut emit = |next: Replayed<'_>| {
            let (partition, index) = (next.partition, next.partition.index());
            if out.records > 0 {
                let position = next.vector.parts[next.part].positions[index as usize];
                id.advance(next.part, index as usize, position, seal);
            } else {
                match (carried, &bounds_of(next.run, next.vector)[..]) {
                    ([], []) => id.begin(minutes, next.vector, seal),
                    (carried, bounds) => {
                        id.begin(minutes, &with_parts(next.vector, &[carried, bounds]), seal);
                    }
                }
            }
            let topic = partition.topic_name();
            match next.told {
                Told::Record => frame::record(&mut out.bytes, &next.record, topic, index, &look, id.as_str()),
                Told::Left => {
                    frame::left(&mut out.bytes, &next.record, topic, index, look.framing, id.as_str())
                }
            }
            out.records += 1;
            out.records < budget.records && out.bytes.len() < budget.bytes
        };
        // Partitions are seldom equally busy: looks ahead by half more than what is emitted now.
        let look_ahead = budget.bytes.min(MAX_LOOK_AHEAD) / 2 * 3;
        let chunk = replaying.replay.chunk(&context, &mut vector, target, look_ahead, &mut emit);
        if out.records > 0 {
            self.left();
        }
        self.moved |= vector != *before;
        self.vector = Arc::new(vector);
        chunk
    }

    /// Everything up to the target is emitted. Where U has met V, the view's ring continues from the target's frame.
    fn meet(&mut self, target: Snapshot) -> Round {
        let meets = |ours: &Vector| ours.meets(&target.vector);
        if !self.carried().is_empty() || !(meets(&self.vector) || broken(Sabotage::JoinAhead)) {
            // U is ahead of the view, or has parts that the view lacks: it keeps its own vector while the heads move.
            self.wait = Wait::View;
            return Round::Gives(self.sync().unwrap_or(Next::Wait));
        }
        if !self.hold.view.holds(&target) {
            tracing::debug!(tenant = %self.tenant(), frame = target.next, "a view has overrun a subscription that was to join it");
            return Round::Again;
        }
        if self.resumed && !self.synced {
            metrics::count_resume(self.own_replay().replay.used_history());
        }
        // The positions are equal; the view's vector is shared by all subscriptions that have reached it.
        self.vector = target.vector;
        Round::Joins { cursor: target.next }
    }

    /// Topics or partitions were added or removed: brings U to the view's shape, with gaps where that needs any.
    fn reshape(&mut self) {
        let (shape, topics) = self.hold.view.topics();
        let mut vector = Vector::clone(&self.vector);
        let mut rare = self.rare.take().unwrap_or_default();
        rare.pending.extend(reconcile(&mut vector, &mut rare.carried, &topics, &AtOrigin));
        for part in strangers(&mut vector, &topics) {
            match self.topics.iter().find(|(topic, _)| topic.fingerprint() == part.fingerprint) {
                Some((topic, _)) => {
                    rare.pending.extend(deleted(&part, topic.name()));
                    // The part stays until its gaps are announced.
                    vector.parts.push(part);
                }
                // The topic was never read here. It may exist here again later, or at another replica.
                None => rare.carried.push(part),
            }
        }
        self.rare = rare.is_any().then_some(rare);
        self.moved = true;
        self.vector = Arc::new(vector);
        self.topics = topics;
        self.shape = Shape::of(shape);
    }

    fn own_replay(&mut self) -> &mut Replaying {
        match &mut self.state {
            State::Replaying(replaying) => replaying,
            State::Live { .. } => unreachable!("{NOT_REPLAYING}"),
        }
    }
}

/// The frames of one chunk.
#[derive(Default)]
struct Emitted {
    bytes: Vec<u8>,
    records: usize,
}
