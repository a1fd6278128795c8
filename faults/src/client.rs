//! One client: it is cut at random bytes, reconnects, as an `EventSource` or in another way, and records everything that it gets.

mod paging;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::access::{self, Access, Counted};
use crate::issuer::Token;
use crate::judge::{Facts, Verdict, judge};
use crate::ledger::{Number, Truth, tenant_name};
use crate::sse::{BROWSERS, Connection, Event, IdBuffer, Source};
use crate::state::{self, ByKey};
use crate::way::Way;
use crate::wire::Cut;
use crate::writer::TENANTS;

/// What a client accepts, at each connection another of these.
const CODINGS: [&str; 4] = ["identity", "gzip", "zstd", BROWSERS];

/// The timeout of a request: a stopped replica accepts connections but sends nothing; then another replica is tried.
const PATIENCE: Duration = Duration::from_secs(2);
/// The least size of a priming block, in bytes: `retry:`, and `id:` with the positions of twelve partitions.
const FIRST_BLOCK: usize = 50;
/// The timeout from the end of writing until a client must have all records.
const FINISH: Duration = Duration::from_secs(90);
/// A client that gets nothing for this long has lost the missing records.
const STALLED: Duration = Duration::from_secs(30);
/// How often a client checks its phase.
const GLANCE: Duration = Duration::from_millis(100);
/// Once a client has all records, a connection of this length without events shows that nothing is repeated.
const CALM: Duration = Duration::from_millis(1_200);

/// The receive buffer of a slow client, in bytes.
const SLOW_BUFFER: u32 = 4 * 1024;
/// The receive buffer of a client that was slow and now reads what is left, in bytes.
const QUICK_BUFFER: usize = 256 * 1024;

/// The phase of a trial, for all clients.
#[derive(Clone, Default)]
pub enum Phase {
    /// Read, be cut, reconnect.
    #[default]
    Run,
    /// Stay disconnected.
    Away,
    /// Writing has ended at that moment: read until all records are there, or no more come.
    Finish(Arc<Truth>, Arc<Facts>, Instant),
}

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Is cut at random bytes and after random times.
    Cut,
    /// Stays connected as long as possible.
    Steady,
    /// Reads this many bytes per second, and stays connected as long as possible.
    Slow(u64),
    /// Shuts down its writing side after a random time, reads on, and reconnects when the server has closed the connection.
    HalfClosed,
    /// Asks for pages, each over a connection of its own; some are cut at random bytes.
    Pages,
}

/// What a client got, in order.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A connection began.
    Began(Instant),
    Record {
        number: Number,
        at: Instant,
        /// The place of the record as its envelope states it, if it has one.
        place: Option<(String, u32, u64)>,
        is_whole: bool,
    },
    Gap(Gap),
    /// An event with an unexpected name, or data that the suite did not write.
    Strange(String),
}

/// A gap, as it was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub code: String,
    pub topic: String,
    pub partition: u32,
    pub from: u64,
    /// `to`, or `next` if there is no `to`.
    pub edge: Option<u64>,
}

impl Got {
    /// The verdict on it. `topic`: the one whose records have keys, if any have.
    pub fn verdict(&self, topic: &str, truth: &Truth, facts: &Facts) -> Verdict {
        match self.by_key {
            Some(by_key) => state::judge(self, by_key, topic, truth),
            None => judge(self, truth, facts),
        }
    }

    /// When the last record was received; now, if there is none.
    fn last_record(&self) -> Instant {
        let at = |seen: &Seen| match seen {
            Seen::Record { at, .. } => Some(*at),
            _ => None,
        };
        self.seen.iter().rev().find_map(at).unwrap_or_else(Instant::now)
    }
}

/// The results of a client.
#[derive(Debug, Default)]
pub struct Got {
    pub tenant: u32,
    pub seen: Vec<Seen>,
    pub connections: u64,
    /// How many of the connections the server ended although they should have continued.
    pub ended: u64,
    /// How many of the connections were cut within their first block.
    pub cut_early: u64,
    /// Whether the client has ended with all records.
    pub is_complete: bool,
    /// If it keeps state by key.
    pub by_key: Option<ByKey>,
}

/// What all clients of a trial share.
pub struct Shared {
    pub phase: watch::Receiver<Phase>,
    /// The ports of the replicas that clients may use.
    pub ports: Arc<RwLock<Vec<u16>>>,
    /// Records that all clients together have got so far.
    pub deliveries: Arc<AtomicU64>,
    /// More parameters for the query.
    pub query: String,
    /// The topic of which some clients keep state by key.
    pub topic: String,
    pub access: Arc<Access>,
}

/// Reads until the client is done with the phase `Finish`.
pub async fn client(which: u32, seed: u64, habit: Habit, by_key: Option<ByKey>, shared: Arc<Shared>) -> Got {
    let tenant = which % TENANTS;
    // The verdict by key needs each record's place.
    let envelope = if which.is_multiple_of(2) || by_key.is_some() { "record" } else { "none" };
    let from = by_key.map_or("from=earliest", |by_key| by_key.query());
    let path =
        format!("/t/{}/events?{from}&heartbeat=1s&envelope={envelope}{}", tenant_name(tenant), shared.query);
    let kind = if which.is_multiple_of(3) { IdBuffer::LastId } else { IdBuffer::Empty };
    let mut reader = Reader {
        which,
        door: shared.access.door(which),
        token: None,
        is_noticed: false,
        source: Source::new(0, &path, kind),
        got: Got { tenant, by_key, ..Got::default() },
        random: StdRng::seed_from_u64(seed ^ (u64::from(which) << 32)),
        habit,
        calm_since: None,
        phase: shared.phase.clone(),
        shared,
    };
    while !reader.is_done() {
        reader.connect_and_read().await;
    }
    reader.got
}

struct Reader {
    which: u32,
    door: Option<TlsConnector>,
    /// The token in use, if replicas ask for one.
    token: Option<Token>,
    /// Whether this connection has announced that its token will expire.
    is_noticed: bool,
    source: Source,
    got: Got,
    random: StdRng,
    habit: Habit,
    /// Since when a client that asks for pages has had all records.
    calm_since: Option<Instant>,
    phase: watch::Receiver<Phase>,
    shared: Arc<Shared>,
}

impl Reader {
    fn is_done(&self) -> bool {
        match &*self.phase.borrow() {
            Phase::Finish(_, _, since) => {
                self.got.is_complete
                    || since.elapsed() > FINISH
                    || (since.elapsed() > STALLED && self.got.last_record().elapsed() > STALLED)
            }
            _ => false,
        }
    }

    fn is_away(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Away)
    }

    /// Whether all written records were delivered or announced as missing.
    fn has_all(&self) -> bool {
        match &*self.phase.borrow() {
            Phase::Finish(truth, facts, _) => self.got.verdict(&self.shared.topic, truth, facts).lost == 0,
            _ => false,
        }
    }

    async fn connect_and_read(&mut self) {
        if self.is_away() {
            // The sender is dropped only when the trial is over.
            let _ = self.phase.changed().await;
            return;
        }
        if self.habit == Habit::Pages || self.turns_pages() {
            return self.page().await;
        }
        self.source.way = Way::ALL[self.random.random_range(0..Way::ALL.len())];
        self.source.accepts = CODINGS[self.random.random_range(0..CODINGS.len())];
        let port = self.any_port();
        self.renew_token();
        let cut =
            if self.is_cut() && self.door.is_some() { access::cut(&mut self.random) } else { Cut::NEVER };
        let access = self.shared.access.clone();
        let connected = async {
            let way = self.source.way;
            let wire = access.enter(self.socket(port?).await?, self.door.as_ref(), way, cut).await?;
            self.source.connect_over(wire).await
        };
        match tokio::time::timeout(PATIENCE, connected).await {
            Ok(Some(connection)) if connection.status == 200 => self.read(connection).await,
            // As a page does, it asks for another token and comes back.
            Ok(Some(connection)) if connection.status == 401 => {
                Counted::add(&access.counted.unauthorized);
                self.token = None;
            }
            // Nothing listens, or the replica is not ready and the request has no id that makes it a reconnect.
            _ => tokio::time::sleep(GLANCE).await,
        }
        let pause = Duration::from_millis(self.random.random_range(0..60));
        tokio::time::sleep(pause).await;
    }

    /// One of the replicas, if there is any.
    fn any_port(&mut self) -> Option<u16> {
        let ports = self.shared.ports.read();
        ports.get(self.random.random_range(0..ports.len().max(1))).copied()
    }

    /// Whether a client that is cut asks for a page now, with the id that it has from a stream. Within a snapshot it has none that a
    /// page takes.
    fn turns_pages(&mut self) -> bool {
        self.is_cut() && self.got.by_key.is_none() && self.random.random_range(0..4) == 0
    }

    /// Whether the next connection is to be cut.
    fn is_cut(&self) -> bool {
        self.habit == Habit::Cut && !matches!(&*self.phase.borrow(), Phase::Finish(..))
    }

    /// A token is used until it expires, or until it was refused.
    fn renew_token(&mut self) {
        if self.token.as_ref().is_none_or(Token::has_expired) {
            let tenant = tenant_name(self.got.tenant);
            self.token = self.shared.access.token(self.which, &tenant, &mut self.random);
            self.source.token = self.token.as_ref().map(|token| token.text.clone());
        }
    }

    async fn socket(&self, port: u16) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        if matches!(self.habit, Habit::Slow(_)) {
            socket.set_recv_buffer_size(SLOW_BUFFER).ok()?;
        }
        socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.ok()
    }

    async fn read(&mut self, mut connection: Connection) {
        self.got.connections += 1;
        self.got.seen.push(Seen::Began(Instant::now()));
        self.is_noticed = false;
        let is_last = matches!(&*self.phase.borrow(), Phase::Finish(..));
        let is_cut = self.is_cut();
        // Over TLS, it is cut at a byte of what TCP carries.
        let limit = if is_cut && self.door.is_none() { cut_after(&mut self.random) } else { usize::MAX };
        let life =
            if is_cut { Duration::from_millis(self.random.random_range(5..3_000)) } else { Duration::MAX };
        let (began, half) = (Instant::now(), Duration::from_millis(self.random.random_range(0..500)));
        let mut complete_since = None;
        while began.elapsed() < life && !self.is_away() && !self.is_done() {
            if self.habit == Habit::HalfClosed && !is_last && began.elapsed() >= half {
                // Repeated calls are harmless; a closed connection is noticed below.
                let _ = connection.socket().shutdown().await;
            }
            let (events, is_open) = self.glance(&mut connection, limit).await;
            let is_quiet = events.is_empty();
            self.note(events);
            if !is_open {
                let is_cut = connection.received >= limit || connection.socket().is_cut();
                if connection.socket().is_cut() {
                    Counted::add(&self.shared.access.counted.cut);
                }
                self.got.cut_early += u64::from(connection.received < FIRST_BLOCK);
                self.got.ended += u64::from(!is_last && !is_cut);
                return;
            }
            // As tailrace.js does: it comes back with a new token before the old one ends the stream.
            if self.is_noticed && self.renews_ahead() {
                self.token = None;
                return;
            }
            // This check reads all records, so it is made only when nothing was received.
            if !is_quiet {
                complete_since = None;
            } else if complete_since.is_some() || self.has_all() {
                let since = *complete_since.get_or_insert_with(Instant::now);
                self.got.is_complete = since.elapsed() >= CALM;
            }
        }
    }

    /// Reads for a moment, according to the client's habit.
    async fn glance(&mut self, connection: &mut Connection, limit: usize) -> (Vec<Event>, bool) {
        let is_finishing = matches!(&*self.phase.borrow(), Phase::Finish(..));
        if is_finishing && matches!(self.habit, Habit::Slow(_)) {
            // With its small buffer, TCP's persist timer may send it 2 KiB every 200 ms, however much the server has written.
            let _ = set_socket_recv_buffer_size(connection.socket(), QUICK_BUFFER);
        }
        let (Habit::Slow(rate), false) = (self.habit, is_finishing) else {
            return self.source.read_for(connection, limit, GLANCE).await;
        };
        let most = (rate as f64 * GLANCE.as_secs_f64()).ceil() as usize;
        let read = self.source.sip(connection, most.max(1), GLANCE).await;
        // A new phase ends the wait.
        let mut phase = self.phase.clone();
        phase.mark_unchanged();
        let _ = tokio::time::timeout(GLANCE, phase.changed()).await;
        read
    }

    /// Half of the clients renew their tokens when they are told that these will expire; the streams of the others end.
    fn renews_ahead(&self) -> bool {
        self.which.is_multiple_of(2)
    }

    fn note(&mut self, events: Vec<Event>) {
        for event in events {
            self.note_expiry(&event);
            if let Some(seen) = seen(&event) {
                if matches!(seen, Seen::Record { .. }) {
                    self.shared.deliveries.fetch_add(1, Ordering::Relaxed);
                }
                self.got.seen.push(seen);
            }
        }
    }

    fn note_expiry(&mut self, event: &Event) {
        let counted = &self.shared.access.counted;
        match event.name.as_str() {
            "tailrace.status" if event.data.contains("\"token_expiring\"") => {
                self.is_noticed = true;
                Counted::add(&counted.notices);
            }
            "tailrace.error" if event.data.contains("\"token_expired\"") => {
                Counted::add(&counted.expired);
                self.token = None;
                if !self.is_noticed {
                    self.shared
                        .access
                        .problem(format!("client {}: a token expired without a notice", self.which));
                }
            }
            _ => {}
        }
    }
}

/// The number of body bytes before a connection is cut: often less than the first block, often without any event.
fn cut_after(random: &mut StdRng) -> usize {
    match random.random_range(0..10) {
        0..=2 => random.random_range(0..150),
        3..=5 => random.random_range(0..4_000),
        6..=8 => random.random_range(0..120_000),
        _ => random.random_range(0..1_000_000),
    }
}

fn seen(event: &Event) -> Option<Seen> {
    let strange = || Some(Seen::Strange(format!("{:?} {:.200}", event.name, event.data)));
    match event.name.as_str() {
        "" => record(&event.data).or_else(strange),
        "tailrace.gap" => gap(&event.data).map(Seen::Gap).or_else(strange),
        "tailrace.error" if event.data.contains("\"internal\"") => strange(),
        "tailrace.synced" | "tailrace.status" | "tailrace.drain" | "tailrace.error" => None,
        _ => strange(),
    }
}

/// A record: its value alone, or in its envelope.
fn record(data: &str) -> Option<Seen> {
    let json: Value = serde_json::from_str(data).ok()?;
    let (value, place, text) = match json.get("value") {
        None => (&json, None, data),
        Some(value) => {
            let place =
                (json["topic"].as_str()?.to_owned(), number(&json["partition"])?, json["offset"].as_u64()?);
            // The envelope ends with the value as it was written.
            (value, Some(place), data.split_once(r#","value":"#)?.1.strip_suffix('}')?)
        }
    };
    let (record, partition) = (value["n"].as_u64()?, number(&value["p"])?);
    let tenant = value["t"].as_str()?.strip_prefix("tenant-")?.parse().ok()?;
    let scale = number(&value["s"]).unwrap_or(1);
    let is_whole = text == crate::ledger::scaled_value(record, partition, tenant, scale);
    Some(Seen::Record { number: record, at: Instant::now(), place, is_whole })
}

fn gap(data: &str) -> Option<Gap> {
    let json: Value = serde_json::from_str(data).ok()?;
    Some(Gap {
        code: json["code"].as_str()?.to_owned(),
        topic: json["topic"].as_str()?.to_owned(),
        partition: number(&json["partition"])?,
        from: json["from"].as_u64()?,
        edge: json.get("to").or(json.get("next")).and_then(Value::as_u64),
    })
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}
