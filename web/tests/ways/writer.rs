//! What a review of the writer threads once found, held against every way: changes that concern all streams, streams
//! that wait for history, and streams that come while others go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tailrace_bridge::{
    Headers, HistoryError, HistoryRead, NewRecord, OffsetsAt, Position, Segment, SegmentBuilder, Source,
    Status, TenantId,
};
use tokio::sync::watch;

use crate::way::{Ask, End, Reader, Way};
use crate::{alone, beside_others, eventually, on_every_way};

const SOON: Duration = Duration::from_secs(3);

/// Clients that send all the time keep a thread busy with sockets: what changes meanwhile, between its look at the state
/// of things and its look at its letters, must not wait for a heartbeat.
async fn a_change_is_told_at_once(way: Way) {
    const FLIPS: usize = 40;
    let _alone = alone().await;
    let mut server = way.server(&["--heartbeat", "1h"]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut talkers = Vec::new();
    for _ in 0..if way.is_raw() { 24 } else { 0 } {
        let mut reader = Reader::open(way, server.address, &Ask::of("talks")).await;
        let stop = stop.clone();
        talkers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if reader.send(&[b'x'; 16 * 1024], Duration::from_millis(20)).await == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }));
    }
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut reader = Reader::open(way, server.address, &Ask::of("acme")).await;
        reader.next_is("tailrace.synced").await;
        readers.push(reader);
    }
    for flip in 0..FLIPS {
        let status = if flip % 2 == 0 { Status::KafkaUnavailable } else { Status::Ok };
        server.bridge.health().set_status(status);
        for reader in &mut readers {
            let told = tokio::time::timeout(SOON, reader.next_is("tailrace.status")).await;
            let told = told.unwrap_or_else(|_| panic!("{way:?}: change {flip} was missed"));
            assert_eq!(told.json()["code"], status.as_str());
        }
    }
    server.stop();
    for mut reader in readers {
        tokio::time::timeout(SOON, reader.next_is("tailrace.drain")).await.expect("the drain was missed");
        assert_eq!((reader.next().await, &reader.end), (None, &Some(End::Clean)), "and nothing after it");
    }
    stop.store(true, Ordering::Relaxed);
    for talker in talkers {
        talker.await.unwrap();
    }
}

/// A Kafka whose answers wait for the test: history below `END` in two partitions, the first of which answers at once.
struct Held {
    answers: watch::Receiver<Answers>,
    reads: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    First,
    Failing,
    All,
}

const END: u64 = 50;

impl Source for Held {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.clone();
        async move {
            if read.partition > 0 {
                let now = *answers.wait_for(|answers| *answers != Answers::First).await.unwrap();
                if now == Answers::Failing {
                    return Err(HistoryError::unanswered(&read, std::io::Error::other("not now")));
                }
            }
            let mut segment = SegmentBuilder::new(read.from);
            let end = read.until.min(END).max(read.from);
            for offset in read.from..end {
                segment.push(&NewRecord {
                    offset,
                    epoch: 0,
                    timestamp: 1_700_000_000_000,
                    key: None,
                    value: Some(format!("{}:{offset}", read.partition).as_bytes()),
                    headers: Headers::default(),
                    tenant: TenantId::new("acme").unwrap(),
                    event_type: None,
                    form: tailrace_bridge::Form::default(),
                });
            }
            Ok(segment.finish(Position { offset: end, epoch: 0 }))
        }
        .boxed()
    }

    fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        async { Ok(vec![0, 0]) }.boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

/// The processor's time of this process; in ticks of 10 ms.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    Duration::from_millis(10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()))
}

/// Streams that wait for history turn neither while a read that is of no use yet has ended, nor while reads fail, and
/// however often something else happens meanwhile; and they get everything once it is there.
async fn waiting_for_history_costs_nothing(way: Way) {
    const STREAMS: usize = 20;
    const LOOK: Duration = Duration::from_millis(300);
    let _alone = alone().await;
    let (answer, answers) = watch::channel(Answers::First);
    let held = Arc::new(Held { answers, reads: AtomicUsize::new(0) });
    let server = way.server_over(held.clone(), &[END, END], &["--heartbeat", "1h"]).await;
    server.bridge.health().set_ready();
    let mut readers = Vec::new();
    for _ in 0..STREAMS {
        let ask = Ask::of("acme").query("from=earliest");
        let mut reader = Reader::open(way, server.address, &ask).await;
        reader.next().await.unwrap();
        readers.push(reader);
    }
    for state in [Answers::First, Answers::Failing] {
        answer.send_replace(state);
        // What is changed for all has each of them looked at.
        for _ in 0..50 {
            server.bridge.health().set_status(Status::Lagging);
            server.bridge.health().set_status(Status::Ok);
        }
        tokio::time::sleep(LOOK / 5).await;
        let (before, reads) = (processor_time(), held.reads.load(Ordering::Relaxed));
        tokio::time::sleep(LOOK).await;
        let (spent, reads) = (processor_time() - before, held.reads.load(Ordering::Relaxed) - reads);
        println!("{way:?} {state:?}: {STREAMS} streams took {spent:?} in {LOOK:?}, and {reads} reads");
        assert!(spent < LOOK / 3, "{way:?} {state:?}: they spin: {spent:?}");
        assert!(reads <= 2 * STREAMS, "{way:?} {state:?}: {reads} reads");
    }
    answer.send_replace(Answers::All);
    for mut reader in readers {
        let mut got = [0; 2];
        while got != [END, END] {
            let data = reader.next_record().await.data.unwrap();
            let (partition, offset) = data.split_once(':').unwrap();
            let partition: usize = partition.parse().unwrap();
            assert_eq!(offset.parse::<u64>().unwrap(), got[partition], "in order, each once");
            got[partition] += 1;
        }
    }
}

/// A key is used again as soon as its stream has gone. Whoever comes must not be closed, served or heard for the one
/// before: each gets its own tenant's records, all of them, and stays open.
async fn those_that_come_do_not_meet_those_that_go(way: Way) {
    const ROUNDS: usize = 25;
    const STREAMS: usize = 12;
    let _beside = beside_others().await;
    let mut server = way.server(&["--heartbeat", "100ms"]).await;
    let mut readers: Vec<(usize, Reader)> = Vec::new();
    let mut opened = 0;
    for round in 0..ROUNDS {
        let going: Vec<_> = readers.drain(..readers.len() / 2).collect();
        // They go in all manners, with words unread, while the others come.
        let going = tokio::spawn(async move {
            for (n, mut reader) in going {
                if way.is_raw() {
                    reader.send(&[b'x'; 100], SOON).await;
                }
                match n % 3 {
                    0 => reader.close().await,
                    1 => reader.reset().await,
                    _ => reader.half_close(),
                }
            }
        });
        while readers.len() < STREAMS {
            let reader = Reader::open(way, server.address, &Ask::of(&format!("t{opened}"))).await;
            readers.push((opened, reader));
            opened += 1;
        }
        going.await.unwrap();
        for tenant in 0..opened {
            server.append(&format!("t{tenant}"), &format!("{tenant}:{round}"));
        }
        for (tenant, reader) in &mut readers {
            assert_eq!(reader.next_record().await.data, Some(format!("{tenant}:{round}")));
        }
    }
    let begin = Instant::now();
    for (_, reader) in readers {
        reader.close().await;
    }
    let address = server.address;
    eventually("the server is well", async || Reader::try_open(way, address, &Ask::of("t0")).await.is_ok())
        .await;
    assert!(begin.elapsed() < SOON);
}

on_every_way!(a_change_for_all_is_told_at_once, a_change_is_told_at_once);
on_every_way!(a_stream_that_waits_for_history_does_not_turn, waiting_for_history_costs_nothing);
on_every_way!(streams_that_come_do_not_meet_those_that_go, those_that_come_do_not_meet_those_that_go);
