//! The streams of one view, in the order in which they are served.

use smallvec::SmallVec;
use tailrace_bridge::Listener;

use super::compress::Compressed;

pub(super) struct Group {
    /// Wakes the thread when the view has news, for as long as the group exists.
    pub(super) listener: Listener,
    /// Keys of streams: those before `served` have been served in this pass, the others have not. Where there are very many
    /// views, nearly all have one stream.
    members: SmallVec<[u32; 4]>,
    served: u32,
    pub(super) compressed: Compressed,
    /// Whether a pass is under way, and whether another must follow.
    pub(super) queued: bool,
    pub(super) again: bool,
}

impl Group {
    /// `number`: no other group of the thread ever has it.
    pub(super) fn new(listener: Listener, number: u64) -> Group {
        let compressed = Compressed::new(number);
        Group { listener, members: SmallVec::new(), served: 0, compressed, queued: false, again: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a stream; returns its place.
    pub(super) fn add(&mut self, key: usize) -> u32 {
        self.members.push(key as u32);
        (self.members.len() - 1) as u32
    }

    /// Removes the stream at a place; returns the streams whose place has changed. No stream is skipped in this pass.
    pub(super) fn remove(&mut self, place: u32) -> [Option<(usize, u32)>; 2] {
        let mut hole = place;
        if hole < self.served {
            self.served -= 1;
            self.members.swap(hole as usize, self.served as usize);
            hole = self.served;
        }
        self.members.swap_remove(hole as usize);
        let at = |place: u32| self.members.get(place as usize).map(|key| (*key as usize, place));
        [at(place), at(hole)]
    }

    pub(super) fn begin_pass(&mut self) {
        self.served = 0;
    }

    /// The next stream of this pass.
    pub(super) fn next(&mut self) -> Option<usize> {
        let key = self.members.get(self.served as usize).map(|key| *key as usize);
        self.served += u32::from(key.is_some());
        key
    }

    pub(super) fn has_more(&self) -> bool {
        (self.served as usize) < self.members.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::Arc;
    use std::time::Duration;

    use futures::FutureExt;
    use futures::future::BoxFuture;
    use tailrace_bridge::{
        Bridge, BridgeConfig, Envelope, Filter, Framing, HistoryError, HistoryRead, Notify, OffsetsAt,
        Segment, Source, Start, StartFrom, SubscribeRequest, TenantId, TopicId,
    };

    use super::*;

    struct Nothing;

    impl Notify for Nothing {
        fn notify(&self, _: u32) {}
    }

    impl Source for Nothing {
        fn read(&self, _: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
            async { Err(HistoryError::Gone) }.boxed()
        }

        fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
            async { Ok(vec![0]) }.boxed()
        }

        fn refresh(&self) -> BoxFuture<'static, ()> {
            async {}.boxed()
        }
    }

    fn group() -> Group {
        let rules = Arc::new("header:tenant".parse().unwrap());
        let config = BridgeConfig { memory: 1 << 20, rules, linger: Duration::ZERO, privacy: Arc::default() };
        let bridge = Bridge::new(config, Arc::new(Nothing));
        bridge.add_topic("orders", TopicId([7; 16]), &[Start { offset: 0, epoch: 0, log_start: 0 }]);
        bridge.health().set_ready();
        let request = SubscribeRequest {
            tenant: TenantId::new("acme").unwrap(),
            topics: Vec::new(),
            filter: Filter::default(),
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope: Envelope::default(),
            unmasked: false,
            conflate: false,
            from: StartFrom::Latest,
            last_event_id: None,
        };
        let subscription = bridge.subscribe(request).now_or_never().unwrap().unwrap();
        Group::new(subscription.listen(Arc::new(Nothing), 0), 1)
    }

    proptest::proptest! {
        /// Streams are added and removed during a pass: each stream that is there for the whole pass is served, and none twice;
        /// and each stream's place is the one that the group returned.
        #[test]
        fn a_pass_serves_each_stream_once_whoever_comes_and_goes(
            steps in proptest::collection::vec((0_u8..8, proptest::prelude::any::<usize>()), 1..300)
        ) {
            let mut group = group();
            let (mut places, mut there) = (HashMap::new(), Vec::new());
            let (mut due, mut served) = (HashSet::new(), HashSet::new());
            for (number, (step, which)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => {
                        places.insert(number, group.add(number));
                        there.push(number);
                    }
                    2 if !there.is_empty() => {
                        let key = there.swap_remove(which % there.len());
                        let place = places.remove(&key).unwrap();
                        for (moved, place) in group.remove(place).into_iter().flatten() {
                            places.insert(moved, place);
                        }
                        due.remove(&key);
                        // The slab may assign the key to another stream.
                        served.remove(&key);
                    }
                    3 if !group.has_more() => {
                        proptest::prop_assert!(due.is_empty(), "left out: {due:?}");
                        group.begin_pass();
                        due = there.iter().copied().collect();
                        served.clear();
                    }
                    _ => {
                        if let Some(key) = group.next() {
                            due.remove(&key);
                            proptest::prop_assert!(there.contains(&key) && served.insert(key), "{key} again");
                        }
                    }
                }
                proptest::prop_assert_eq!(group.is_empty(), there.is_empty());
                let mut all: Vec<u32> = places.values().copied().collect();
                all.sort_unstable();
                proptest::prop_assert_eq!(all, (0..there.len() as u32).collect::<Vec<_>>());
            }
        }
    }
}
