//! The cursor: pages and streams, of one replica and another, in any mix and cut anywhere, give each record once.

use std::time::Duration;

use serde_json::Value;

use crate::ledger::Ledger;
use crate::support::{Client, Server};
use crate::{RECORDS, next, page};

const PARTITIONS: usize = 3;

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What a client has got, and where it is.
struct Reader {
    id: Option<String>,
    /// The values of each partition.
    got: Vec<Vec<String>>,
    pages: usize,
    streamed: usize,
}

impl Reader {
    fn take(&mut self, record: &Value) {
        let partition = record["partition"].as_u64().unwrap() as usize;
        self.got[partition].push(record["value"].as_str().unwrap().to_owned());
    }

    /// The address with the place to go on from, by one of the ways to say it.
    fn target(&self, route: &str, query: &str, by: u64) -> (String, Option<String>) {
        let path = format!("/t/acme/{route}?{query}");
        match (&self.id, by) {
            (None, _) => (format!("{path}&from=earliest"), None),
            (Some(id), 0) => (format!("{path}&last_event_id={id}"), None),
            (Some(id), 1) => (format!("{path}&from={id}"), None),
            (Some(id), _) => (path, Some(id.clone())),
        }
    }

    async fn open(
        &self,
        server: &Server,
        route: &str,
        query: &str,
        random: &mut Random,
        accept: &str,
    ) -> Client {
        let (target, header) = self.target(route, query, random.below(3));
        let mut headers = vec![("Accept", accept)];
        headers.extend(header.as_deref().map(|id| ("Last-Event-ID", id)));
        let client = server.get(&target, &headers).await;
        assert_eq!(client.status, 200, "{target}");
        client
    }

    /// Asks for a page; the client may be gone before it has the answer. True: the page had something, or may have.
    async fn page(&mut self, server: &Server, random: &mut Random) -> bool {
        let query = format!("limit={}", 1 + random.below(9));
        let (as_lines, is_cut) = (random.below(2) == 0, random.below(5) == 0);
        let accept = if as_lines { "application/x-ndjson" } else { "*/*" };
        let mut client = self.open(server, "records", &query, random, accept).await;
        if is_cut {
            return true;
        }
        let body = client.body().await;
        self.pages += 1;
        let (records, end) = if as_lines {
            let mut lines: Vec<Value> =
                body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let end = lines.pop().unwrap();
            (lines, end)
        } else {
            let page: Value = serde_json::from_str(&body).unwrap();
            (page["records"].as_array().unwrap().clone(), page)
        };
        assert!(end.get("gaps").is_none(), "{end}");
        records.iter().for_each(|record| self.take(record));
        self.id = Some(next(&end).to_owned());
        !records.is_empty() || end["more"] == true
    }

    /// Reads a stream for a few blocks, and leaves.
    async fn stream(&mut self, server: &Server, random: &mut Random) {
        let mut client = self.open(server, "events", "envelope=record", random, "*/*").await;
        for _ in 0..random.below(9) {
            let Ok(block) = tokio::time::timeout(Duration::from_millis(20), client.next()).await else {
                return;
            };
            let Some(block) = block else { return };
            assert!(!block.is("tailrace.gap"), "{block:?}");
            if block.event.is_none() && block.data.is_some() {
                self.take(&block.json());
                self.streamed += 1;
            }
            if let Some(id) = block.id {
                self.id = Some(id);
            }
        }
    }
}

async fn run(seed: u64, flags: &[&str]) -> (usize, usize) {
    let mut random = Random(seed);
    let ledger = Ledger::new(PARTITIONS);
    let mut written = 0;
    let mut write = |random: &mut Random| {
        let tenant = if random.below(4) == 0 { "globex" } else { "acme" };
        let partition = random.below(PARTITIONS as u64) as usize;
        ledger.write(partition, tenant, format!("n{written}"), random.below(3));
        written += 1;
    };
    (0..100).for_each(|_| write(&mut random));
    let first = ledger.replica(flags).await;
    (0..30).for_each(|_| write(&mut random));
    let second = ledger.replica(flags).await;
    let replicas = [&first, &second];
    let mut reader = Reader { id: None, got: vec![Vec::new(); PARTITIONS], pages: 0, streamed: 0 };
    for _ in 0..150 {
        for _ in 0..random.below(4) {
            write(&mut random);
        }
        for replica in replicas {
            // One may be behind where the client is.
            if random.below(2) == 0 {
                ledger.ingest(replica);
            }
        }
        let replica = replicas[random.below(2) as usize];
        match random.below(3) {
            0 => reader.stream(replica, &mut random).await,
            _ => drop(reader.page(replica, &mut random).await),
        }
    }
    replicas.iter().for_each(|replica| ledger.ingest(replica));
    // A replica that has everything says so in the end.
    while reader.page(&second, &mut random).await {}
    for partition in 0..PARTITIONS {
        assert_eq!(reader.got[partition], ledger.of(partition, "acme"), "seed {seed}, partition {partition}");
    }
    (reader.pages, reader.streamed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_streams_in_any_mix_give_each_record_once() {
    for seed in 0..6 {
        let (pages, streamed) = run(seed, &[]).await;
        assert!(pages > 30 && streamed > 20, "the mix is no mix: {pages}, {streamed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_they_do_with_sealed_ids() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
    for seed in 100..103 {
        run(seed, &["--id-key-file", path.to_str().unwrap()]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_page_is_where_a_stream_begins_and_the_other_way_round() {
    let mut server = Server::open(&[]).await;
    for n in 0..6 {
        server.append("acme", &format!("n{n}"));
    }
    let first = page(&server, "from=earliest&limit=2").await;
    let mut stream = server.get(&format!("/t/acme/events?last_event_id={}", next(&first)), &[]).await;
    let third = stream.next_record().await;
    assert_eq!(third.data.as_deref(), Some("n2"));
    let mut client = server.get(RECORDS, &[("Last-Event-ID", &third.id.unwrap())]).await;
    assert_eq!(crate::values(&client.json().await), ["n3", "n4", "n5"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_finds_nothing_in_a_long_history_ends_in_time_and_gets_on() {
    let mut ledger = Ledger::new(1);
    for n in 0..280 {
        ledger.write(0, if n == 279 { "acme" } else { "globex" }, format!("n{n}"), 0);
    }
    // The second page ends by its time, too: it has got on, though it had no record for its client.
    ledger.slow = Some((Duration::from_millis(200), 5));
    let server = ledger.replica(&[]).await;
    let begin = std::time::Instant::now();
    let first = page(&server, "from=earliest").await;
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert!(crate::values(&first).is_empty() && first["more"] == true, "{first}");
    let mut id = next(&first).to_owned();
    for _ in 0..5 {
        let found = page(&server, &format!("last_event_id={id}")).await;
        if !crate::values(&found).is_empty() {
            assert_eq!(crate::values(&found), ["n279"]);
            return;
        }
        assert_ne!(next(&found), id, "it gets on");
        id = next(&found).to_owned();
    }
    panic!("it was never found");
}
