//! Requests and records that cost much: what is accepted stays within its bounds, what is not is refused with a clear error, and
//! what was taken is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use tailrace_bridge::{HistoryError, HistoryRead, OffsetsAt, Position, Segment, SegmentBuilder, Source};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::attack::{
    Browser, PATIENCE, Rules, Written, answer, eventually, in_a_process_of_its_own, in_path, listed,
};
use crate::support::{Client, Server};

const EVENTS: &str = "/t/acme/events";

fn wheres(conditions: &[String]) -> String {
    let all: Vec<String> = conditions.iter().map(|condition| format!("where={condition}")).collect();
    all.join("&")
}

/// A condition of that many values, none of which is `match`.
fn condition(field: &str, values: usize) -> String {
    let values: Vec<String> = (0..values).map(|n| format!("{n:02x}")).collect();
    format!("{field}!={}", values.join(","))
}

/// The refusal of a stream, which must be a 400 with these words.
async fn refused(server: &Server, query: &str, words: &str) -> Value {
    let (status, _, body) = answer(server.address, "GET", &format!("{EVENTS}?{query}"), &[]).await;
    assert_eq!(status, 400, "{query:.100}: {body}");
    assert!(body["detail"].as_str().unwrap().contains(words), "{body}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_the_dearest_filter_is_accepted_and_one_condition_or_value_more_is_not() {
    let server = Server::open(&[]).await;
    let rules = Rules::headers();
    let all: Vec<String> = (0..32).map(|n| condition(&format!("value.{n:02}"), 256)).collect();
    let mut stream = Browser::open(&server, &format!("{EVENTS}?{}", wheres(&all))).await;
    assert_eq!(stream.status(), 200, "{}", stream.head);
    stream.until_synced().await;
    rules.produce(&server, "orders", &Written::value(r#"{"31":"0a"}"#)).unwrap();
    rules.produce(&server, "orders", &Written::value(r#"{"31":"x"}"#)).unwrap();
    stream.until(|event| event.name == "message").await;
    assert_eq!(stream.stream.events.last().unwrap().data, r#"{"31":"x"}"#);

    let more = refused(&server, &format!("{}&where=key=1", wheres(&all)), "at most 32").await;
    assert_eq!((&more["parameter"], &more["index"]), (&"where".into(), &32.into()));
    let more = refused(&server, &wheres(&[condition("value.a", 257)]), "at most 256 values").await;
    assert_eq!(more["column"], 10 + 3 * 256);
    refused(&server, &format!("where=value.a={}", ",".repeat(256)), "at most 256 values").await;
    refused(&server, &"key=a&".repeat(257), "at most 256").await;
    refused(&server, &"topic=orders&".repeat(257), "at most 256").await;
    refused(&server, &format!("where=value.a={}", "x".repeat(5_000)), "4096 characters").await;
    // Alternatives are conditions, and the values of one where= are those of all its alternatives.
    let list = |count: usize| {
        let each: Vec<String> = (0..count).map(|n| format!("value.{n}!=x")).collect();
        format!("where=({})", each.join("|"))
    };
    assert_eq!(server.get(&format!("{EVENTS}?{}", list(32)), &[]).await.status, 200);
    refused(&server, &list(33), "at most 32").await;
    let more = refused(&server, &format!("{}&where=key=1", list(32)), "at most 32").await;
    assert_eq!((&more["index"], &more["column"]), (&1.into(), &1.into()));
    let halves =
        |values: usize| format!("where=({}|{})", condition("value.a", 128), condition("value.b", values));
    assert_eq!(server.get(&format!("{EVENTS}?{}", halves(128)), &[]).await.status, 200);
    refused(&server, &halves(129), "at most 256 values").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_filter_s_path_of_hundreds_of_steps_is_refused_at_once() {
    let server = Server::open(&[]).await;
    let begin = Instant::now();
    for steps in [33, 500, 2_000] {
        for joint in [".", "/"] {
            let path = format!("value{}=1", format!("{joint}a").repeat(steps));
            let column =
                refused(&server, &format!("where={path}"), "at most 32 steps").await["column"].clone();
            assert_eq!(column, 6, "{steps}");
        }
    }
    let longest = format!("where=value{}=1", ".a".repeat(32));
    assert_eq!(server.get(&format!("{EVENTS}?{longest}"), &[]).await.status, 200);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_records_that_nest_deep_match_no_filter_and_hold_up_nobody() {
    let server = Server::open(&["--mask", "orders=/secret:redact"]).await;
    let rules = Rules::headers();
    let target = format!("{EVENTS}?from=earliest&where={}", in_path("value.a.a.a.a.a.a.a.a!=x"));
    let mut live = Browser::open(&server, &target).await;
    live.until_synced().await;
    let begin = Instant::now();
    for levels in [128, 129, 10_000, 200_000] {
        for (open, close) in [("{\"a\":", "}"), ("[", "]"), ("{\"a\":[", "]}"), ("{\"a\":", ""), ("[", "}")] {
            let value = format!("{}1{}", open.repeat(levels), close.repeat(levels));
            rules.produce(&server, "orders", &Written::value(value)).unwrap();
        }
    }
    rules.produce(&server, "orders", &Written::value(r#"{"a":1,"last":1}"#)).unwrap();
    live.until(|event| event.data.contains("last")).await;
    let mut replay = Browser::open(&server, &target).await;
    replay.until(|event| event.data.contains("last")).await;
    for stream in [&live, &replay] {
        assert_eq!(stream.events().into_iter().filter(|(name, _)| *name == "message").count(), 1);
    }
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
    // Without a filter, what is no JSON is withheld, as it may have the masked field.
    let mut all = Browser::open(&server, &format!("{EVENTS}?from=earliest&envelope=record")).await;
    all.until(|event| event.data.contains("last")).await;
    let withheld =
        all.stream.events.iter().filter(|event| event.data.contains(r#""value_kind":"masked""#)).count();
    assert_eq!(withheld, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_numbers_that_take_long_to_read_delay_no_one() {
    let server = Server::open(&[]).await;
    let rules = Rules::headers();
    let (digits, zeros) = ("9".repeat(1 << 20), format!("0.{}1e5", "0".repeat(1 << 20)));
    let query = wheres(&[in_path("value.n>1"), in_path("value.n!=5"), in_path("value.n<=1e400")]);
    let mut live = Browser::open(&server, &format!("{EVENTS}?{query}")).await;
    live.until_synced().await;
    let begin = Instant::now();
    for number in [&*digits, &*zeros, "1e999999999", "-1e-999999999", "2"] {
        rules.produce(&server, "orders", &Written::value(format!("{{\"n\":{number}}}"))).unwrap();
    }
    live.until(|event| event.data == "{\"n\":2}").await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

/// The limits that docs/operations.md recommends for the public internet.
const RECOMMENDED: [&str; 10] = [
    "--max-streams-per-tenant",
    "1000",
    "--max-streams-per-address",
    "100",
    "--connect-rate-per-address",
    "20/s",
    "--max-conditions-per-tenant",
    "200",
    "--max-replays-per-tenant",
    "20",
];

#[test]
fn the_recommended_limits_are_those_of_the_documentation() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    for pair in RECOMMENDED.chunks(2) {
        let variable = pair[0].trim_start_matches("--").replace('-', "_").to_uppercase();
        assert!(page.contains(&format!("\nTAILRACE_{variable}={}\n", pair[1])), "{variable}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_ten_thousand_filters_from_one_address_end_at_its_limits() {
    let server = Server::open(&RECOMMENDED).await;
    let before = server.bridge.memory();
    let (begin, mut held, mut refusals) = (Instant::now(), Vec::new(), 0);
    // One connection for the refusals, since most of them are.
    for n in 0..10_000 {
        let client = server.get(&format!("{EVENTS}?where=value.n%3E{n}"), &[]).await;
        match client.status {
            200 => held.push(client),
            429 => refusals += 1,
            other => panic!("{other}"),
        }
    }
    let seconds = begin.elapsed().as_secs() as usize + 2;
    assert!(held.len() <= 100.min(20 * seconds) && held.len() >= 20, "{} in {seconds} s", held.len());
    assert_eq!(held.len() + refusals, 10_000);
    drop(held);
    let none_left = async || listed(&server).await == 0;
    eventually("all streams are gone", none_left).await;
    assert!(server.bridge.memory() <= before + 4096, "{} {before}", server.bridge.memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_filters_of_many_addresses_end_at_the_conditions_of_their_tenant() {
    let server = Server::open(&["--max-conditions-per-tenant", "200"]).await;
    let mut held = Vec::new();
    for n in 0..150 {
        let client = server.get(&format!("{EVENTS}?where=value.n!%3D{n}&where=!value.m{n}?"), &[]).await;
        assert_eq!(client.status, if n < 100 { 200 } else { 429 }, "{n}");
        held.extend((n < 100).then_some(client));
    }
    // Another tenant has its own; what an index finds costs nothing.
    assert_eq!(server.get("/t/globex/events?where=value.n!%3D1", &[]).await.status, 200);
    for free in ["value.n=1", "value.n%3E1", "key^=a", "value.n?", "(value.n%3E1|key=a|header.b?)"] {
        assert_eq!(server.get(&format!("{EVENTS}?where={free}"), &[]).await.status, 200, "{free}");
    }
    for counted in ["value.n%3E1&where=value.n%3C5", "(value.n%3E1|key!=a)"] {
        assert_eq!(server.get(&format!("{EVENTS}?where={counted}"), &[]).await.status, 429, "{counted}");
    }
    held.truncate(99);
    let is_free = async || server.get(&format!("{EVENTS}?where=value.x!%3D1"), &[]).await.status == 200;
    eventually("the conditions of who left are free", is_free).await;
}

/// A Kafka that answers no read until it is let go, and counts those that wait.
#[derive(Clone, Default)]
struct Stuck(Arc<AtomicBool>);

impl Source for Stuck {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let goes = Arc::clone(&self.0);
        async move {
            while !goes.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(SegmentBuilder::new(read.from).finish(Position { offset: read.until, epoch: 0 }))
        }
        .boxed()
    }

    fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        async { Ok(vec![0]) }.boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

async fn stuck(flags: &[&str]) -> (Server, Stuck) {
    let source = Stuck::default();
    let flags = [&["--auth", "none"], flags].concat();
    let server = Server::over(Arc::new(source.clone()), &[1_000_000], "header:tenant", &flags).await;
    server.bridge.health().set_ready();
    (server, source)
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_storm_of_replays_gets_as_many_as_its_tenant_may_and_gives_them_back_at_once() {
    let (server, _source) = stuck(&["--max-replays-per-tenant", "20"]).await;
    // What is counted for a tenant is forgotten with its last stream: this one stays.
    let _stays = server.get(EVENTS, &[]).await;
    for round in 0..3 {
        let storm = (0..200).map(|n| {
            let target = format!("{EVENTS}?from=earliest&where=value.none={n}");
            let server = &server;
            async move { server.get(&target, &[]).await }
        });
        let clients = join_all(storm).await;
        let (taken, refused): (Vec<Client>, Vec<Client>) =
            clients.into_iter().partition(|client| client.status == 200);
        assert_eq!((taken.len(), refused.len()), (20, 180), "round {round}");
        let begin = Instant::now();
        drop((taken, refused));
        let is_free = async || {
            let mut held = Vec::new();
            while held.len() < 20 {
                let client = server.get(&format!("{EVENTS}?from=earliest"), &[]).await;
                if client.status != 200 {
                    return false;
                }
                held.push(client);
            }
            true
        };
        eventually("20 places are free", is_free).await;
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        let none_left = async || listed(&server).await == 1;
        eventually("the others are gone", none_left).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_search_of_the_last_records_is_given_up_with_its_client() {
    let (server, _source) = stuck(&["--max-replays-per-tenant", "1"]).await;
    let _stays = server.get(EVENTS, &[]).await;
    let mut searching = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET {EVENTS}?from=-100&where=value.none=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    searching.write_all(request.as_bytes()).await.unwrap();
    let earliest = format!("{EVENTS}?from=earliest");
    let is_taken = async || server.get(&earliest, &[]).await.status == 429;
    eventually("the search has the only place", is_taken).await;
    let begin = Instant::now();
    drop(searching);
    let is_free = async || server.get(&earliest, &[]).await.status == 200;
    eventually("the place of who searched is free", is_free).await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_replay_that_matches_nothing_is_given_up_with_its_client() {
    let server = Server::open(&["--replay-byte-rate-per-tenant", "64KiB/s"]).await;
    let rules = Rules::headers();
    for _ in 0..1_000 {
        rules.produce(&server, "orders", &Written::value("x".repeat(1_000))).unwrap();
    }
    // A megabyte at 64 KiB a second: nobody is through within this test.
    let storm = (0..50).map(|n| {
        let target = format!("{EVENTS}?from=earliest&where=value.none%3E{n}");
        let server = &server;
        async move { server.get(&target, &[]).await }
    });
    let clients = join_all(storm).await;
    assert!(clients.iter().all(|client| client.status == 200));
    // Another tenant is not held up by them.
    rules.produce(&server, "orders", &Written::of("calm", "calm")).unwrap();
    let begin = Instant::now();
    let mut calm = Browser::open(&server, "/t/calm/events?from=earliest").await;
    calm.until_synced().await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    drop((clients, calm));
    let none_left = async || listed(&server).await == 0;
    eventually("nobody is there", none_left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_two_thousand_streams_that_come_and_go_leave_no_count_and_no_memory() {
    let name = "work::attack_two_thousand_streams_that_come_and_go_leave_no_count_and_no_memory";
    if in_a_process_of_its_own(name).is_some() {
        return;
    }
    let server =
        Server::open(&["--max-conditions-per-tenant", "100000", "--max-replays-per-tenant", "1000"]).await;
    let rules = Rules::headers();
    for n in 0..200 {
        let tenant = format!("t{}", n % 7);
        rules.produce(&server, "orders", &Written::of(tenant, format!("{{\"n\":{n}}}"))).unwrap();
    }
    let round = async |count: usize| {
        for n in 0..count {
            let query = match n % 5 {
                0 => "from=earliest".to_owned(),
                1 => format!("from=-10&where=value.n%3E{n}"),
                2 => format!("where=value.n%3E{n}&envelope=record"),
                3 => "from=nonsense".to_owned(),
                _ => format!("key=k{n}"),
            };
            let mut socket = TcpStream::connect(server.address).await.unwrap();
            let request = format!("GET /t/t{}/events?{query} HTTP/1.1\r\nHost: a\r\n\r\n", n % 9);
            socket.write_all(request.as_bytes()).await.unwrap();
            // Half of them leave before the answer, and of these half with a reset.
            match n % 4 {
                0 => {}
                1 => socket.set_zero_linger().unwrap(),
                _ => drop(Client::answer(socket).await),
            }
        }
    };
    let gauges =
        ["tailrace_streams ", "tailrace_views ", "tailrace_replays_running ", "tailrace_replays_waiting "];
    let at_rest = async || {
        server.bridge.tick();
        for gauge in gauges {
            if server.metric(gauge).await != 0.0 {
                return false;
            }
        }
        listed(&server).await == 0
    };
    round(200).await;
    eventually("the first are gone", at_rest).await;
    let before = server.bridge.memory();
    round(2_000).await;
    eventually("all are gone", at_rest).await;
    assert!(server.bridge.memory() <= before + 4096, "{} {before}", server.bridge.memory());
    let (_, _, tenants) = answer(server.admin, "GET", "/tenants", &[]).await;
    assert_eq!(tenants, json!([]));
}
