//! A writer thread with streams of a bridge without Kafka, on real sockets.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use socket2::SockRef;
use tailrace_bridge::{
    Bridge, BridgeConfig, Envelope, Filter, Framing, Headers, HistoryError, HistoryRead, NewRecord,
    OffsetsAt, Position, Segment, SegmentBuilder, Source, Start, StartFrom, SubscribeRequest, TenantId,
    TopicId,
};
use tokio::sync::Semaphore;

use super::chunk::Coding;
use super::compress::Compressor;
use super::inbox::{Arrival, Inbox};
use super::slot::Slot;
use super::thread::Thread;
use super::way::Way;
use super::wire::Wire;
use crate::coding::{Compression, Offer};
use crate::drain::Drain;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::news::News;
use crate::registry::{Arrival as Entering, Registry};
use crate::stream::{Parts, Stream};
use crate::trace::trace_id;

/// Bytes of one record, and how many there are.
const RECORD: usize = 1 << 20;
const RECORDS: u64 = 8;
/// The buffer of each socket; the system makes it a little larger.
const SOCKET: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);
const COMPRESSION: Compression = Compression { offer: Offer::All, level: 5, stretch: 64 };

#[test]
fn a_stream_that_waits_is_small() {
    // Ten thousand slots are to take 2 MB.
    assert!(size_of::<Slot>() <= 200, "{}", size_of::<Slot>());
}

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

/// Large records of one tenant.
fn bridge() -> Bridge {
    let rules = Arc::new("header:tenant".parse().unwrap());
    let config = BridgeConfig { memory: 64 << 20, rules, linger: Duration::ZERO, privacy: Arc::default() };
    let bridge = Bridge::new(config, Arc::new(Nothing));
    bridge.add_topic("orders", TopicId([7; 16]), &[Start { offset: 0, epoch: 0, log_start: 0 }]);
    let partition = bridge.topic("orders").unwrap().partitions()[0].clone();
    let value = vec![b'x'; RECORD];
    for offset in 0..RECORDS {
        let record = NewRecord {
            offset,
            epoch: 0,
            timestamp: 1_700_000_000_000,
            key: None,
            value: Some(&value),
            headers: Headers::default(),
            tenant: acme(),
            event_type: None,
            form: tailrace_bridge::Form::default(),
        };
        bridge.append(&partition, &[record], Position { offset: offset + 1, epoch: 0 });
    }
    bridge
}

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// A thread with a limit of held bytes, and the bridge that its streams read.
struct Lab {
    inbox: Arc<Inbox>,
    bridge: Bridge,
    limits: Arc<Limits>,
    registry: Arc<Registry>,
    permits: Arc<Semaphore>,
    thread: std::thread::JoinHandle<()>,
}

impl Lab {
    fn start(max_held: usize) -> Lab {
        let bridge = bridge();
        let (status, phase) = (bridge.health().watch_status(), Drain::new().watch());
        let registry = Registry::new();
        let revocations = registry.watch();
        let news = News { status, phase, revocations, metrics: Arc::new(Metrics::new()) };
        let (thread, inbox) = Thread::new(news, max_held, Compressor::new(COMPRESSION, 8)).unwrap();
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::spawn(move || super::run(thread, &runtime));
        let permits = Arc::new(Semaphore::new(100));
        Lab { inbox, bridge, limits: Limits::none(), registry, permits, thread }
    }

    /// A client that requests all records from the first one on.
    async fn client(&self) -> TcpStream {
        let request = SubscribeRequest {
            tenant: acme(),
            topics: Vec::new(),
            filter: Filter::default(),
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope: Envelope::None,
            unmasked: false,
            conflate: false,
            from: StartFrom::Earliest,
            last_event_id: None,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        SockRef::from(&client).set_recv_buffer_size(SOCKET).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = listener.accept().unwrap().0;
        SockRef::from(&socket).set_send_buffer_size(SOCKET).unwrap();
        socket.set_nonblocking(true).unwrap();
        let subscription = self.bridge.subscribe(request).await.unwrap();
        let (address, seen) = (Ipv4Addr::LOCALHOST.into(), self.registry.seen());
        let place = self.limits.enter(&acme(), None, address).ok().unwrap();
        let is_page = false;
        let entering = Entering { subscription: &subscription, subject: None, address, is_page, place, seen };
        let registered = self.registry.enter(entering);
        let stream = Stream::new(Parts {
            replay_place: None,
            filter_place: None,
            registered,
            subscription,
            pace: None,
            heartbeat: Duration::from_secs(3600),
            heartbeat_event: false,
            retry: Duration::from_secs(1),
            token_remaining: None,
            token_notice: Duration::ZERO,
            max_age: None,
            trace_id: trace_id(&axum::http::HeaderMap::new()),
            is_unseen: false,
            coding: None,
            account: None,
        });
        let permit = Some(Arc::clone(&self.permits).try_acquire_owned().unwrap().into());
        let way = Way::Socket(Wire::new(mio::net::TcpStream::from_std(socket), None));
        assert!(
            self.inbox
                .arrive(Arrival {
                    way,
                    connection: 0,
                    coding: Coding::Chunked,
                    head: Bytes::new(),
                    stream,
                    permit
                })
                .is_none()
        );
        client
    }

    fn stop(self) {
        self.inbox.post(|mail| mail.stop = true);
        self.thread.join().unwrap();
        assert_eq!((self.limits.streams(), self.permits.available_permits()), (0, 100));
    }
}

/// Reads until there are as many bytes as all records have, or until the end. True: all were read.
fn reads_all(client: &mut TcpStream) -> bool {
    let (mut buffer, mut bytes) = (vec![0; 64 * 1024], 0);
    while bytes < RECORDS as usize * RECORD {
        match client.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(count) => bytes += count,
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn those_go_that_do_not_read_where_they_hold_too_much_and_who_reads_stays() {
    // Each client that does not read holds the rest of one record.
    let lab = Lab::start(3 * RECORD);
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(lab.client().await);
    }
    let mut reader = lab.client().await;
    assert!(reads_all(&mut reader), "who reads was cut");
    // The other streams go on where they stopped.
    let cut = silent.iter_mut().map(reads_all).filter(|all| !all).count();
    assert!((3..=5).contains(&cut), "{cut} of 6 were cut");
    lab.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_goes_for_reading_late_where_there_is_room() {
    let lab = Lab::start(16 * RECORD);
    let mut late = Vec::new();
    for _ in 0..6 {
        late.push(lab.client().await);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(late.iter_mut().all(reads_all));
    lab.stop();
}
