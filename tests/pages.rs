//! Pages of the real Kafka: by two replicas, mixed with streams, through a kill; and what retention has removed.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::bridge::{Bridge, get};
use support::kafka::Kafka;
use support::sse::{IdBuffer, Source};

const PARTITIONS: usize = 3;
const RECORDS: usize = 3000;

/// A client that takes pages and streams as it likes.
struct Reader {
    id: String,
    /// The numbers that came, by partition.
    got: Vec<Vec<usize>>,
    gaps: Vec<Value>,
    pages: usize,
}

impl Reader {
    /// `value`: the partition and the number of the record.
    fn take(&mut self, value: &str) {
        let (partition, number) = value.split_once(':').expect("partition:number");
        let partition: usize = partition.parse().expect("a partition");
        self.got[partition].push(number.parse().expect("a number"));
    }

    fn count(&self) -> usize {
        self.got.iter().map(Vec::len).sum()
    }

    /// Takes a page, if the replica answers. True: it had something, or has more.
    async fn page(&mut self, port: u16, query: &str) -> Option<bool> {
        let from = if self.id.is_empty() {
            "from=earliest".to_owned()
        } else {
            format!("last_event_id={}", self.id)
        };
        let (status, body) = get(port, &format!("/t/acme/records?{query}&{from}")).await?;
        if status == 503 {
            return None;
        }
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).ok()?;
        let records = page["records"].as_array().expect("records");
        for record in records {
            self.take(record["value"].as_str().expect("text"));
        }
        self.gaps.extend(page["gaps"].as_array().cloned().unwrap_or_default());
        page["next"].as_str().expect("an id").clone_into(&mut self.id);
        self.pages += 1;
        Some(!records.is_empty() || page["more"] == true)
    }

    /// Reads a stream for a while, and leaves at any byte.
    async fn stream(&mut self, port: u16, bytes: usize) {
        let mut source = Source::new(port, "/t/acme/events?from=earliest", IdBuffer::Empty);
        source.last_event_id.clone_from(&self.id);
        let Some(mut connection) = source.connect(port).await else { return };
        if connection.status != 200 {
            return;
        }
        let (events, _) = source.read(&mut connection, bytes, Duration::from_millis(200)).await;
        for event in events.iter().filter(|event| event.name.is_empty()) {
            self.take(&event.data);
        }
        self.id = source.last_event_id;
    }
}

fn reader() -> Reader {
    Reader { id: String::new(), got: vec![Vec::new(); PARTITIONS], gaps: Vec::new(), pages: 0 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_streams_of_two_replicas_continue_each_other_through_a_kill() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let mut first = Bridge::new(&kafka.bootstrap(), "orders", "pages", &[]);
    let mut second = Bridge::new(&kafka.bootstrap(), "orders", "more-pages", &[]);
    first.start().await;
    second.start().await;
    let ports = [first.port, second.port];
    let producer = kafka.producer();
    let writing = tokio::spawn(async move {
        for number in 0..RECORDS {
            let partition = number % PARTITIONS;
            let tenant = if number % 7 == 0 { "globex" } else { "acme" };
            producer.send("orders", partition as i32, tenant, format!("{partition}:{number}").as_bytes());
            if number % 100 == 0 {
                producer.flush();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        producer.flush();
    });
    let of = |partition: usize| (0..RECORDS).filter(move |n| n % PARTITIONS == partition && n % 7 != 0);
    let all: usize = (0..PARTITIONS).map(|partition| of(partition).count()).sum();
    let mut reader = reader();
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    for turn in 0.. {
        let port = ports[turn % 2];
        match turn % 5 {
            0 => reader.stream(port, 500 + 97 * (turn % 11)).await,
            1 => drop(reader.page(port, "limit=7").await),
            _ => drop(reader.page(port, "limit=90&wait=500ms").await),
        }
        if turn == 12 {
            first.kill();
            first.spawn();
        }
        if writing.is_finished() && reader.count() >= all {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{} of {all}", reader.count());
    }
    // What would come twice comes now.
    for port in ports {
        while reader.page(port, "limit=1000&wait=1s").await == Some(true) {}
    }
    assert!(reader.gaps.is_empty() && reader.pages > 15, "{:?}, {} pages", reader.gaps, reader.pages);
    for (partition, got) in reader.got.iter().enumerate() {
        assert!(of(partition).eq(got.iter().copied()), "partition {partition}: {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_has_removed_is_a_gap_of_the_page() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "kept", &[]);
    bridge.start().await;
    let producer = kafka.producer();
    (0..10).for_each(|number| producer.send("orders", 1, "acme", format!("1:{number}").as_bytes()));
    producer.flush();
    let mut reader = reader();
    support::eventually("the first records", Duration::from_secs(20), async || {
        reader.page(bridge.port, "limit=3&wait=1s").await;
        (reader.count() >= 3).then_some(())
    })
    .await;
    kafka.delete_records("orders", 1, 6).await;
    // A replica that starts anew has nothing of what is gone.
    bridge.kill();
    bridge.start().await;
    reader.page(bridge.port, "").await;
    let gap = &reader.gaps[0];
    assert_eq!((&gap["code"], &gap["at"]), (&"retention".into(), &0.into()), "{gap}");
    assert_eq!((&gap["from"], &gap["to"]), (&3.into(), &6.into()), "{gap}");
    assert_eq!(reader.got[1], [0, 1, 2, 6, 7, 8, 9]);
    assert_eq!(reader.page(bridge.port, "").await, Some(false));
    assert_eq!(reader.gaps.len(), 1, "it is announced once");
}
