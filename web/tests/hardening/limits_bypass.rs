//! Ways around the limits: by other spellings of an address, a tenant or a subject, by forged headers, by races, and by leaving and
//! coming back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use tailrace_bridge::{
    EventId, Fingerprint, Headers, HistoryError, HistoryRead, NewRecord, OffsetsAt, Part, Position, Segment,
    SegmentBuilder, Source, TenantId, TopicId, Vector,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::attack::{
    Browser, Rules, Written, answer, bearer, claims, eventually, in_path, listed, signed, with_tokens,
};
use crate::support::{Client, Server};

const EVENTS: &str = "/t/acme/events";

/// One stream for each address; who asks from loopback is a trusted proxy.
const BEHIND_A_PROXY: [&str; 4] = ["--trusted-proxies", "127.0.0.1", "--max-streams-per-address", "1"];

/// Whether the two are counted as one address, in either order.
async fn are_one(header: &str, first: &str, second: &str) -> bool {
    let server = Server::open(&BEHIND_A_PROXY).await;
    let _held = server.get(EVENTS, &[(header, first)]).await;
    assert_eq!(_held.status, 200, "{first}");
    server.get(EVENTS, &[(header, second)]).await.status == 429
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_one_client_under_all_spellings_of_its_ipv4_address_has_one_place() {
    let address = "203.0.113.9";
    for spelling in [
        "203.0.113.9:1",
        "::ffff:203.0.113.9",
        "::FFFF:cb00:7109",
        "0:0:0:0:0:ffff:cb00:7109",
        "[::ffff:203.0.113.9]:443",
        "64:ff9b::203.0.113.9",
        "64:ff9b::cb00:7109",
        "2002:cb00:7109::1",
        "2002:CB00:7109:ffff:1:2:3:4",
        "[2002:cb00:7109::]",
        "  203.0.113.9  ",
    ] {
        assert!(are_one("X-Forwarded-For", address, spelling).await, "{spelling}");
        assert!(are_one("X-Forwarded-For", spelling, address).await, "{spelling}");
    }
    for spelling in [
        r#"for="[2002:cb00:7109:1::1]""#,
        r#"For="203.0.113.9:4711";proto=https"#,
        "for=203.0.113.9",
        r#"FOR="[::ffff:cb00:7109]""#,
    ] {
        assert!(are_one("Forwarded", "for=203.0.113.9", spelling).await, "{spelling}");
    }
    for other in ["203.0.113.10", "::ffff:203.0.113.8", "64:ff9b::203.0.113.1", "2002:cb00:7108::1"] {
        assert!(!are_one("X-Forwarded-For", address, other).await, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_the_neighbours_of_a_64_are_one_and_those_of_another_are_not() {
    let address = "2001:db8:1:2::1";
    for same in [
        "2001:db8:1:2::2",
        "2001:DB8:1:2:ffff:ffff:ffff:ffff",
        "[2001:db8:1:2::9]:80",
        "2001:0db8:0001:0002::",
    ] {
        assert!(are_one("X-Forwarded-For", address, same).await, "{same}");
    }
    for other in ["2001:db8:1:3::1", "2001:db8:1:1:ffff::1", "2001:db8::1"] {
        assert!(!are_one("X-Forwarded-For", address, other).await, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_what_a_client_writes_before_the_proxy_does_moves_it_nowhere() {
    let server = Server::open(&BEHIND_A_PROXY).await;
    let _held = server.get(EVENTS, &[("X-Forwarded-For", "203.0.113.9")]).await;
    let long = (0..500).map(|n| format!("10.0.{}.{}", n / 250, n % 250)).collect::<Vec<_>>().join(", ");
    for forged in [
        "198.51.100.1",
        "127.0.0.1",
        "127.0.0.1, 127.0.0.1",
        "unknown",
        "\"",
        "for=198.51.100.1",
        ",,,",
        "198.51.100.1;",
        &long,
        "\\",
        "_hidden",
        "::1",
        "for=\"[::1",
        "198.51.100.1,",
    ] {
        let line = format!("{forged}, 203.0.113.9");
        let one = server.get(EVENTS, &[("X-Forwarded-For", &line)]).await.status;
        let two = server
            .get(EVENTS, &[("X-Forwarded-For", forged), ("X-Forwarded-For", "203.0.113.9")])
            .await
            .status;
        let hops =
            server.get(EVENTS, &[("X-Forwarded-For", &line), ("X-Forwarded-For", "127.0.0.1")]).await.status;
        assert_eq!((one, two, hops), (429, 429, 429), "{forged:.60}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_stranger_s_headers_give_it_no_second_place() {
    let server =
        Server::open(&["--trusted-proxies", "203.0.113.0/24", "--max-streams-per-address", "1"]).await;
    let _held = server.get(EVENTS, &[]).await;
    for (name, value) in [
        ("X-Forwarded-For", "198.51.100.1"),
        ("Forwarded", "for=198.51.100.2"),
        ("X-Real-IP", "198.51.100.3"),
        ("True-Client-IP", "198.51.100.4"),
        ("CF-Connecting-IP", "198.51.100.5"),
        ("X-Client-IP", "198.51.100.6"),
        ("X-Forwarded-For", "203.0.113.1, 198.51.100.7"),
        ("Forwarded", "for=198.51.100.8;by=203.0.113.1"),
        ("X-Cluster-Client-IP", "198.51.100.9"),
        ("Via", "1.1 203.0.113.1"),
    ] {
        let found = server.get(EVENTS, &[(name, value)]).await.status;
        assert_eq!(found, 429, "{name}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_tenant_under_all_spellings_of_its_path_has_one_place() {
    let server = with_tokens(&["--max-streams-per-tenant", "1"]).await;
    let token = bearer(&claims("acme"));
    let _held = server.get(EVENTS, &[("Authorization", &token)]).await;
    for target in [
        "/t/%61cme/events",
        "/t/acm%65/events",
        "/t/%61%63%6D%65/events",
        "/events",
        "http://other/t/acme/events",
        "/t/acme/events?from=earliest",
    ] {
        assert_eq!(server.get(target, &[("Authorization", &token)]).await.status, 429, "{target}");
    }
    // Other names, however alike, are other tenants: none of them takes acme's place, and its token opens none.
    for name in ["ACME", "acme ", "acme\u{200b}", "\u{ff41}cme", "\u{430}cme"] {
        let target = format!("/t/{}/events", in_path(name));
        assert_eq!(server.get(&target, &[("Authorization", &token)]).await.status, 403, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_subject_in_every_way_in_and_spelling_has_one_place() {
    let server = with_tokens(&["--max-streams-per-subject", "1", "--jwt-cookie", "session"]).await;
    let own = signed(&claims("acme"));
    let (header, cookie) = (format!("Bearer {own}"), format!("session={own}"));
    let _held = server.get(EVENTS, &[("Authorization", &header)]).await;
    assert_eq!(server.get(&format!("{EVENTS}?access_token={own}"), &[]).await.status, 429);
    assert_eq!(server.get(EVENTS, &[("Cookie", &cookie)]).await.status, 429);
    // Another token of the subject, with other claims.
    let mut other = claims("acme");
    other["tenant_id"] = json!(["acme", "globex"]);
    other["jti"] = json!("2");
    other["scope"] = json!("event:read:* event:unmask:acme");
    assert_eq!(server.get(EVENTS, &[("Authorization", &bearer(&other))]).await.status, 429);
    // An issuer decides what a subject is: what differs in one character is another, and never nobody's.
    for subject in ["ann ", "Ann", "a\u{300}nn", "\u{e0}nn", "ann\u{200b}", "ann\n", "\0"] {
        let mut other = claims("acme");
        other["sub"] = json!(subject);
        let token = bearer(&other);
        let first = server.get(EVENTS, &[("Authorization", &token)]).await;
        let second = server.get(EVENTS, &[("Authorization", &token)]).await;
        assert_eq!((first.status, second.status), (200, 429), "{subject:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_tokens_without_a_subject_are_one_subject_whatever_stands_there() {
    let server = with_tokens(&["--max-streams-per-subject", "1"]).await;
    let mut none = claims("acme");
    none.as_object_mut().unwrap().remove("sub");
    let _held = server.get(EVENTS, &[("Authorization", &bearer(&none))]).await;
    assert_eq!(_held.status, 200);
    for subject in [json!(""), Value::Null, json!(7), json!(["ann"]), json!({"a": 1}), json!(true)] {
        let mut odd = claims("acme");
        odd["sub"] = subject.clone();
        let found = server.get(EVENTS, &[("Authorization", &bearer(&odd))]).await.status;
        assert!(matches!(found, 401 | 429), "{subject}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_reconnect_over_the_limit_takes_no_place_and_ends() {
    let server = Server::open(&["--max-streams-per-tenant", "1"]).await;
    let held = server.get(EVENTS, &[]).await;
    for _ in 0..20 {
        let mut back = server.get(EVENTS, &[("Last-Event-ID", "ARcwjQEPT5XBdEAEdHd3cgOedQ")]).await;
        assert_eq!(back.next().await.unwrap().json()["code"], "too_many_streams");
        assert!(back.next().await.is_none() && back.ended);
    }
    drop(held);
    let is_free = async || server.get(EVENTS, &[]).await.status == 200;
    eventually("the only place is free", is_free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_the_same_conditions_in_another_order_are_one_filter_and_other_ones_are_not() {
    let server = Server::open(&["--max-conditions-per-tenant", "2"]).await;
    let (a, b) = ("where=value.a!%3D1", "where=value.b!%3D1");
    let _held = server.get(&format!("{EVENTS}?{a}&{b}"), &[]).await;
    for same in [
        format!("{a}&{b}"),
        format!("{b}&{a}"),
        format!("{b}&{a}&{b}"),
        format!("{b}&{a}&retry=1s"),
        format!("{a}&%77here=value.b!%3D1"),
        format!("{a}&where=(value.b!%3D1)"),
    ] {
        let stream = server.get(&format!("{EVENTS}?{same}"), &[]).await;
        assert_eq!(stream.status, 200, "{same}");
    }
    for other in [
        format!("{a}&{b}&topic=orders"),
        format!("{a}&{b}&envelope=record"),
        a.to_owned(),
        "where=value/a!%3D1".to_owned(),
        "where=(value.a!%3D1|value.b!%3D1)".to_owned(),
    ] {
        let (status, _, body) = answer(server.address, "GET", &format!("{EVENTS}?{other}"), &[]).await;
        assert_eq!((status, &body["limit"]), (429, &json!("max_conditions_per_tenant")), "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_one_filter_with_two_views_counts_twice() {
    let server = with_tokens(&["--max-conditions-per-tenant", "1", "--mask", "orders=/card:redact"]).await;
    let masked = bearer(&claims("acme"));
    let mut all = claims("acme");
    all["scope"] = json!("event:read:acme event:unmask:acme");
    let unmasked = bearer(&all);
    let target = format!("{EVENTS}?where=value.n!%3D1");
    let _held = server.get(&target, &[("Authorization", &masked)]).await;
    // Who sees what is masked has a view of its own: each record is compared once more.
    assert_eq!(server.get(&target, &[("Authorization", &unmasked)]).await.status, 429);
    assert_eq!(server.get(&target, &[("Authorization", &masked)]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_masked_one_filter_is_one_view_whatever_the_token_may_see() {
    let server = with_tokens(&["--max-conditions-per-tenant", "1"]).await;
    let mut all = claims("acme");
    all["scope"] = json!("event:read:acme event:unmask:acme");
    let target = format!("{EVENTS}?where=value.n!%3D1");
    let _held = server.get(&target, &[("Authorization", &bearer(&claims("acme")))]).await;
    assert_eq!(server.get(&target, &[("Authorization", &bearer(&all))]).await.status, 200);
}

/// A client that takes a little less than a second's worth, leaves, and comes back at once, so many times.
async fn comes_back(server: &Server, target: &str, times: usize) -> Duration {
    let begin = Instant::now();
    for _ in 0..times {
        Browser::open(server, target).await.until_synced().await;
        // Until the server has noticed that it left.
        let none_left = async || listed(server).await == 0;
        eventually("it has left", none_left).await;
    }
    begin.elapsed()
}

async fn with_records(flags: &[&str]) -> Server {
    let server = Server::open(flags).await;
    let rules = Rules::headers();
    for _ in 0..200 {
        rules.produce(&server, "orders", &Written::value("x".repeat(1_000))).unwrap();
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_tenant_leaves_before_its_second_s_worth_of_bytes_is_used_up_and_begins_anew() {
    let server = with_records(&["--tenant-byte-rate", "256kB/s"]).await;
    // Six times 200 kB, of which a second's worth comes at once.
    let took = comes_back(&server, &format!("{EVENTS}?from=earliest"), 6).await;
    assert!(took > Duration::from_millis(2_500), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_tenant_leaves_before_its_second_s_worth_of_events_is_used_up_and_begins_anew() {
    let server = with_records(&["--tenant-event-rate", "250/s"]).await;
    let took = comes_back(&server, &format!("{EVENTS}?from=earliest"), 6).await;
    assert!(took > Duration::from_millis(2_500), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_tenant_leaves_before_its_second_s_worth_of_replay_is_used_up_and_begins_anew() {
    let server = with_records(&["--replay-byte-rate-per-tenant", "250kB/s"]).await;
    let took = comes_back(&server, &format!("{EVENTS}?from=earliest&where=value.none=1"), 6).await;
    assert!(took > Duration::from_millis(2_500), "{took:?}");
}

/// A Kafka whose reads take a while and give 200 kB of others' records each; it counts those that have begun.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicUsize>);

impl Source for Slow {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let begun = Arc::clone(&self.0);
        async move {
            begun.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(150)).await;
            let (mut builder, value) = (SegmentBuilder::new(read.from), [b'x'; 1_000]);
            let until = read.until.min(read.from + 200);
            for offset in read.from..until {
                builder.push(&NewRecord {
                    offset,
                    epoch: 0,
                    timestamp: 1_700_000_000_000,
                    key: None,
                    value: Some(&value),
                    headers: Headers::default(),
                    tenant: TenantId::new("other").unwrap(),
                    event_type: None,
                    form: tailrace_bridge::Form::default(),
                });
            }
            Ok(builder.finish(Position { offset: until, epoch: 0 }))
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
async fn attack_a_tenant_leaves_before_kafka_has_answered_and_pays_for_no_read() {
    let source = Slow::default();
    let flags = ["--auth", "none", "--replay-byte-rate-per-tenant", "100kB/s"];
    let server = Server::over(Arc::new(source.clone()), &[10_000_000], "header:tenant", &flags).await;
    server.bridge.health().set_ready();
    let begin = Instant::now();
    for n in 1.. {
        // Another place each time, or it would be read already.
        let fingerprint = Fingerprint::new("orders", TopicId([7; 16]));
        let positions = vec![Position { offset: n * 10_000, epoch: -1 }];
        let (mut id, vector) = (String::new(), Vector { parts: vec![Part { fingerprint, positions }] });
        EventId::encode(&mut id, 30_000_000, &vector, None);
        let before = source.0.load(Ordering::Relaxed);
        let client = server.get(&format!("{EVENTS}?from={id}&where=value.none%3E{n}"), &[]).await;
        assert_eq!(client.status, 200);
        while source.0.load(Ordering::Relaxed) == before && begin.elapsed() < Duration::from_secs(3) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        drop(client);
        if begin.elapsed() >= Duration::from_secs(3) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // A second's worth at once and three seconds' worth: 400 kB, and what was begun before it was paid.
    let reads = source.0.load(Ordering::Relaxed);
    assert!((1..=5).contains(&reads), "{reads} reads of 200 kB in {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_thirty_two_clients_that_come_reset_and_race_leave_every_place_free() {
    let flags = [
        "--max-streams",
        "8",
        "--max-streams-per-tenant",
        "6",
        "--max-streams-per-address",
        "7",
        "--max-conditions-per-tenant",
        "6",
        "--max-streams-per-subject",
        "5",
        "--max-replays-per-tenant",
        "4",
    ];
    let server = with_tokens(&flags).await;
    let rules = Rules::headers();
    rules.produce(&server, "orders", &Written::value("{\"n\":1}")).unwrap();
    let token = bearer(&claims("acme"));
    let racer = async |racer: usize| {
        for n in 0..25 {
            let query =
                ["from=earliest", "where=value.n!%3D1", "from=-5", "where=value.n!%3D2", "topic=nosuch", ""]
                    [(racer + n) % 6];
            let request =
                format!("GET {EVENTS}?{query} HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\n");
            let mut socket = TcpStream::connect(server.address).await.unwrap();
            socket.write_all(request.as_bytes()).await.unwrap();
            match (racer * 7 + n) % 4 {
                0 => {}
                1 => socket.set_zero_linger().unwrap(),
                2 => drop(Client::answer(socket).await),
                _ => {
                    let client = Client::answer(socket).await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    client.socket.set_zero_linger().unwrap();
                }
            }
        }
    };
    join_all((0..32).map(racer)).await;
    let all_free = async || {
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(
                server.get(&format!("{EVENTS}?where=value.z!%3D1"), &[("Authorization", &token)]).await,
            );
        }
        // Five by the subject, and no other limit is reached before it.
        held.iter().filter(|client| client.status == 200).count() == 5
    };
    eventually("all places are free", all_free).await;
    let none_left = async || listed(&server).await == 0;
    eventually("nobody is listed", none_left).await;
}
