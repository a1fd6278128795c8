use std::net::Ipv4Addr;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tailrace_bridge::{
    Bridge, BridgeConfig, Envelope, Filter, Framing, Headers, HistoryError, HistoryRead, LastFrames,
    NewRecord, Next, OffsetsAt, Position, Segment, SegmentBuilder, Source, Start, StartFrom,
    SubscribeRequest, TopicId,
};

use super::*;
use crate::limits::Limits;

/// A source without history: all records are in memory.
struct Nothing;

impl Source for Nothing {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let end = Position { offset: read.from, epoch: read.epoch };
        async move { Ok(SegmentBuilder::new(read.from).finish(end)) }.boxed()
    }

    fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        async { Ok(vec![0]) }.boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

/// A registry with streams of a bridge without Kafka.
struct Lab {
    bridge: Bridge,
    limits: Arc<Limits>,
    registry: Arc<Registry>,
}

impl Lab {
    fn new() -> Lab {
        let rules = Arc::new("header:tenant".parse().unwrap());
        let config =
            BridgeConfig { memory: 16 << 20, rules, linger: Duration::ZERO, privacy: Arc::default() };
        let bridge = Bridge::new(config, Arc::new(Nothing));
        bridge.add_topic("orders", TopicId([7; 16]), &[Start { offset: 0, epoch: 0, log_start: 0 }]);
        Lab { bridge, limits: Limits::none(), registry: Registry::new() }
    }

    fn append(&self, offsets: std::ops::Range<u64>) {
        let partition = self.bridge.topic("orders").unwrap().partitions()[0].clone();
        for offset in offsets {
            let record = NewRecord {
                offset,
                epoch: 0,
                timestamp: 1_700_000_000_000,
                key: None,
                value: Some(b"x"),
                headers: Headers::default(),
                tenant: tenant("acme"),
                event_type: None,
                form: tailrace_bridge::Form::default(),
            };
            self.bridge.append(&partition, &[record], Position { offset: offset + 1, epoch: 0 });
        }
    }

    async fn subscribe(&self, tenant: &TenantId, from: StartFrom) -> Subscription {
        let request = SubscribeRequest {
            tenant: tenant.clone(),
            topics: Vec::new(),
            filter: Filter::default(),
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope: Envelope::None,
            from,
            last_event_id: None,
            unmasked: false,
            conflate: false,
        };
        self.bridge.subscribe(request).await.unwrap()
    }

    async fn open(&self, name: &str, subject: Option<&str>, seen: Seen) -> (Subscription, Registered) {
        let tenant = tenant(name);
        let subscription = self.subscribe(&tenant, StartFrom::Latest).await;
        let address = Ipv4Addr::LOCALHOST.into();
        let place = self.limits.enter(&tenant, None, address).ok().unwrap();
        let is_page = false;
        let arrival = Arrival { subscription: &subscription, subject, address, is_page, place, seen };
        let registered = self.registry.enter(arrival);
        (subscription, registered)
    }

    fn of(&self, name: &str) -> Revocation {
        Revocation { tenant: Some(tenant(name)), ..Revocation::default() }
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

#[test]
fn an_entry_is_small() {
    // The share of the limits, 16 bytes, was in the stream itself before there were entries.
    assert!(size_of::<Entry>() <= 96, "{}", size_of::<Entry>());
}

#[tokio::test]
async fn a_revocation_ends_whom_it_means_and_nobody_else() {
    let lab = Lab::new();
    let seen = lab.registry.seen();
    let (_acme, acme) = lab.open("acme", Some("ann"), seen).await;
    let (_other, other) = lab.open("other", Some("ann"), seen).await;
    let (_nobody, nobody) = lab.open("acme", None, seen).await;
    let ann = Some("ann".to_owned());
    let by_both = Revocation { tenant: Some(tenant("acme")), subject: ann, id: None };
    assert_eq!(lab.registry.revoke(&by_both), 1);
    assert_eq!([&acme, &other, &nobody].map(Registered::is_revoked), [true, false, false]);
    // Whoever is ended already is not counted again.
    assert_eq!(lab.registry.revoke(&lab.of("acme")), 1);
    assert_eq!([&acme, &other, &nobody].map(Registered::is_revoked), [true, false, true]);
    let by_id = Revocation { id: Some(other.0.id), ..Revocation::default() };
    assert_eq!(lab.registry.revoke(&by_id), 1);
    assert!(other.is_revoked());
}

/// Its token was good when it was checked; the order came before it was a stream.
#[tokio::test]
async fn a_request_that_was_checked_before_the_revocation_gets_no_stream_out_of_it() {
    let lab = Lab::new();
    let (before, other) = (lab.registry.seen(), lab.registry.seen());
    assert_eq!(lab.registry.revoke(&lab.of("acme")), 0);
    let after = lab.registry.seen();
    assert!(lab.open("acme", None, before).await.1.is_revoked());
    assert!(!lab.open("other", None, other).await.1.is_revoked());
    assert!(!lab.open("acme", None, after).await.1.is_revoked());
}

/// More revocations than are kept: what is not known any more counts as meant.
#[tokio::test]
async fn a_flood_of_revocations_does_not_make_the_registry_forget_one() {
    let lab = Lab::new();
    let first = lab.registry.seen();
    lab.registry.revoke(&lab.of("acme"));
    let second = lab.registry.seen();
    for n in 0..MAX_KEPT {
        lab.registry.revoke(&lab.of(&format!("t{n}")));
    }
    assert_eq!(lab.registry.kept.lock().revocations.len(), MAX_KEPT);
    assert!(lab.open("acme", None, first).await.1.is_revoked());
    assert!(!lab.open("acme", None, second).await.1.is_revoked());
    assert!(lab.open("t7", None, second).await.1.is_revoked());
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_race_with_opens_and_closes_and_nothing_is_left() {
    let lab = Arc::new(Lab::new());
    let mut tasks = Vec::new();
    for n in 0..4 {
        let lab = Arc::clone(&lab);
        tasks.push(tokio::spawn(async move {
            for round in 0..200 {
                let seen = lab.registry.seen();
                let open = lab.open("acme", None, seen).await;
                let by_id = Revocation { id: Some(open.1.0.id), ..Revocation::default() };
                let meant = if (round + n) % 2 == 0 { by_id } else { lab.of("acme") };
                lab.registry.revoke(&meant);
                assert!(open.1.is_revoked());
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((lab.registry.len(), lab.limits.streams()), (0, 0));
    assert!(lab.registry.entries().is_empty());
}

/// What a lister still holds of a stream that has ended says nothing of it.
#[tokio::test]
async fn a_stream_that_ends_while_it_is_listed_is_not_shown_with_another_view() {
    let lab = Lab::new();
    let (subscription, registered) = lab.open("acme", None, lab.registry.seen()).await;
    let entries = lab.registry.entries();
    assert_eq!(entries[0].view.tenant(), Some(tenant("acme")));
    drop((subscription, registered));
    assert_eq!(lab.registry.len(), 0);
    assert!(entries[0].view.look().is_none());
    drop(entries);
    assert_eq!(lab.limits.streams(), 0);
}

#[tokio::test]
async fn how_far_behind_a_stream_is_follows_its_view() {
    const BUDGET: tailrace_bridge::Budget = tailrace_bridge::Budget { records: 4, bytes: 1 << 20 };
    let lab = Lab::new();
    let acme = tenant("acme");
    let behind =
        |subscription: &Subscription| subscription.view_ref().look().unwrap().behind(subscription.standing());
    let mut live = lab.subscribe(&acme, StartFrom::Latest).await;
    let mut last = LastFrames::<Bytes>::default();
    assert!(matches!(live.next_keeping(BUDGET, &mut last), Next::Frames { records: 0, .. }));
    assert_eq!(behind(&live).count, 0);
    lab.append(0..10);
    assert!(live.standing().was_live() && !live.standing().is_replaying());
    assert_eq!(behind(&live).count, 10);
    assert!(behind(&live).waits.is_some_and(|waits| waits < Duration::from_secs(60)));
    live.next_keeping(BUDGET, &mut last);
    assert_eq!(behind(&live).count, 6);
    let mut replaying = lab.subscribe(&acme, StartFrom::Earliest).await;
    assert!(replaying.standing().is_replaying() && !replaying.standing().was_live());
    assert_eq!(behind(&replaying).count, 10);
    replaying.next_keeping(BUDGET, &mut last);
    assert_eq!(behind(&replaying).count, 6);
    lab.append(10..11);
    assert_eq!((behind(&replaying).count, behind(&replaying).waits), (7, None));
}

#[test]
fn an_id_is_read_only_as_it_is_shown() {
    let id = StreamId(0x0a);
    assert_eq!(id.to_string().parse(), Ok(id));
    for other in
        ["a", "000000000000000A", "+00000000000000a", "0x0000000000000a", "", "*", "0000000000000000a"]
    {
        assert!(other.parse::<StreamId>().is_err(), "{other}");
    }
}
