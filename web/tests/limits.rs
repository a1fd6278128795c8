//! Limits over real sockets, as named attacks. What one process counts in all its metrics is not looked at here: places are
//! free when new streams get them.
//!
//! The kinds of trouble: a refusal that does not say which limit; a place that is kept after a refusal, a close, a reset, a race;
//! a limit that is passed by many streams of one connection, by subjects, by tokens without one; a file of limits that is wrong,
//! half, gone, or back; a replay that costs more than its tenant may have.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::{Client, SECRET, Server};
use tailrace_bridge::{Headers, NewRecord, Position, TenantId};
use tailrace_bridge::{HistoryError, HistoryRead, OffsetsAt, Segment, SegmentBuilder, Source};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const EVENTS: &str = "/t/acme/events";
const PATIENCE: Duration = Duration::from_secs(10);

async fn jwt(flags: &[&str]) -> Server {
    Server::start(&[&["--auth", "jwt", "--jwt-secret", SECRET], flags].concat()).await
}

/// A token of a tenant; an empty subject: without `sub`.
fn bearer(tenant: &str, subject: &str) -> String {
    let expires = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 600;
    let mut claims = json!({"tenant_id": tenant, "scope": format!("event:read:{tenant}"), "exp": expires});
    if !subject.is_empty() {
        claims["sub"] = json!(subject);
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    format!("Bearer {}", jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap())
}

async fn as_subject(server: &Server, tenant: &str, subject: &str) -> Client {
    let token = bearer(tenant, subject);
    server.get(&format!("/t/{tenant}/events"), &[("Authorization", &token)]).await
}

/// Waits until a stream may begin.
async fn is_free(server: &Server, target: &str) -> Client {
    let begin = Instant::now();
    loop {
        let client = server.get(target, &[]).await;
        if client.status == 200 {
            return client;
        }
        assert!(begin.elapsed() < PATIENCE, "no place was given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The places that are free, found by taking them.
async fn free_places(server: &Server, at_most: usize) -> usize {
    let mut held = Vec::new();
    while held.len() < at_most {
        let client = server.get(EVENTS, &[]).await;
        if client.status != 200 {
            break;
        }
        held.push(client);
    }
    held.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_its_limit_and_the_server_s_capacity_is_not_told() {
    for (flag, limit, value) in [
        ("--max-streams", "max_streams", Value::Null),
        ("--max-streams-per-tenant", "max_streams_per_tenant", json!("1")),
        ("--max-streams-per-address", "max_streams_per_address", json!("1")),
        ("--connect-rate-per-tenant", "connect_rate_per_tenant", json!("1/m")),
        ("--connect-rate-per-address", "connect_rate_per_address", json!("1/m")),
    ] {
        let server = Server::open(&[flag, if flag.contains("rate") { "1/m" } else { "1" }]).await;
        let _first = server.get(EVENTS, &[]).await;
        let mut second = server.get(EVENTS, &[]).await;
        assert_eq!(second.status, 429, "{flag}");
        let after: u64 = second.headers["retry-after"].parse().unwrap();
        assert!((1..=60).contains(&after), "{flag}: {after}");
        let document = second.json().await;
        let variable = format!("TAILRACE_{}", limit.to_uppercase());
        assert_eq!(document["limit"], limit, "{document}");
        assert_eq!(document["variable"], variable.as_str(), "{document}");
        assert_eq!(document["value"], value, "{document}");
        assert!(document["detail"].as_str().unwrap().contains(&variable), "{document}");
        let mut back = server.get(EVENTS, &[("Last-Event-ID", "abc")]).await;
        assert_eq!(back.next().await.unwrap().json()["limit"], limit);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_subject_opens_more_streams_than_it_may_and_tokens_without_one_are_one() {
    let server = jwt(&["--max-streams-per-subject", "1"]).await;
    let _first = as_subject(&server, "acme", "ann").await;
    let mut refused = as_subject(&server, "acme", "ann").await;
    assert_eq!(refused.json().await["limit"], "max_streams_per_subject");
    let _bob = as_subject(&server, "acme", "bob").await;
    assert_eq!(_bob.status, 200);
    // The same name of another tenant is another subject: nobody takes the places of another tenant's users.
    let _other = as_subject(&server, "other", "ann").await;
    assert_eq!(_other.status, 200);
    let _none = as_subject(&server, "acme", "").await;
    assert_eq!((_none.status, as_subject(&server, "acme", "").await.status), (200, 429));
    let long = "x".repeat(4000);
    let _long = as_subject(&server, "acme", &long).await;
    assert_eq!((_long.status, as_subject(&server, "acme", &long).await.status), (200, 429));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_the_limits_are_passed_by_many_streams_of_one_http_2_connection() {
    for flag in ["--max-streams", "--max-streams-per-tenant", "--max-streams-per-address"] {
        let server = Server::open(&[flag, "3"]).await;
        for _ in 0..3 {
            // The places that were taken to count them are free again a moment after their clients have left.
            while Client::request(server.admin, "GET", "/streams", &[]).await.json().await != json!([]) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let socket = TcpStream::connect(server.address).await.unwrap();
            let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
            let driver = tokio::spawn(async move { drop(connection.await) });
            let (mut statuses, mut bodies) = (Vec::new(), Vec::new());
            for _ in 0..6 {
                sender = sender.ready().await.unwrap();
                let request = hyper::Request::get(format!("http://tailrace{EVENTS}")).body(()).unwrap();
                let answer = sender.send_request(request, true).unwrap().0.await.unwrap();
                statuses.push(answer.status().as_u16());
                bodies.push(answer.into_body());
            }
            assert_eq!(statuses, [200, 200, 200, 429, 429, 429], "{flag}");
            // A stream that is reset gives its place back, and so do all of a connection that is cut.
            drop(bodies.remove(0));
            drop(is_free(&server, EVENTS).await);
            driver.abort();
            drop((sender, bodies));
            drop(is_free(&server, EVENTS).await);
            let begin = Instant::now();
            while free_places(&server, 4).await < 3 {
                assert!(begin.elapsed() < PATIENCE, "{flag}: places are kept");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_a_race_of_open_and_close_leaves_places_taken_or_takes_too_many() {
    const MAX: usize = 8;
    let server =
        Arc::new(Server::open(&["--max-streams-per-tenant", "8", "--max-replays-per-tenant", "4"]).await);
    let mut tasks = Vec::new();
    for task in 0..12_usize {
        let server = Arc::clone(&server);
        tasks.push(tokio::spawn(async move {
            for n in 0..60_usize {
                let query = ["", "?from=earliest", "?topic=nope", "?from=-10", "?where=x"][(task + n) % 5];
                let mut socket = TcpStream::connect(server.address).await.unwrap();
                let request = format!("GET {EVENTS}{query} HTTP/1.1\r\nHost: x\r\n\r\n");
                socket.write_all(request.as_bytes()).await.unwrap();
                // Some leave before there is an answer, some reset, some read it.
                match n % 3 {
                    0 => drop(socket),
                    1 => socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap(),
                    _ => drop(Client::answer(socket).await),
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let begin = Instant::now();
    loop {
        let free = free_places(&server, MAX + 1).await;
        assert!(free <= MAX, "{free} streams of at most {MAX}");
        if free == MAX {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{free} of {MAX} places came back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_requests_that_are_refused_after_they_took_a_place_keep_it() {
    let server = Server::open(&["--max-streams", "1"]).await;
    for target in ["?topic=nope", "?topic=nope&from=earliest", "?topic=nope&from=-100"] {
        for _ in 0..5 {
            assert_eq!(server.get(&format!("{EVENTS}{target}"), &[]).await.status, 404);
        }
    }
    for _ in 0..5 {
        assert_eq!(Client::request(server.address, "HEAD", EVENTS, &[]).await.status, 200);
    }
    assert_eq!(server.get(EVENTS, &[]).await.status, 200);
}

/// A Kafka whose history is there only once it is let go.
#[derive(Clone, Default)]
struct Stuck(Arc<AtomicBool>);

impl Source for Stuck {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let goes = Arc::clone(&self.0);
        async move {
            while !goes.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let mut builder = SegmentBuilder::new(read.from);
            for offset in read.from..read.until.min(100) {
                builder.push(&NewRecord {
                    offset,
                    epoch: 0,
                    timestamp: 1_700_000_000_000,
                    key: None,
                    value: Some(b"old"),
                    headers: Headers::default(),
                    tenant: TenantId::new("acme").unwrap(),
                    event_type: None,
                    form: tailrace_bridge::Form::default(),
                });
            }
            Ok(builder.finish(Position { offset: read.until.min(100), epoch: 0 }))
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

#[tokio::test(flavor = "multi_thread")]
async fn attack_more_replays_of_history_at_once_than_a_tenant_may() {
    let stuck = Stuck::default();
    let flags = ["--auth", "none", "--max-replays-per-tenant", "2"];
    let mut server = Server::over(Arc::new(stuck.clone()), &[100], "header:tenant", &flags).await;
    server.bridge.health().set_ready();
    let earliest = format!("{EVENTS}?from=earliest");
    let mut first = server.get(&earliest, &[]).await;
    let second = server.get(&earliest, &[]).await;
    assert_eq!((first.status, second.status), (200, 200));
    let mut refused = server.get(&earliest, &[]).await;
    assert_eq!(refused.json().await["limit"], "max_replays_per_tenant");
    let search = server.get(&format!("{EVENTS}?from=-5"), &[]).await;
    assert_eq!(search.status, 429);
    // What needs no history is served, and so are others.
    assert_eq!(server.get(EVENTS, &[]).await.status, 200);
    let other = server.get("/t/other/events?from=earliest", &[]).await;
    assert_eq!(other.status, 200);
    // One that leaves gives its place back, and one that is live.
    drop(second);
    let _third = is_free(&server, &earliest).await;
    stuck.0.store(true, Ordering::Relaxed);
    assert_eq!(first.next_is("tailrace.synced").await.json()["replayed"], 100);
    server.append("acme", "new");
    assert_eq!(first.next_record().await.data.as_deref(), Some("new"));
    let _fourth = is_free(&server, &earliest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_replays_that_match_nothing_examine_more_than_their_tenant_may_and_others_are_not_delayed() {
    let mut server = Server::open(&["--replay-byte-rate-per-tenant", "1MiB/s", "--heartbeat", "200ms"]).await;
    let value = format!("{{\"pad\":\"{}\"}}", "x".repeat(1000));
    (0..3000).for_each(|_| server.append("acme", &value));
    server.append("calm", "calm");
    let begin = Instant::now();
    let none = format!("{EVENTS}?from=earliest&where=value.a=1");
    let mut greedy = server.get(&none, &[]).await;
    let mut calm = server.get("/t/calm/events?from=earliest", &[]).await;
    calm.next_is("tailrace.synced").await;
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
    let mut beats = 0;
    loop {
        let block = greedy.next().await.unwrap();
        if block.is("tailrace.synced") {
            break;
        }
        beats += 1;
    }
    // 3 MB, of which a second's worth comes at once.
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(1500) && took < Duration::from_secs(6), "{took:?}");
    assert!(beats >= 3, "heartbeats go on: {beats}");
    server.append("acme", "{\"a\":1}");
    assert_eq!(greedy.next_record().await.data.as_deref(), Some("{\"a\":1}"));
}

/// A file of limits that is removed with the value.
struct LimitsFile(std::path::PathBuf);

impl LimitsFile {
    fn new(name: &str, text: &str) -> LimitsFile {
        let path = std::env::temp_dir().join(format!("tailrace-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        LimitsFile(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for LimitsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn max_streams(max: usize) -> String {
    format!("[tenant.acme]\nmax_streams = {max}\n")
}

/// Waits until exactly so many more streams may begin.
async fn eventually_free(server: &Server, expected: usize) {
    let begin = Instant::now();
    loop {
        let free = free_places(server, expected + 1).await;
        if free == expected {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{free} places, not {expected}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limits_file_is_read_again_and_no_stream_ends() {
    let file = LimitsFile::new("changes", &max_streams(2));
    let mut server = Server::open(&["--max-streams-per-tenant", "1", "--limits-file", file.path()]).await;
    let _other = server.get("/t/other/events", &[]).await;
    assert_eq!(server.get("/t/other/events", &[]).await.status, 429, "the others are as the variable says");
    let (mut one, mut two) = (server.get(EVENTS, &[]).await, server.get(EVENTS, &[]).await);
    assert_eq!((one.status, two.status), (200, 200));
    eventually_free(&server, 0).await;
    file.write(&max_streams(4));
    server.reload.ask();
    eventually_free(&server, 2).await;
    file.write(&max_streams(1));
    server.reload.ask();
    eventually_free(&server, 0).await;
    // Wrong: the last good one holds. Gone: likewise.
    file.write("[tenant.acme]\nmax_streams = 9\nmax_stream = 9\n");
    server.reload.ask();
    tokio::time::sleep(Duration::from_millis(300)).await;
    eventually_free(&server, 0).await;
    std::fs::remove_file(&file.0).unwrap();
    server.reload.ask();
    tokio::time::sleep(Duration::from_millis(300)).await;
    eventually_free(&server, 0).await;
    file.write(&max_streams(3));
    server.reload.ask();
    eventually_free(&server, 1).await;
    server.append("acme", "still there");
    for stream in [&mut one, &mut two] {
        assert_eq!(stream.next_record().await.data.as_deref(), Some("still there"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limits_file_that_is_replaced_by_a_link_is_noticed_without_a_signal() {
    let (old, new) = (LimitsFile::new("old", &max_streams(1)), LimitsFile::new("new", &max_streams(2)));
    let link = std::env::temp_dir().join(format!("tailrace-link-{}", std::process::id()));
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&old.0, &link).unwrap();
    let server = Server::open(&["--limits-file", link.to_str().unwrap()]).await;
    eventually_free(&server, 1).await;
    // As Kubernetes does it: another link, renamed over the first.
    let next = link.with_extension("next");
    std::os::unix::fs::symlink(&new.0, &next).unwrap();
    std::fs::rename(&next, &link).unwrap();
    eventually_free(&server, 2).await;
    std::fs::remove_file(&link).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_of_the_file_holds_for_a_stream_that_is_open_and_is_lifted_again() {
    let file = LimitsFile::new("rates", "");
    let mut server = Server::open(&["--limits-file", file.path()]).await;
    let mut stream = server.get(EVENTS, &[]).await;
    stream.next().await.unwrap();
    file.write("[tenant.acme]\nevent_rate = 5\n");
    server.reload.ask();
    tokio::time::sleep(Duration::from_millis(300)).await;
    (0..12).for_each(|n| server.append("acme", &n.to_string()));
    let begin = Instant::now();
    for n in 0..12 {
        assert_eq!(stream.next_record().await.data.unwrap(), n.to_string());
    }
    // Five come at once, and one is read before it is paid.
    assert!(begin.elapsed() > Duration::from_millis(1000), "{:?}", begin.elapsed());
    (12..1000).for_each(|n| server.append("acme", &n.to_string()));
    file.write("");
    server.reload.ask();
    let begin = Instant::now();
    for n in 12..1000 {
        assert_eq!(stream.next_record().await.data.unwrap(), n.to_string());
    }
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn a_wrong_limits_file_at_the_start_is_an_error_with_its_place() {
    let file = LimitsFile::new("wrong", "[tenant.acme]\nmax_stream = 5\n");
    let said = |path: &str| {
        support::args(&["--auth", "none", "--limits-file", path]).settings().err().unwrap().to_string()
    };
    let text = said(file.path());
    for part in ["TAILRACE_LIMITS_FILE", "line 2, column 1", "max_streams"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(said("/nowhere/limits.toml").contains("no such file"), "{}", said("/nowhere/limits.toml"));
}
