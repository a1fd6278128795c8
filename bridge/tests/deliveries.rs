//! Who is told of records that live streams have got, and whose producers sample their traces.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is not the core")]

mod support;

use std::sync::{Arc, Mutex};

use support::manual_clock::ManualClock;
use support::*;
use tailrace_bridge::*;

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const NOT_VALID: &str = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
const BUDGET: Budget = Budget { records: 1000, bytes: 1 << 20 };

/// The offsets that were told of, each with its number of streams.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(u64, usize)>>);

impl Deliveries for Told {
    fn delivered(&self, tenant: &TenantId, delivery: &Delivery, streams: usize) {
        assert_eq!((tenant.as_str(), &*delivery.topic, delivery.partition), ("acme", "orders", 0));
        assert_eq!((&*delivery.traceparent, delivery.tracestate.as_deref()), (SAMPLED, Some("a=1")));
        self.0.lock().unwrap().push((delivery.offset, streams));
    }
}

struct Scene {
    clock: ManualClock,
    bridge: Bridge,
    told: Arc<Told>,
}

impl Scene {
    fn new() -> Scene {
        let (clock, kafka) = (ManualClock::new(), Kafka::with_partitions(1));
        let bridge = bridge_showing(1 << 20, &kafka, Arc::new(clock.clone()), Privacy::default());
        bridge.add_topic("orders", TopicId([1; 16]), &[Start { offset: 0, epoch: -1, log_start: 0 }]);
        let told = Arc::new(Told::default());
        bridge.tell_deliveries(Arc::clone(&told) as Arc<dyn Deliveries>);
        Scene { clock, bridge, told }
    }

    fn append(&self, offset: u64, traceparent: &str) {
        let partition = self.bridge.topic("orders").unwrap().partitions()[0].clone();
        let mut headers = Vec::new();
        put_header(&mut headers, "traceparent", Some(traceparent.as_bytes()));
        put_header(&mut headers, "tracestate", Some(b"a=1"));
        let record = NewRecord {
            offset,
            epoch: 0,
            timestamp: 1,
            key: None,
            value: Some(b"1"),
            headers: Headers::written(&headers),
            tenant: TenantId::new("acme").unwrap(),
            event_type: None,
            form: Form::default(),
        };
        self.bridge.append(&partition, &[record], Position { offset: offset + 1, epoch: 0 });
    }

    /// A stream that is live.
    fn live(&self, from: StartFrom) -> Subscription {
        let mut subscription = self.clock.block_on(self.bridge.subscribe(request(None, from))).unwrap();
        self.read(&mut subscription);
        subscription
    }

    fn read(&self, subscription: &mut Subscription) {
        loop {
            match subscription.next(BUDGET) {
                Next::Frames { .. } => {}
                Next::Wait if subscription.is_live() => break,
                Next::Wait => self.clock.block_on(subscription.changed()),
            }
        }
    }

    fn told(&self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.told.0.lock().unwrap())
    }
}

#[test]
fn only_sampled_records_that_a_live_stream_has_got_are_told_of() {
    let scene = Scene::new();
    scene.append(0, SAMPLED);
    let mut subscription = scene.live(StartFrom::Earliest);
    assert_eq!(scene.told(), [], "a replayed record was told of");
    for (offset, traceparent) in [(1, UNSAMPLED), (2, SAMPLED), (3, NOT_VALID), (4, SAMPLED)] {
        scene.append(offset, traceparent);
    }
    assert_eq!(scene.told(), [], "nobody has read");
    scene.read(&mut subscription);
    assert_eq!(scene.told(), [(2, 1), (4, 1)]);
    scene.append(5, UNSAMPLED);
    scene.read(&mut subscription);
    assert_eq!(scene.told(), [], "a record was told of again");
}

#[test]
fn streams_that_share_frames_are_told_of_together() {
    let scene = Scene::new();
    let (mut first, mut second) = (scene.live(StartFrom::Latest), scene.live(StartFrom::Latest));
    scene.append(0, SAMPLED);
    let mut frames = LastFrames::<()>::default();
    assert!(matches!(first.next_keeping(BUDGET, &mut frames), Next::Frames { .. }));
    frames.set_encoded(());
    assert!(second.repeat(BUDGET, &mut frames));
    assert_eq!(scene.told(), []);
    frames.report_and_drop();
    assert_eq!(scene.told(), [(0, 2)]);
}

#[test]
fn a_view_keeps_the_newest_sampled_records_only() {
    let scene = Scene::new();
    let mut subscription = scene.live(StartFrom::Latest);
    (0..100).for_each(|offset| scene.append(offset, SAMPLED));
    scene.read(&mut subscription);
    let expected: Vec<_> = (36..100).map(|offset| (offset, 1)).collect();
    assert_eq!(scene.told(), expected);
}
