//! How much a replay may examine: at once, and in a second.
//!
//! The kinds of trouble: a call that examines all of memory, a search that does so before the stream begins, a stream that
//! waits for its turn for ever, or is passed over; what waits while others leave, or the rate changes; a record that is lost or
//! repeated where a call ends.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::manual_clock::ManualClock;
use support::{Fact, Kafka, append};
use tailrace_bridge::*;

/// What one call examines, about.
const CALL: usize = 256 * 1024;
/// What a record of `VALUE` counts.
const VALUE: usize = 1000;
const RECORD: usize = VALUE + 64 + 4;

struct Lab {
    clock: ManualClock,
    bridge: Bridge,
    kafka: Kafka,
    start: Instant,
}

fn lab(partitions: usize) -> Lab {
    let (clock, kafka) = (ManualClock::new(), Kafka::with_partitions(partitions));
    let rules = Arc::new("header:tenant".parse().unwrap());
    let config = BridgeConfig { memory: 256 << 20, rules, linger: Duration::ZERO, privacy: Arc::default() };
    let bridge = Bridge::with_clock(config, Arc::new(kafka.clone()), Arc::new(clock.clone()));
    let starts = vec![Start { offset: 0, epoch: 0, log_start: 0 }; partitions];
    bridge.add_topic("orders", TopicId([7; 16]), &starts);
    let start = clock.now();
    Lab { clock, bridge, kafka, start }
}

impl Lab {
    /// Writes records of `VALUE` bytes, of which one in `every` has a `hit`, into memory.
    fn fill(&self, partition: usize, tenant: &str, count: usize, every: usize) -> Vec<Fact> {
        let write = |n: usize| {
            let head = if n % every == every - 1 { "{\"hit\":true,\"pad\":\"" } else { "{\"pad\":\"" };
            let value = format!("{head}{}\"}}", "x".repeat(VALUE - head.len() - 2));
            self.kafka.write(partition, tenant, &value, n as i64, 0)
        };
        let facts: Vec<Fact> = (0..count).map(write).collect();
        let into = self.bridge.topic("orders").unwrap().partitions()[partition].clone();
        facts.chunks(100).for_each(|facts| append(&self.bridge, &into, facts));
        facts
    }

    fn request(&self, tenant: &str, from: StartFrom, wheres: &[&str]) -> SubscribeRequest {
        let wheres: Vec<String> = wheres.iter().map(|text| (*text).to_owned()).collect();
        SubscribeRequest {
            tenant: TenantId::new(tenant).unwrap(),
            topics: Vec::new(),
            filter: Filter::parse(&[], &[], &wheres).unwrap(),
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope: Envelope::None,
            from,
            last_event_id: None,
            unmasked: false,
            conflate: false,
        }
    }

    fn subscribe(&self, tenant: &str, where_: &str, meter: &Arc<Meter>) -> Subscription {
        let request = self.request(tenant, StartFrom::Earliest, &[where_]);
        self.clock.block_on(self.bridge.subscribe_metered(request, meter.clone())).unwrap()
    }

    fn meter(&self, per_second: f64) -> Arc<Meter> {
        Arc::new(Meter::new(per_second, self.start))
    }
}

/// Calls of `next` until the subscription is live, and the records that they gave.
fn replay(lab: &Lab, subscription: &mut Subscription) -> (usize, usize) {
    let (mut calls, mut given) = (0, 0);
    while !subscription.is_live() {
        calls += 1;
        match subscription.next(Budget { records: 256, bytes: 64 * 1024 }) {
            Next::Frames { records, .. } => given += records,
            Next::Wait => lab.clock.block_on(subscription.changed()),
        }
        assert!(calls < 100_000, "it goes on for ever");
    }
    (calls, given)
}

#[test]
fn attack_a_filter_that_matches_nothing_has_all_of_memory_examined_in_one_call() {
    let lab = lab(1);
    lab.fill(0, "acme", 20_000, usize::MAX);
    let mut subscription = lab.subscribe("acme", "value.hit=true", &lab.meter(0.0));
    let (calls, given) = replay(&lab, &mut subscription);
    assert_eq!(given, 0);
    let least = 20_000 * RECORD / (CALL + RECORD);
    assert!((least..least + 10).contains(&calls), "{calls} calls, at least {least} are expected");
}

#[test]
fn records_of_other_tenants_cost_nothing() {
    let lab = lab(1);
    lab.fill(0, "other", 20_000, usize::MAX);
    lab.fill(0, "acme", 10, usize::MAX);
    let meter = lab.meter(100.0);
    let mut subscription = lab.subscribe("acme", "value.hit=true", &meter);
    let (calls, _) = replay(&lab, &mut subscription);
    assert!(calls < 20, "{calls}");
    // Ten records at 100 B/s, but for the second that may come at once.
    let paid = Duration::from_millis(10 * RECORD as u64 * 10);
    assert_eq!(meter.wait(lab.start), Some(lab.start + paid - Duration::from_secs(1)));
}

#[test]
fn nothing_is_lost_or_repeated_where_a_call_ends_and_every_partition_moves_on() {
    let lab = lab(12);
    // One is all matches, some have few, the others none: none may hold up another for ever.
    let every = [1, 50, 700, usize::MAX, usize::MAX, usize::MAX, 3, usize::MAX, 50, 1, usize::MAX, 2000];
    let mut expected = 0;
    for (partition, every) in every.into_iter().enumerate() {
        lab.fill(partition, "acme", 2000, every);
        expected += if every == usize::MAX { 0 } else { 2000 / every };
    }
    let request = lab.request("acme", StartFrom::Earliest, &["value.hit=true"]);
    let request = SubscribeRequest { envelope: Envelope::Record, ..request };
    let mut subscription = lab.clock.block_on(lab.bridge.subscribe_metered(request, lab.meter(4e6))).unwrap();
    let mut last = [None; 12];
    let mut count = 0;
    while !subscription.is_live() {
        let Next::Frames { bytes, .. } = subscription.next(Budget { records: 256, bytes: 64 * 1024 }) else {
            lab.clock.block_on(subscription.changed());
            continue;
        };
        for block in String::from_utf8(bytes.concat()).unwrap().split("\n\n") {
            let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: {\"topic\"")) else {
                continue;
            };
            let number = |name: &str| -> u64 {
                let rest = data.split(&format!("\"{name}\":")).nth(1).unwrap();
                rest.split(',').next().unwrap().parse().unwrap()
            };
            let (partition, offset) = (number("partition") as usize, number("offset"));
            assert!(last[partition] < Some(offset), "{partition}: {offset} after {:?}", last[partition]);
            last[partition] = Some(offset);
            count += 1;
        }
    }
    assert_eq!(count, expected);
}

#[test]
fn a_tenant_s_replays_examine_what_the_rate_allows_and_take_turns() {
    let lab = lab(1);
    let records = 5000;
    lab.fill(0, "acme", records, usize::MAX);
    let rate = 1e6;
    let meter = lab.meter(rate);
    let mut all: Vec<(Subscription, usize)> =
        (0..4).map(|n| (lab.subscribe("acme", &format!("value.hit={n}"), &meter), 0)).collect();
    let begin = lab.clock.passed();
    while all.iter().any(|(one, _)| !one.is_live()) {
        for (subscription, calls) in all.iter_mut().filter(|(one, _)| !one.is_live()) {
            while let Wanted::Turn = {
                *calls += 1;
                assert!(matches!(
                    subscription.next(Budget { records: 256, bytes: 64 * 1024 }),
                    Next::Wait | Next::Frames { records: 0, .. }
                ));
                subscription.wanted()
            } {}
        }
        lab.clock.advance(Duration::from_millis(1));
        // While it goes on, no replay is far behind another.
        let running = all.iter().filter(|(one, _)| !one.is_live()).count();
        assert!(lab.clock.passed() - begin < Duration::from_secs(60), "{running} still run");
    }
    let (took, paid) = ((lab.clock.passed() - begin).as_secs_f64(), 4.0 * (records * RECORD) as f64 / rate);
    assert!(took > paid - 1.5 && took < paid + 1.5, "{took} s for {paid} s of work");
}

#[test]
fn a_tenant_over_its_rate_delays_no_other() {
    let lab = lab(1);
    lab.fill(0, "acme", 5000, usize::MAX);
    lab.fill(0, "calm", 1000, 1);
    let slow = lab.meter(1000.0);
    let mut greedy = lab.subscribe("acme", "value.hit=true", &slow);
    for _ in 0..10 {
        greedy.next(Budget { records: 256, bytes: 64 * 1024 });
    }
    assert!(matches!(greedy.wanted(), Wanted::Time(_)), "{:?}", greedy.wanted());
    let begin = lab.clock.passed();
    let mut calm = lab.subscribe("calm", "value.hit=true", &lab.meter(0.0));
    assert_eq!(replay(&lab, &mut calm).1, 1000);
    assert_eq!(lab.clock.passed(), begin);
}

#[test]
fn a_replay_that_waits_goes_on_when_the_rate_is_lifted() {
    let lab = lab(1);
    lab.fill(0, "acme", 2000, 1000);
    let meter = lab.meter(10.0);
    let mut subscription = lab.subscribe("acme", "value.hit=true", &meter);
    subscription.next(Budget { records: 256, bytes: 64 * 1024 });
    subscription.next(Budget { records: 256, bytes: 64 * 1024 });
    let Wanted::Time(_) = subscription.wanted() else { panic!("{:?}", subscription.wanted()) };
    meter.set_rate(0.0, lab.clock.now());
    let begin = lab.clock.passed();
    assert_eq!(replay(&lab, &mut subscription).1, 2);
    assert!(lab.clock.passed() - begin <= Duration::from_secs(2), "{:?}", lab.clock.passed() - begin);
}

#[test]
fn attack_replays_that_are_given_up_while_they_wait_leave_turns_taken() {
    let lab = lab(1);
    lab.fill(0, "acme", 1000, usize::MAX);
    let meter = lab.meter(1e6);
    meter.pay(2_000_000, lab.start);
    for n in 0..1000 {
        let mut subscription = lab.subscribe("acme", &format!("value.hit={n}"), &meter);
        subscription.next(Budget { records: 1, bytes: 1 });
        assert!(matches!(subscription.wanted(), Wanted::Time(_)));
    }
    assert_eq!(meter.wait(lab.start), Some(lab.start + Duration::from_secs(1)));
}

#[test]
fn attack_the_search_of_the_last_records_goes_through_memory_without_a_rate() {
    let lab = lab(1);
    let facts = lab.fill(0, "acme", 5000, 1000);
    let meter = lab.meter(1e6);
    let request = lab.request("acme", StartFrom::Last(100), &["value.hit=true"]);
    let mut subscription = lab.clock.block_on(lab.bridge.subscribe_metered(request, meter.clone())).unwrap();
    let searched = lab.clock.passed().as_secs_f64();
    let paid = (facts.len() * RECORD) as f64 / 1e6;
    assert!(searched > paid - 2.0 && searched < paid + 1.0, "{searched} s for {paid} s of work");
    assert_eq!(replay(&lab, &mut subscription).1, 5);
}

#[test]
fn what_is_read_from_kafka_is_paid_by_who_asked_first() {
    let lab = lab(1);
    // What was written before the bridge began is history.
    let before = ManualClock::new();
    let rules = Arc::new("header:tenant".parse().unwrap());
    let config = BridgeConfig { memory: 256 << 20, rules, linger: Duration::ZERO, privacy: Arc::default() };
    let bridge = Bridge::with_clock(config, Arc::new(lab.kafka.clone()), Arc::new(before.clone()));
    let count: usize = 500;
    (0..count).for_each(|n| {
        lab.kafka.write(0, "other", &"x".repeat(VALUE), n as i64, 0);
    });
    bridge.add_topic("orders", TopicId([7; 16]), &[Start { offset: count as u64, epoch: 0, log_start: 0 }]);
    let meters = [Arc::new(Meter::new(1000.0, before.now())), Arc::new(Meter::new(1000.0, before.now()))];
    let mut all: Vec<Subscription> = ["acme", "calm"]
        .iter()
        .zip(&meters)
        .map(|(tenant, meter)| {
            let request = lab.request(tenant, StartFrom::Earliest, &[]);
            before.block_on(bridge.subscribe_metered(request, meter.clone())).unwrap()
        })
        .collect();
    assert!(all.iter().all(Subscription::needs_history));
    // Both ask before the read ends.
    all.iter_mut().for_each(|one| assert!(matches!(one.next(Budget { records: 1, bytes: 1 }), Next::Wait)));
    before.advance(Duration::from_millis(10));
    let now = before.now();
    let owed = |meter: &Meter| meter.wait(now).map_or(0, |at| (at - now).as_secs());
    assert!(owed(&meters[0]) > (count * VALUE / 1000) as u64, "{}", owed(&meters[0]));
    assert_eq!(owed(&meters[1]), 0, "none of the records is its own, and another had asked");
}

#[test]
fn a_budget_of_one_byte_gets_a_record_at_a_time() {
    let lab = lab(3);
    (0..3).for_each(|partition| drop(lab.fill(partition, "acme", 10, 1)));
    let mut subscription = lab.subscribe("acme", "value.hit=true", &lab.meter(0.0));
    let mut given = 0;
    for _ in 0..1000 {
        match subscription.next(Budget { records: 1, bytes: 1 }) {
            Next::Frames { records, .. } => given += records,
            Next::Wait if subscription.is_live() => break,
            Next::Wait => lab.clock.block_on(subscription.changed()),
        }
    }
    assert_eq!(given, 30);
}

/// A page would stand still for half a second each time, and many reads of a filtered history take as long as the replay's own look
/// at its other partitions.
#[test]
fn a_read_that_ends_just_before_it_is_waited_for_is_noticed() {
    let Lab { clock, kafka, .. } = lab(1);
    (0..10).for_each(|n| drop(kafka.write(0, "acme", "x", n, 0)));
    let rules = Arc::new("header:tenant".parse().unwrap());
    let config = BridgeConfig { memory: 256 << 20, rules, linger: Duration::ZERO, privacy: Arc::default() };
    let bridge = Bridge::with_clock(config, Arc::new(kafka), Arc::new(clock.clone()));
    bridge.add_topic("orders", TopicId([7; 16]), &[Start { offset: 10, epoch: 0, log_start: 0 }]);
    let request = lab(1).request("acme", StartFrom::Earliest, &[]);
    let mut subscription = clock.block_on(bridge.subscribe(request)).unwrap();
    assert!(matches!(subscription.next(Budget { records: 100, bytes: 1 << 20 }), Next::Wait));
    // The read runs and ends.
    clock.advance(Duration::ZERO);
    let before = clock.passed();
    clock.block_on(subscription.changed());
    assert!(clock.passed() - before <= Duration::from_millis(1), "{:?}", clock.passed() - before);
    assert!(matches!(
        subscription.next(Budget { records: 100, bytes: 1 << 20 }),
        Next::Frames { records: 10, .. }
    ));
}
