//! An unclean leader takes over, writes, and is replaced by the leader before it, whose log is its own again. Leader epochs rise all the time,
//! but the records at the same offsets are now of an earlier one: whoever has those of the later one must be told so, and get these.

mod support;

use std::time::Duration;

use support::bridge::Bridge;
use support::kafka::Kafka;
use support::sse::{Connection, Event, IdBuffer, Source};
use tokio::time::Instant;

const TOPIC: &str = "orders";
const WAIT: Duration = Duration::from_secs(60);

struct Cluster {
    kafka: Kafka,
    written: usize,
}

impl Cluster {
    /// One partition on two of three brokers, of which any may lead.
    async fn start() -> Cluster {
        let kafka = Kafka::cluster(3, &[]).await;
        let config = [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")];
        kafka.create_topic_on(TOPIC, 1, &[1, 2], &config).await;
        Cluster { kafka, written: 0 }
    }

    /// Writes so many records, whose values begin with this letter.
    fn write(&mut self, letter: &str, count: usize) {
        let producer = self.kafka.producer();
        for number in self.written..self.written + count {
            producer.send(TOPIC, 0, "acme", format!("{letter}{number}").as_bytes());
        }
        tokio::task::block_in_place(|| producer.flush());
        self.written += count;
    }

    /// The leader is the only one in sync.
    async fn leave_alone(&mut self, other: usize) {
        self.kafka.broker(other).kill();
        self.kafka.leaders(TOPIC, "the leader is alone", |at| at.isr().len() == 1).await;
    }

    /// The leader is killed, and the other replica, which has missed its last records, leads.
    async fn lead_uncleanly(&mut self, leader: usize, other: usize) {
        self.kafka.broker(leader).kill();
        self.kafka.broker(other).spawn();
        let number = other as i32 + 1;
        self.kafka.leaders(TOPIC, "the other replica leads", |at| at.leader() == number).await;
    }
}

/// A client, with all that it got.
struct Client {
    source: Source,
    connection: Connection,
    events: Vec<Event>,
}

impl Client {
    async fn open(bridge: &Bridge, last_event_id: &str) -> Client {
        let mut source = Source::new(bridge.port, "/t/acme/events?from=earliest", IdBuffer::Empty);
        source.last_event_id = last_event_id.to_owned();
        let connection = source.connect(bridge.port).await.expect("the bridge answers");
        assert_eq!(connection.status, 200, "{}", connection.head);
        Client { source, connection, events: Vec::new() }
    }

    /// Reads until a record has this value.
    async fn reads(&mut self, last: &str) {
        let until = Instant::now() + WAIT;
        while self.events.last().is_none_or(|event| event.data != last) {
            assert!(Instant::now() < until, "no {last}: {:?}", self.story());
            let quiet = Duration::from_millis(200);
            let (events, is_open) = self.source.read(&mut self.connection, usize::MAX, quiet).await;
            self.events.extend(
                events.into_iter().filter(|event| event.name.is_empty() || event.name == "tailrace.gap"),
            );
            assert!(is_open, "the stream stays open");
        }
    }

    /// Values, and gaps as `from>next`.
    fn story(&self) -> Vec<String> {
        let word = |event: &Event| match event.name.is_empty() {
            true => event.data.clone(),
            false => {
                let gap: serde_json::Value = serde_json::from_str(&event.data).expect("JSON");
                assert_eq!(gap["code"], "truncated");
                format!("{}>{}", gap["from"], gap["next"])
            }
        };
        self.events.iter().map(word).collect()
    }

    fn id(&self) -> String {
        self.source.last_event_id.clone()
    }
}

fn run(letter: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{letter}{number}")).collect()
}

/// The first leader's log has 30 records, of which the second has missed 20; the second writes `others` more.
async fn there_and_back(others: usize) {
    let mut cluster = Cluster::start().await;
    let bootstrap = cluster.kafka.bootstrap();
    let mut live = Bridge::new(&bootstrap, TOPIC, "live", &[]);
    live.start().await;
    cluster.write("a", 10);
    cluster.leave_alone(1).await;
    cluster.write("a", 20);
    let mut reader = Client::open(&live, "").await;
    reader.reads("a29").await;

    cluster.lead_uncleanly(0, 1).await;
    cluster.write("b", others);
    let last = format!("b{}", 29 + others);
    reader.reads(&last).await;
    let mut expected = run("a", 0..30);
    expected.push("30>10".to_owned());
    expected.extend(run("b", 30..30 + others));
    assert_eq!(reader.story(), expected);
    let id = reader.id();

    cluster.lead_uncleanly(1, 0).await;
    cluster.write("c", 1);
    let last = format!("c{}", 30 + others);
    let end = 10 + others;
    let again = [vec![format!("{end}>10")], run("a", 10..30), vec![last.clone()]].concat();
    reader.reads(&last).await;
    expected.extend(again.clone());
    assert_eq!(reader.story(), expected, "who was there");

    let mut resumed = Client::open(&live, &id).await;
    resumed.reads(&last).await;
    assert_eq!(resumed.story(), again, "who comes back to a replica that was there");

    // A replica that was not there does not know where the lost log began to differ. It goes back as far as both are the same for
    // certain, if the leader's answer does not say it.
    let mut later = Bridge::new(&bootstrap, TOPIC, "later", &[]);
    later.start().await;
    let mut stranger = Client::open(&later, &id).await;
    stranger.reads(&last).await;
    let whole = [vec![format!("{end}>0")], run("a", 0..30), vec![last.clone()]].concat();
    let to_answer = [vec![format!("{end}>30")], vec![last.clone()]].concat();
    let allowed = if end > 30 { to_answer } else { whole };
    assert_eq!(stranger.story(), allowed, "who comes back to another one");

    // Positions after it are ordinary ones, for both replicas.
    for id in [reader.id(), resumed.id(), stranger.id()] {
        for bridge in [&live, &later] {
            let mut next = Client::open(bridge, &id).await;
            cluster.write("d", 1);
            let last = format!("d{}", cluster.written - 1);
            next.reads(&last).await;
            assert!(next.story().iter().all(|word| word.starts_with('d')), "{:?}", next.story());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_comes_back_and_is_longer_than_what_replaced_it_comes_as_it_is() {
    there_and_back(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_comes_back_and_is_shorter_comes_as_it_is() {
    there_and_back(40).await;
}
