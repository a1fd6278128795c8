//! A log that was truncated under another leader (KIP-320): only leader epochs show it, and a replica may notice it late.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is not the core")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use support::{Client, joined, request};
use tailrace_bridge::*;

/// Records that one read of history returns.
const READ: u64 = 10;

/// Kafka's log of one partition: the epoch of each record. History returns no records, unless `gives` is set.
#[derive(Clone, Default)]
struct Kafka {
    log: Arc<Mutex<Vec<i32>>>,
    gives: Arc<AtomicBool>,
}

impl Kafka {
    fn read_now(&self, read: &HistoryRead) -> Result<Segment, HistoryError> {
        let log = self.log.lock().unwrap();
        let end = log.len() as u64;
        if read.epoch >= 0 {
            let confirmed = log.iter().take_while(|epoch| **epoch <= read.epoch).count() as u64;
            if confirmed < read.from {
                let epoch = log.last().copied().unwrap_or(-1);
                return Err(HistoryError::Truncated { end: confirmed, epoch });
            }
            // The leader confirms what it does not have; the consumer finds it out (consumer/src/history/segment.rs). The epoch of the last
            // leader is in its log as soon as it leads.
            let (from, leader) = (read.from as usize, log.last().copied().unwrap_or(-1));
            if let Some(first) = log.get(from).filter(|first| **first < read.epoch)
                && read.epoch < leader
                && !log.contains(&read.epoch)
                && from > 0
                && log[from - 1] == *first
            {
                let end = log.iter().take_while(|epoch| *epoch < first).count() as u64;
                return Err(HistoryError::Truncated { end, epoch: leader });
            }
        }
        if read.from > end {
            return Err(HistoryError::OutOfRange { start: 0, end });
        }
        let mut segment = SegmentBuilder::new(read.from);
        let mut to = Position { offset: read.until.min(end), epoch: -1 };
        if self.gives.load(Ordering::Relaxed) {
            to.offset = to.offset.min(read.from + READ);
            for offset in read.from..to.offset {
                to.epoch = log[offset as usize];
                segment.push(&record(offset, to.epoch, "acme", &value(offset, to.epoch)));
            }
        }
        Ok(segment.finish(to))
    }
}

impl Source for Kafka {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let result = self.read_now(&read);
        Box::pin(async move { result })
    }

    fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        Box::pin(async { Ok(vec![0]) })
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

fn value(offset: u64, epoch: i32) -> String {
    format!("{offset} of {epoch}")
}

fn record<'a>(offset: u64, epoch: i32, tenant: &str, value: &'a str) -> NewRecord<'a> {
    NewRecord {
        offset,
        epoch,
        timestamp: offset as i64,
        key: None,
        value: Some(value.as_bytes()),
        headers: Headers::default(),
        tenant: TenantId::new(tenant).unwrap(),
        event_type: None,
        form: tailrace_bridge::Form::default(),
    }
}

const ID: TopicId = TopicId([7; 16]);

struct Replica {
    bridge: Bridge,
    kafka: Kafka,
}

impl Replica {
    fn new() -> Replica {
        Replica::from(0)
    }

    /// A replica whose memory begins at the offset.
    fn from(offset: u64) -> Replica {
        let config = BridgeConfig {
            memory: 1 << 20,
            rules: Arc::new("header:tenant".parse().unwrap()),
            linger: Duration::ZERO,
            privacy: Arc::default(),
        };
        let kafka = Kafka::default();
        let bridge = Bridge::new(config, Arc::new(kafka.clone()));
        bridge.add_topic("t", ID, &[Start { offset, epoch: -1, log_start: 0 }]);
        Replica { bridge, kafka }
    }

    fn partition(&self) -> Arc<Partition> {
        self.bridge.topic("t").unwrap().partitions()[0].clone()
    }

    /// Kafka has records of these epochs, each up to its offset.
    fn log_is(&self, epochs: &[(i32, u64)]) {
        let mut log = Vec::new();
        epochs.iter().for_each(|(epoch, end)| log.resize(*end as usize, *epoch));
        *self.kafka.log.lock().unwrap() = log;
    }

    /// Ingests records of one epoch.
    fn ingest(&self, offsets: std::ops::Range<u64>, epoch: i32) {
        self.ingest_of("acme", offsets, epoch);
    }

    fn ingest_of(&self, tenant: &str, offsets: std::ops::Range<u64>, epoch: i32) {
        self.ingest_into(&self.partition(), tenant, offsets, epoch);
    }

    fn ingest_into(&self, into: &Partition, tenant: &str, offsets: std::ops::Range<u64>, epoch: i32) {
        let values = values(offsets.clone(), epoch);
        let records: Vec<NewRecord<'_>> = offsets
            .clone()
            .zip(&values)
            .map(|(offset, value)| record(offset, epoch, tenant, value))
            .collect();
        self.bridge.append(into, &records, Position { offset: offsets.end, epoch });
    }

    async fn resume(&self, offset: u64, epoch: i32) -> Subscription {
        let part =
            Part { fingerprint: Fingerprint::new("t", ID), positions: vec![Position { offset, epoch }] };
        let id = EventId { minutes: 29_000_000, vector: Vector { parts: vec![part] } };
        self.bridge.subscribe(request(Some(id.to_string()), StartFrom::Latest)).await.unwrap()
    }
}

/// Reads until nothing has come for a while.
async fn read(subscription: &mut Subscription, client: &mut Client) {
    for _ in 0..20 {
        match subscription.next(Budget { records: 100, bytes: 1 << 20 }) {
            Next::Frames { bytes, .. } => client.take(&joined(bytes)),
            Next::Wait => {
                let _ = tokio::time::timeout(Duration::from_millis(40), subscription.changed()).await;
            }
        }
    }
}

fn values(offsets: std::ops::Range<u64>, epoch: i32) -> Vec<String> {
    offsets.map(|offset| value(offset, epoch)).collect()
}

#[tokio::test]
async fn a_replica_that_has_not_noticed_a_cut_gives_nothing_of_it_to_who_has() {
    // Right after the gap, and some records further.
    for at in [80, 85] {
        let replica = Replica::new();
        replica.ingest(0..100, 4);
        replica.log_is(&[(4, 80), (5, 90)]);
        let (mut subscription, mut client) = (replica.resume(at, 5).await, Client::default());
        read(&mut subscription, &mut client).await;
        assert_eq!(client.values, Vec::<String>::new(), "from {at}");

        replica.bridge.jump(&replica.partition(), GapCode::Truncated, Position { offset: 80, epoch: 5 });
        replica.ingest(80..90, 5);
        read(&mut subscription, &mut client).await;
        assert_eq!((client.values, client.gaps), (values(at..90, 5), Vec::new()), "from {at}");
    }
}

#[tokio::test]
async fn records_that_a_late_replica_still_reads_of_a_cut_log_are_not_given_to_who_is_ahead() {
    let replica = Replica::new();
    replica.ingest(0..70, 4);
    replica.log_is(&[(4, 80), (5, 90)]);
    let (mut subscription, mut client) = (replica.resume(85, 5).await, Client::default());
    read(&mut subscription, &mut client).await;
    replica.ingest(70..100, 4);
    read(&mut subscription, &mut client).await;
    assert_eq!(client.values, Vec::<String>::new());
}

#[tokio::test]
async fn a_later_leader_that_has_cut_nothing_is_no_reason_to_wait() {
    let replica = Replica::new();
    replica.ingest(0..100, 4);
    replica.log_is(&[(4, 100)]);
    let (mut subscription, mut client) = (replica.resume(80, 6).await, Client::default());
    read(&mut subscription, &mut client).await;
    assert_eq!((client.values, client.gaps), (values(80..100, 4), Vec::new()));
}

#[tokio::test]
async fn who_comes_from_before_a_cut_is_told_and_goes_on_with_what_follows_it() {
    let replica = Replica::new();
    replica.log_is(&[(4, 80), (5, 120)]);
    replica.ingest(0..80, 4);
    replica.ingest(80..120, 5);
    let (mut subscription, mut client) = (replica.resume(100, 4).await, Client::default());
    read(&mut subscription, &mut client).await;
    let gap = r#"{"code":"truncated","from":100,"next":80,"partition":0,"topic":"t"}"#;
    assert_eq!((client.values, client.gaps), (values(80..120, 5), vec![gap.to_owned()]));
}

#[tokio::test]
async fn who_stands_where_a_late_replica_s_log_ends_does_not_join_it() {
    let replica = Replica::new();
    replica.ingest(0..100, 4);
    replica.log_is(&[(4, 80), (5, 100)]);
    let (mut subscription, mut client) = (replica.resume(100, 5).await, Client::default());
    read(&mut subscription, &mut client).await;
    replica.bridge.jump(&replica.partition(), GapCode::Truncated, Position { offset: 80, epoch: 5 });
    replica.ingest(80..110, 5);
    read(&mut subscription, &mut client).await;
    assert_eq!((client.values, client.gaps), (values(100..110, 5), Vec::new()));
}

#[tokio::test]
async fn who_was_told_of_a_cut_is_live_at_once_where_nothing_follows_it_yet() {
    let replica = Replica::new();
    replica.ingest(0..80, 4);
    replica.log_is(&[(4, 80)]);
    let (mut subscription, mut client) = (replica.resume(80, 5).await, Client::default());
    read(&mut subscription, &mut client).await;
    assert!(subscription.is_live());
    assert_eq!((client.values, client.gaps), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_replay_that_goes_for_a_place_before_a_cut_does_not_join_there() {
    let replica = Replica::new();
    replica.ingest(0..100, 4);
    replica.log_is(&[(4, 100)]);
    let (mut subscription, mut client) = (replica.resume(50, 4).await, Client::default());
    let Next::Frames { bytes, .. } = subscription.next(Budget { records: 5, bytes: 1 << 20 }) else {
        panic!("the replay gives what memory has");
    };
    client.take(&joined(bytes));
    replica.log_is(&[(4, 80), (5, 120)]);
    replica.bridge.jump(&replica.partition(), GapCode::Truncated, Position { offset: 80, epoch: 5 });
    replica.ingest(80..120, 5);
    // Memory begins at the truncation: records before it come from Kafka, which returns none here.
    read(&mut subscription, &mut client).await;
    let expected = [values(50..55, 4), values(80..120, 5)].concat();
    assert_eq!((client.values, client.gaps), (expected, Vec::new()));
}

#[tokio::test]
async fn a_replay_that_waits_through_a_cut_goes_to_no_place_of_the_log_before() {
    let replica = Replica::new();
    replica.bridge.grow_topic("t", &[Start { offset: 0, epoch: -1, log_start: 0 }]);
    let other = replica.bridge.topic("t").unwrap().partitions()[1].clone();
    replica.ingest(0..100, 4);
    replica.log_is(&[(4, 80), (5, 90)]);
    let (mut subscription, mut client) = (replica.resume(85, 5).await, Client::default());
    read(&mut subscription, &mut client).await;
    replica.bridge.jump(&replica.partition(), GapCode::Truncated, Position { offset: 80, epoch: 5 });
    replica.ingest(80..90, 5);
    read(&mut subscription, &mut client).await;
    // The log grows past its earlier end, by records of another tenant. An id from the other partition shows the position.
    replica.log_is(&[(4, 80), (5, 110)]);
    replica.ingest_of("globex", 90..110, 5);
    replica.ingest_into(&other, "acme", 0..1, 5);
    read(&mut subscription, &mut client).await;
    let id: EventId = client.id.unwrap().parse().unwrap();
    let position = id.vector.parts[0].positions[0];
    assert_eq!(position.epoch, 5, "{position:?} is of the log that was cut");
    let expected = [values(85..90, 5), values(0..1, 5)].concat();
    assert_eq!((client.values, client.gaps), (expected, Vec::new()));
}

/// The truncation is further back than memory: only the epochs of records from history show it.
#[tokio::test]
async fn a_client_that_reads_history_is_told_of_a_cut_that_its_replica_has_not_noticed() {
    let replica = Replica::from(100);
    replica.kafka.gives.store(true, Ordering::Relaxed);
    replica.ingest(100..150, 4);
    replica.log_is(&[(4, 150)]);
    let (mut subscription, mut client) = (replica.resume(50, 4).await, Client::default());
    while client.values.len() < 2 {
        match subscription.next(Budget { records: 5, bytes: 1 << 20 }) {
            Next::Frames { bytes, .. } => client.take(&joined(bytes)),
            Next::Wait => subscription.changed().await,
        }
    }
    replica.log_is(&[(4, 40), (5, 200)]);
    read(&mut subscription, &mut client).await;
    let gap = r#"{"code":"truncated","from":61,"next":40,"partition":0,"topic":"t"}"#;
    assert_eq!((client.values.clone(), client.gaps.clone()), (values(50..61, 4), vec![gap.to_owned()]));

    replica.bridge.jump(&replica.partition(), GapCode::Truncated, Position { offset: 40, epoch: 5 });
    replica.ingest(40..200, 5);
    read(&mut subscription, &mut client).await;
    let expected = [values(50..61, 4), values(40..200, 5)].concat();
    assert_eq!((client.values, client.gaps), (expected, vec![gap.to_owned()]));
}

/// The leader before comes back with its own records, which reach further: it confirms every position of the log that is lost.
#[tokio::test]
async fn a_client_that_reads_history_is_told_of_an_earlier_log_that_came_back() {
    let replica = Replica::from(100);
    replica.kafka.gives.store(true, Ordering::Relaxed);
    replica.ingest(100..150, 6);
    replica.log_is(&[(3, 20), (4, 40), (6, 150)]);
    let (mut subscription, mut client) = (replica.resume(50, 6).await, Client::default());
    while client.values.len() < 2 {
        match subscription.next(Budget { records: 5, bytes: 1 << 20 }) {
            Next::Frames { bytes, .. } => client.take(&joined(bytes)),
            Next::Wait => subscription.changed().await,
        }
    }
    replica.log_is(&[(3, 20), (4, 199), (7, 200)]);
    read(&mut subscription, &mut client).await;
    let gap = r#"{"code":"truncated","from":61,"next":20,"partition":0,"topic":"t"}"#;
    assert_eq!((client.values.clone(), client.gaps.clone()), (values(50..61, 6), vec![gap.to_owned()]));

    replica.bridge.jump(&replica.partition(), GapCode::Truncated, Position { offset: 20, epoch: 7 });
    replica.ingest(20..199, 4);
    replica.ingest(199..200, 7);
    read(&mut subscription, &mut client).await;
    let expected = [values(50..61, 6), values(20..199, 4), values(199..200, 7)].concat();
    assert_eq!((client.values, client.gaps), (expected, vec![gap.to_owned()]));
}

#[tokio::test]
async fn a_leader_that_changed_and_cut_nothing_is_no_gap_in_history() {
    let replica = Replica::from(100);
    replica.kafka.gives.store(true, Ordering::Relaxed);
    replica.log_is(&[(4, 60), (5, 70), (6, 150)]);
    replica.ingest(100..150, 6);
    let (mut subscription, mut client) = (replica.resume(50, 4).await, Client::default());
    read(&mut subscription, &mut client).await;
    let expected = [values(50..60, 4), values(60..70, 5), values(70..150, 6)].concat();
    assert_eq!((client.values, client.gaps), (expected, Vec::new()));
}

/// Transactions end with markers that no consumer gets: a client that has read up to such a hole still has the leader epoch of
/// its last record in its id.
#[tokio::test]
async fn a_hole_at_the_end_of_the_log_does_not_make_an_id_forget_its_leader() {
    let replica = Replica::new();
    replica.log_is(&[(4, 101)]);
    let (mut subscription, mut client) = (replica.resume(0, 4).await, Client::default());
    replica.ingest(0..100, 4);
    replica.bridge.advance(&replica.partition(), 101);
    read(&mut subscription, &mut client).await;
    let id: EventId = subscription.progress().unwrap().parse().unwrap();
    let position = id.vector.parts[0].positions[0];
    assert_eq!(position, Position { offset: 101, epoch: 4 });
    // A position that the leader can confirm exactly.
    assert_eq!(replica.partition().reading_position(), Position { offset: 100, epoch: 4 });

    // Another replica reads a log that was truncated, and has grown past the position.
    let other = Replica::new();
    other.log_is(&[(4, 80), (5, 120)]);
    other.ingest(0..80, 4);
    other.ingest(80..120, 5);
    let (mut subscription, mut client) =
        (other.resume(position.offset, position.epoch).await, Client::default());
    read(&mut subscription, &mut client).await;
    let gap = r#"{"code":"truncated","from":101,"next":80,"partition":0,"topic":"t"}"#;
    assert_eq!((client.values, client.gaps), (values(80..120, 5), vec![gap.to_owned()]));
}

/// Only the marker of a transaction was truncated, and other records took its place before the replica reads on.
#[tokio::test]
async fn records_where_there_was_a_hole_tell_of_a_cut() {
    for owner in ["acme", "globex"] {
        let replica = Replica::new();
        let (mut subscription, mut client) = (replica.resume(0, 4).await, Client::default());
        replica.ingest(0..100, 4);
        replica.bridge.advance(&replica.partition(), 105);
        read(&mut subscription, &mut client).await;
        replica.ingest_of(owner, 100..103, 5);
        replica.ingest(103..120, 5);
        read(&mut subscription, &mut client).await;
        let gap = r#"{"code":"truncated","from":105,"next":100,"partition":0,"topic":"t"}"#;
        let ours = if owner == "acme" { 100..120 } else { 103..120 };
        let expected = [values(0..100, 4), values(ours, 5)].concat();
        assert_eq!((client.values, client.gaps), (expected, vec![gap.to_owned()]), "of {owner}");
    }
}

#[tokio::test]
async fn a_hole_that_is_read_again_is_still_one() {
    let replica = Replica::new();
    let (mut subscription, mut client) = (replica.resume(0, 4).await, Client::default());
    replica.ingest(0..100, 4);
    for end in [102, 105] {
        replica.bridge.advance(&replica.partition(), end);
        assert_eq!(replica.partition().reading_position(), Position { offset: 100, epoch: 4 });
        // Records that were read before come again, too.
        replica.ingest(90..100, 4);
    }
    replica.ingest(105..120, 5);
    read(&mut subscription, &mut client).await;
    assert_eq!((client.values, client.gaps), ([values(0..100, 4), values(105..120, 5)].concat(), Vec::new()));
}

/// A read of history goes past the truncation, up to where memory begins; memory is of the log before the truncation.
#[tokio::test]
async fn a_client_that_comes_from_history_of_a_later_leader_gets_nothing_of_memory_that_is_cut() {
    let replica = Replica::from(86);
    replica.kafka.gives.store(true, Ordering::Relaxed);
    replica.ingest(86..150, 4);
    replica.log_is(&[(4, 80), (5, 200)]);
    let (mut subscription, mut client) = (replica.resume(75, 4).await, Client::default());
    read(&mut subscription, &mut client).await;
    let seen = [values(75..80, 4), values(80..86, 5)].concat();
    assert_eq!((&client.values, &client.gaps), (&seen, &Vec::new()));

    replica.bridge.jump(&replica.partition(), GapCode::Truncated, Position { offset: 80, epoch: 5 });
    replica.ingest(80..200, 5);
    read(&mut subscription, &mut client).await;
    assert_eq!((client.values, client.gaps), ([seen, values(86..200, 5)].concat(), Vec::new()));
}

/// The replica has just started, and the cut lies between what it has read and where the client is: it notices nothing.
#[tokio::test]
async fn who_is_ahead_of_a_replica_is_told_of_a_cut_that_the_replica_reads_past() {
    let replica = Replica::from(50);
    replica.log_is(&[(4, 100)]);
    replica.ingest(50..60, 4);
    let (mut subscription, mut client) = (replica.resume(100, 4).await, Client::default());
    read(&mut subscription, &mut client).await;
    assert_eq!((&client.values, &client.gaps), (&Vec::new(), &Vec::new()));

    replica.log_is(&[(4, 80), (5, 120)]);
    replica.ingest(60..80, 4);
    read(&mut subscription, &mut client).await;
    replica.ingest(80..120, 5);
    read(&mut subscription, &mut client).await;
    let gap = r#"{"code":"truncated","from":100,"next":80,"partition":0,"topic":"t"}"#;
    assert_eq!((client.values, client.gaps), (values(80..120, 5), vec![gap.to_owned()]));
}

/// As before; another client has been told by the leader that this place is good, before the cut.
#[tokio::test]
async fn what_the_leader_said_of_a_place_ahead_counts_for_nobody_who_comes_after_the_cut() {
    let replica = Replica::from(50);
    replica.log_is(&[(4, 100)]);
    replica.ingest(50..60, 4);
    read(&mut replica.resume(100, 4).await, &mut Client::default()).await;

    replica.log_is(&[(4, 80), (5, 120)]);
    replica.ingest(60..80, 4);
    replica.ingest(80..120, 5);
    let (mut subscription, mut client) = (replica.resume(100, 4).await, Client::default());
    read(&mut subscription, &mut client).await;
    let gap = r#"{"code":"truncated","from":100,"next":80,"partition":0,"topic":"t"}"#;
    assert_eq!((client.values, client.gaps), (values(80..120, 5), vec![gap.to_owned()]));
}

/// A replica starts in the middle of a log, and does not know the epoch there until it has read a record.
#[tokio::test]
async fn who_comes_to_where_a_replica_begins_is_told_of_a_cut_below() {
    let replica = Replica::from(50);
    replica.kafka.gives.store(true, Ordering::Relaxed);
    replica.log_is(&[(4, 100)]);
    let (mut subscription, mut client) = (replica.resume(40, 4).await, Client::default());
    read(&mut subscription, &mut client).await;
    assert_eq!((&client.values, &client.gaps), (&values(40..50, 4), &Vec::new()));

    replica.log_is(&[(4, 30), (5, 60)]);
    replica.ingest(50..60, 5);
    read(&mut subscription, &mut client).await;
    let gap = r#"{"code":"truncated","from":50,"next":30,"partition":0,"topic":"t"}"#;
    let expected = [values(40..50, 4), values(30..60, 5)].concat();
    assert_eq!((client.values, client.gaps), (expected, vec![gap.to_owned()]));
}

/// The replica has read no record yet, so it does not notice the cut; what it read of history before is of the other log.
#[tokio::test]
async fn history_that_was_read_before_a_cut_is_not_given_to_who_knows_of_it() {
    let replica = Replica::from(50);
    replica.kafka.gives.store(true, Ordering::Relaxed);
    replica.log_is(&[(4, 100)]);
    let mut before = Client::default();
    read(&mut replica.resume(20, 4).await, &mut before).await;
    assert_eq!((before.values, before.gaps), (values(20..50, 4), Vec::new()));

    replica.log_is(&[(4, 30), (5, 60)]);
    let (mut subscription, mut client) = (replica.resume(40, 5).await, Client::default());
    read(&mut subscription, &mut client).await;
    replica.ingest(50..60, 5);
    read(&mut subscription, &mut client).await;
    assert_eq!((client.values, client.gaps), (values(40..60, 5), Vec::new()));
}
