//! HTTP over real sockets: streams, refusals, limits, drain, and what peers may try.

mod support;

use std::time::{Duration, Instant};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::{Client, SECRET, Server, args};
use tailrace_bridge::{Start, Status, TopicId, Unserved};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const EVENTS: &str = "/t/acme/events";

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn token(claims: Value) -> String {
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn acme(lifetime: i64) -> String {
    token(json!({"tenant_id": "acme", "scope": "x event:read:acme", "exp": now() as i64 + lifetime}))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn jwt(flags: &[&str]) -> Server {
    Server::start(&[&["--auth", "jwt", "--jwt-secret", SECRET], flags].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_with_retry_and_id_and_gives_only_its_tenants_records() {
    let mut server = Server::open(&[]).await;
    let mut client = server.get(EVENTS, &[]).await;
    assert_eq!(client.status, 200);
    assert_eq!(client.headers["content-type"], "text/event-stream");
    assert_eq!(client.headers["cache-control"], "no-store, no-transform");
    assert_eq!(client.headers["x-accel-buffering"], "no");
    let priming = client.next().await.unwrap();
    assert!(priming.id.is_some() && priming.data.is_none() && priming.event.is_none());
    let retry = priming.retry.unwrap();
    assert!((1000..3000).contains(&retry), "{retry}");
    server.append("acme", "one");
    server.append("other", "two");
    server.append("acme", "three");
    let one = client.next_record().await;
    assert_eq!(one.data.as_deref(), Some("one"));
    assert_eq!(client.next_record().await.data.as_deref(), Some("three"));
    let mut again = server.get(EVENTS, &[("Last-Event-ID", &one.id.unwrap())]).await;
    assert_eq!(again.next_record().await.data.as_deref(), Some("three"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_wins_over_the_parameter_and_an_empty_one_is_none() {
    let mut server = Server::open(&[]).await;
    server.append("acme", "one");
    server.append("acme", "two");
    let mut client = server.get(&format!("{EVENTS}?from=earliest"), &[]).await;
    let (first, second) = (client.next_record().await.id.unwrap(), client.next_record().await.id.unwrap());
    let target = format!("{EVENTS}?last_event_id={second}");
    let mut by_header = server.get(&target, &[("Last-Event-ID", &first)]).await;
    assert_eq!(by_header.next_record().await.data.as_deref(), Some("two"));
    let mut by_parameter =
        server.get(&format!("{EVENTS}?last_event_id={first}"), &[("Last-Event-ID", "")]).await;
    assert_eq!(by_parameter.next_record().await.data.as_deref(), Some("two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_parameter_is_400_with_the_nearest_name() {
    let server = Server::open(&[]).await;
    let mut client = server.get(&format!("{EVENTS}?topics=orders"), &[]).await;
    assert_eq!(client.status, 400);
    assert_eq!(client.headers["content-type"], "application/problem+json");
    let problem = client.json().await;
    assert_eq!(problem["parameter"], "topics");
    assert!(problem["detail"].as_str().unwrap().contains("\"topic\""), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_parameter_is_named() {
    let server = Server::open(&[]).await;
    for (query, parameter) in [
        ("from=yesterday-ish", "from"),
        ("envelope=xml", "envelope"),
        ("heartbeat=1ms", "heartbeat"),
        ("retry=soon", "retry"),
        ("from=latest&from=earliest", "from"),
        ("conflate=topic", "conflate"),
        ("where=nonsense", "where"),
        ("topic=", "topic"),
        ("key=%ff", "key"),
    ] {
        let mut client = server.get(&format!("{EVENTS}?{query}"), &[]).await;
        assert_eq!(client.status, 400, "{query}");
        assert_eq!(client.json().await["parameter"], parameter, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_cannot_be_read_is_pointed_at_by_column() {
    let server = Server::open(&[]).await;
    let mut client = server.get(&format!("{EVENTS}?where=key%3Da&where=value.user"), &[]).await;
    assert_eq!(client.status, 400);
    let problem = client.json().await;
    assert_eq!((problem["parameter"].as_str(), problem["index"].as_u64()), (Some("where"), Some(1)));
    assert!(problem["column"].as_u64().unwrap() >= 1, "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_route_or_method_has_its_own_status() {
    let server = Server::open(&[]).await;
    let mut client = server.get(&format!("{EVENTS}?topic=nope"), &[]).await;
    assert_eq!((client.status, client.json().await["topic"].as_str()), (404, Some("nope")));
    let mut client = server.get("/nowhere", &[]).await;
    assert_eq!((client.status, client.json().await["code"].as_str()), (404, Some("not_found")));
    let client = Client::request(server.address, "POST", EVENTS, &[("Content-Length", "0")]).await;
    assert_eq!(client.status, 405);
    assert!(client.headers["allow"].contains("GET"));
    let client = Client::request(server.address, "HEAD", EVENTS, &[]).await;
    assert_eq!((client.status, client.headers["content-type"].as_str()), (200, "text/event-stream"));
    assert!(!client.headers.contains_key("content-length"), "a stream has none");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_percent_decoded_and_wrong_ones_are_400() {
    let mut server = Server::open(&[]).await;
    let mut client = server.get("/t/a%2Fb%20%C3%BC/events?from=latest", &[]).await;
    assert_eq!(client.status, 200);
    client.next().await.unwrap();
    server.append("a/b ü", "mine");
    assert_eq!(client.next_record().await.data.as_deref(), Some("mine"));
    for wrong in ["*", "%2a", "%ff", "%00", &"x".repeat(129)] {
        assert_eq!(server.get(&format!("/t/{wrong}/events"), &[]).await.status, 400, "{wrong}");
    }
    assert_eq!(server.get("/events", &[]).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_tenant_the_stream_is_plain() {
    let server = Server::cold("none", &["--auth", "none"]).await;
    server.bridge.health().set_ready();
    assert_eq!(server.get("/events", &[]).await.status, 200);
    assert_eq!(server.get("/t/default/events", &[]).await.status, 200);
    assert_eq!(server.get(EVENTS, &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_its_own_tenant_alone() {
    let server = jwt(&[]).await;
    let good = acme(60);
    assert_eq!(server.get(EVENTS, &[("Authorization", &bearer(&good))]).await.status, 200);
    assert_eq!(server.get(&format!("{EVENTS}?access_token={good}"), &[]).await.status, 200);
    assert_eq!(server.get("/events", &[("Authorization", &bearer(&good))]).await.status, 200);
    assert_eq!(server.get("/t/other/events", &[("Authorization", &bearer(&good))]).await.status, 403);
    let none = server.get(EVENTS, &[]).await;
    assert_eq!(none.status, 401);
    assert!(none.headers["www-authenticate"].starts_with("Bearer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_valid_is_401_and_one_without_the_scope_403() {
    let server = jwt(&["--jwt-issuer", "us", "--jwt-audience", "tailrace"]).await;
    let base = json!({"tenant_id": "acme", "scope": ["event:read:acme"], "exp": now() + 60, "iss": "us", "aud": "tailrace"});
    let with = |name: &str, value: Value| {
        let mut claims = base.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        token(claims)
    };
    // Some issuers call the scopes otherwise.
    let renamed = |name: &str, value: Value| {
        let mut claims = base.clone();
        drop(claims.as_object_mut().unwrap().remove("scope"));
        claims[name] = value;
        token(claims)
    };
    let foreign =
        jsonwebtoken::encode(&Header::default(), &base, &EncodingKey::from_secret(b"another")).unwrap();
    let none_alg = format!("eyJhbGciOiJub25lIn0.{}.", with("iss", json!("us")).split('.').nth(1).unwrap());
    let cases = [
        (token(base.clone()), 200),
        (with("exp", json!(now() - 60)), 401),
        (with("exp", Value::Null), 401),
        (with("exp", json!("soon")), 401),
        (with("nbf", json!(now() + 60)), 401),
        (with("iss", json!("them")), 401),
        (with("iss", Value::Null), 401),
        (with("aud", json!("other")), 401),
        (with("aud", Value::Null), 401),
        (foreign, 401),
        (none_alg, 401),
        ("rubbish".to_owned(), 401),
        (with("scope", json!("event:read:other")), 403),
        (with("scope", Value::Null), 403),
        (with("scope", json!(["x event:read:acme"])), 200),
        (with("scp", json!("event:read:other")), 200),
        (renamed("scp", json!("x event:read:acme")), 200),
        (renamed("scp", json!(["x", "event:read:acme"])), 200),
        (renamed("scp", json!(["event:read:other"])), 403),
        (renamed("scopes", json!("event:read:acme")), 403),
        (with("tenant_id", Value::Null), 403),
        (with("tenant_id", json!(["other", "acme"])), 200),
    ];
    for (token, status) in cases {
        let client = server.get(EVENTS, &[("Authorization", &bearer(&token))]).await;
        assert_eq!(client.status, status, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_ids_would_not_come_back_is_refused_at_once() {
    let server = Server::open(&["--max-id-size", "256B"]).await;
    let starts = vec![Start { offset: 1 << 30, epoch: 3, log_start: 0 }; 100];
    server.bridge.add_topic("wide", TopicId([8; 16]), &starts);
    let mut client = server.get(EVENTS, &[]).await;
    let problem = client.json().await;
    assert_eq!((client.status, problem["code"].as_str()), (400, Some("too_many_partitions")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("101 partitions") && detail.contains("256 bytes") && detail.contains("topic="),
        "{detail}"
    );
    assert_eq!(server.get("/t/acme/events?topic=orders", &[]).await.status, 200);
    // Whoever comes with an id has shown that it comes through; partitions may have been added since.
    assert_eq!(server.get(EVENTS, &[("Last-Event-ID", "an-id")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_served_says_why_and_who_comes_back_waits() {
    let server = Server::open(&[]).await;
    let unserved = [("secret".to_owned(), Unserved::Forbidden), ("later".to_owned(), Unserved::Missing)];
    server.bridge.set_unserved(unserved.into());
    for (topic, status, code) in [("secret", 403, "forbidden_topic"), ("later", 404, "missing_topic")] {
        let path = format!("/t/acme/events?topic={topic}");
        let mut client = server.get(&path, &[]).await;
        assert_eq!((client.status, client.json().await["code"].as_str()), (status, Some(code)));
        let mut client = server.get(&path, &[("Last-Event-ID", "an-id")]).await;
        assert_eq!(client.status, 200);
        assert_eq!(client.next_is("tailrace.error").await.json()["code"], "not_ready");
    }
    assert_eq!(server.get(EVENTS, &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_does() {
    let server = jwt(&[]).await;
    // Thirty seconds are given to clocks that differ.
    let mut client = server.get(EVENTS, &[("Authorization", &bearer(&acme(-29)))]).await;
    let last = client.next_is("tailrace.error").await;
    assert_eq!(last.json()["code"], "token_expired");
    assert!(last.id.is_some() && last.retry.is_some());
    assert_eq!(client.next().await, None);
    assert!(client.ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_readiness_a_newcomer_gets_503_and_a_reconnect_one_block() {
    let server = Server::cold("header:tenant", &["--auth", "none"]).await;
    let mut newcomer = server.get(EVENTS, &[]).await;
    assert_eq!(newcomer.status, 503);
    assert!(newcomer.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    assert_eq!(newcomer.json().await["code"], "not_ready");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut back = server.get(EVENTS, &[("Last-Event-ID", "some-id"), ("traceparent", trace)]).await;
    assert_eq!((back.status, back.headers["content-type"].as_str()), (200, "text/event-stream"));
    let block = back.next().await.unwrap();
    assert_eq!((block.event.as_deref(), block.id.as_deref()), (Some("tailrace.error"), Some("some-id")));
    assert_eq!(block.json()["code"], "not_ready");
    assert_eq!(block.json()["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(block.json()["retry_ms"].as_u64(), block.retry);
    assert_eq!(back.next().await, None);
    server.bridge.health().set_ready();
    assert_eq!(server.get(EVENTS, &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_limit_a_newcomer_gets_429_and_a_reconnect_one_block() {
    for flag in ["--max-streams", "--max-streams-per-tenant", "--max-streams-per-address"] {
        let server = Server::open(&[flag, "1"]).await;
        let mut first = server.get(EVENTS, &[]).await;
        first.next().await.unwrap();
        let second = server.get(EVENTS, &[]).await;
        assert_eq!(second.status, 429, "{flag}");
        assert!(second.headers.contains_key("retry-after"));
        let mut back = server.get(&format!("{EVENTS}?last_event_id=abc"), &[]).await;
        let block = back.next().await.unwrap();
        assert_eq!((back.status, block.json()["code"].as_str().unwrap()), (200, "too_many_streams"));
        assert_eq!(block.id.as_deref(), Some("abc"));
        drop(first);
        let free = Instant::now() + Duration::from_secs(5);
        while server.get(EVENTS, &[]).await.status != 200 {
            assert!(Instant::now() < free, "the place was not given back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_connect_rate_a_newcomer_gets_429_and_a_reconnect_one_block() {
    for flag in ["--connect-rate-per-tenant", "--connect-rate-per-address"] {
        let server = Server::open(&[flag, "2/m"]).await;
        let statuses = [server.get(EVENTS, &[]).await.status, server.get(EVENTS, &[]).await.status];
        assert!(statuses.contains(&429), "{flag} {statuses:?}");
        let mut back = server.get(EVENTS, &[("Last-Event-ID", "abc")]).await;
        assert_eq!(back.next().await.unwrap().json()["code"], "rate_limited");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_cannot_stand_in_a_header_is_not_sent_back() {
    let server = Server::cold("header:tenant", &["--auth", "none"]).await;
    let mut back = server.get(&format!("{EVENTS}?last_event_id=a%0Adata:%20forged"), &[]).await;
    let block = back.next().await.unwrap();
    assert_eq!((block.id, block.event.as_deref()), (None, Some("tailrace.error")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_may_read_and_another_may_not() {
    let server = Server::open(&["--cors-origins", "https://app.example.com,http://localhost:*"]).await;
    for (origin, allowed) in
        [("https://app.example.com", true), ("http://localhost:5173", true), ("https://evil.example", false)]
    {
        let client = server.get(EVENTS, &[("Origin", origin)]).await;
        let header = client.headers.get("access-control-allow-origin").map(String::as_str);
        assert_eq!(header, allowed.then_some(origin));
    }
    let ask = [
        ("Origin", "http://localhost:5173"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "last-event-id"),
    ];
    let preflight = Client::request(server.address, "OPTIONS", EVENTS, &ask).await;
    assert_eq!(preflight.status, 200);
    assert!(preflight.headers["access-control-allow-headers"].contains("last-event-id"));
    // What goes wrong must be readable for the page, too.
    let wrong = server.get(&format!("{EVENTS}?nope=1"), &[("Origin", "https://app.example.com")]).await;
    assert_eq!((wrong.status, wrong.headers.contains_key("access-control-allow-origin")), (400, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_is_a_comment_an_id_or_an_event() {
    let mut server = Server::open(&["--heartbeat", "150ms"]).await;
    server.append("acme", "before");
    let mut quiet = server.get(EVENTS, &[]).await;
    let mut scripted = server.get(&format!("{EVENTS}?heartbeat=event"), &[]).await;
    let first = quiet.next().await.unwrap().id.unwrap();
    let mut beat = quiet.next().await.unwrap();
    while beat.is("tailrace.synced") {
        beat = quiet.next().await.unwrap();
    }
    assert_eq!((beat.comments, beat.id, beat.event), (1, None, None));
    assert!(
        scripted.next_is("tailrace.heartbeat").await.json()["time"].as_u64().unwrap() / 1000 >= now() - 5
    );
    server.append("other", "not yours");
    let progress = loop {
        let block = quiet.next().await.unwrap();
        if block.id.is_some() {
            break block;
        }
    };
    assert_eq!((progress.data, progress.event), (None, None));
    assert_ne!(progress.id.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_status_reaches_every_stream_and_newcomers_are_told() {
    let mut server = Server::open(&[]).await;
    server.append("acme", "before");
    let mut client = server.get(EVENTS, &[]).await;
    client.next().await.unwrap();
    server.bridge.health().set_status(Status::KafkaUnavailable);
    assert_eq!(client.next_is("tailrace.status").await.json()["code"], "kafka_unavailable");
    let mut late = server.get(EVENTS, &[]).await;
    assert!(late.next().await.unwrap().id.is_some());
    assert_eq!(late.next_is("tailrace.status").await.json()["code"], "kafka_unavailable");
    server.bridge.health().set_status(Status::Ok);
    assert_eq!(client.next_is("tailrace.status").await.json()["code"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_tenant_that_nobody_writes_is_told_so() {
    let mut server = Server::open(&[]).await;
    let mut typo = server.get("/t/acmee/events", &[]).await;
    let status = typo.next_is("tailrace.status").await.json();
    assert_eq!(status["code"], "ok", "nothing is wrong with the stream");
    assert!(status["message"].as_str().unwrap().contains("\"acmee\""), "{status}");
    server.append("acme", "one");
    let mut known = server.get("/t/acme/events?from=-1", &[]).await;
    let mut back = server.get("/t/other/events", &[("Last-Event-ID", "abc")]).await;
    server.append("acme", "two");
    server.append("other", "two");
    for client in [&mut known, &mut back] {
        let mut block = client.next().await.unwrap();
        while block.data.as_deref() != Some("two") {
            assert!(!block.is("tailrace.status"), "{block:?}");
            block = client.next().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_its_rate_is_paced_and_gets_everything() {
    let mut server = Server::open(&["--stream-event-rate", "20/s"]).await;
    let mut client = server.get(EVENTS, &[]).await;
    client.next().await.unwrap();
    for n in 0..60 {
        server.append("acme", &n.to_string());
    }
    let begin = Instant::now();
    for n in 0..60 {
        assert_eq!(client.next_record().await.data.unwrap(), n.to_string());
    }
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(6), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_its_bytes_is_paced_and_gets_everything() {
    let mut server = Server::open(&["--stream-byte-rate", "4KiB/s"]).await;
    let mut client = server.get(EVENTS, &[]).await;
    client.next().await.unwrap();
    let value = "x".repeat(2000);
    let begin = Instant::now();
    for _ in 0..6 {
        server.append("acme", &value);
    }
    for _ in 0..6 {
        assert_eq!(client.next_record().await.data.unwrap().len(), 2000);
    }
    assert!(begin.elapsed() > Duration::from_millis(800), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_stream_is_ended_with_an_id_to_come_back_with() {
    let server = Server::open(&["--max-connection-age", "300ms"]).await;
    let mut client = server.get(EVENTS, &[]).await;
    let last = client.next_is("tailrace.drain").await;
    assert_eq!(last.json()["code"], "max_age");
    assert!(last.id.is_some());
    assert_eq!(client.next().await, None);
    assert!(client.ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_every_stream_cleanly_and_refuses_what_comes_then() {
    let mut server = Server::open(&["--drain-delay", "500ms", "--drain-timeout", "10s"]).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = server.get(EVENTS, &[]).await;
        client.next().await.unwrap();
        clients.push(client);
    }
    server.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let readyz = Client::request(server.admin, "GET", "/readyz", &[]).await;
    assert_eq!(readyz.status, 503, "readiness is red from the first moment");
    let mut late = server.get(EVENTS, &[]).await;
    assert_eq!(late.status, 200, "in the delay streams are still taken");
    late.next().await.unwrap();
    clients.push(late);
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert_eq!(server.get(EVENTS, &[]).await.status, 503);
    let mut back = server.get(EVENTS, &[("Last-Event-ID", "abc")]).await;
    assert_eq!(back.next().await.unwrap().json()["code"], "draining");
    for mut client in clients {
        let last = client.next_is("tailrace.drain").await;
        assert_eq!(last.json()["code"], "draining");
        assert_eq!(last.json()["retry_ms"].as_u64(), last.retry);
        assert!(last.id.is_some());
        assert_eq!(client.next().await, None);
        assert!(client.ended, "the end is clean");
    }
    tokio::time::timeout(Duration::from_secs(5), server.running).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_cannot_hold_up_the_drain() {
    let mut server = Server::open(&["--drain-delay", "0s", "--drain-timeout", "1s"]).await;
    let client = server.get(EVENTS, &[]).await;
    let value = "x".repeat(100_000);
    for _ in 0..100 {
        server.append("acme", &value);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begin = Instant::now();
    server.stop();
    tokio::time::timeout(Duration::from_secs(10), server.running).await.unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(7));
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_up_to_16_kib_are_taken_and_a_flood_is_431() {
    let server = Server::open(&[]).await;
    let long = "A".repeat(16_000);
    let mut client = server.get(EVENTS, &[("Last-Event-ID", &long)]).await;
    assert_eq!(client.status, 200);
    assert!(client.next().await.unwrap().id.is_some());
    let flood = "A".repeat(100_000);
    assert_eq!(server.get(EVENTS, &[("X-Flood", &flood)]).await.status, 431);
    let many: Vec<(String, String)> = (0..500).map(|n| (format!("X-{n}"), "a".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(server.get(EVENTS, &many).await.status, 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_and_an_idle_connection_are_closed() {
    let server = Server::open(&[]).await;
    let beginnings: [&[u8]; 4] =
        [b"", b"PRI * HT", b"GET /t/acme/eve", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"];
    let mut sockets = Vec::new();
    for bytes in beginnings {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        sockets.push(socket);
    }
    // A connection kept alive after its answer.
    let mut kept = server.get("/nowhere", &[]).await;
    kept.body().await;
    sockets.push(kept.socket);
    for mut socket in sockets {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(16), socket.read_to_end(&mut rest));
        let _ = read.await.expect("closed in time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_stream_is_closed() {
    let server = Server::open(&[]).await;
    let mut client = server.get(EVENTS, &[]).await;
    client.next().await.unwrap();
    client.socket.shutdown().await.unwrap();
    let closed =
        tokio::time::timeout(Duration::from_secs(5), async { while client.next().await.is_some() {} });
    closed.await.expect("the server closes its side");
}

/// Answers that were asked for in one go and are not read yet must not be cut short by the stream that follows them.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_asked_for_behind_other_requests_comes_after_their_answers() {
    const OTHERS: usize = 300;
    let server = Server::open(&[]).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut socket = socket.connect(server.address).await.unwrap();
    let other = "GET /tailrace.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(OTHERS);
    let all = format!("{other}GET {EVENTS} HTTP/1.1\r\nHost: x\r\n\r\n");
    socket.write_all(all.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut read = Vec::new();
    let mut next = async |read: &mut Vec<u8>| {
        let mut buffer = [0; 16 * 1024];
        let count = tokio::time::timeout(Duration::from_secs(5), socket.read(&mut buffer)).await;
        let count = count.expect("there is more").unwrap();
        assert!(count > 0, "the connection is open");
        read.extend_from_slice(&buffer[..count]);
    };
    for _ in 0..=OTHERS {
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            next(&mut read).await;
        };
        let head = String::from_utf8(read.drain(..end).collect()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let Some((_, length)) = head.split_once("content-length: ") else {
            assert!(head.contains("text/event-stream"), "{head}");
            break;
        };
        let length: usize = length.split('\r').next().unwrap().parse().unwrap();
        while read.len() < length {
            next(&mut read).await;
        }
        read.drain(..length);
    }
    while !read.windows(4).any(|four| four == b"\nid:") {
        next(&mut read).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_with_prior_knowledge_streams_and_has_no_connection_header() {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let mut server = Server::open(&[]).await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request =
        hyper::Request::get(format!("http://{}{EVENTS}", server.address)).body(Empty::<bytes::Bytes>::new());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("connection"));
    let mut body = response.into_body();
    let mut text = String::new();
    let mut appended = false;
    while !text.contains("data: over h2") {
        let frame =
            tokio::time::timeout(Duration::from_secs(5), body.frame()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        if !appended {
            server.append("acme", "over h2");
            appended = true;
        }
    }
    let first = text.trim_start_matches([':', ' ', '\n']);
    assert!(first.starts_with("retry: ") || first.starts_with("id: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_there_only_where_anybody_may_read() {
    let open = Server::open(&[]).await;
    let page = open.get("/", &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.headers["content-security-policy"].contains("frame-ancestors 'none'"));
    assert!(open.get("/tailrace.js", &[]).await.headers["content-type"].starts_with("text/javascript"));
    assert_eq!(jwt(&[]).await.get("/", &[]).await.status, 404);
    assert_eq!(jwt(&["--console", "on"]).await.get("/", &[]).await.status, 200);
    assert_eq!(Server::open(&["--console", "off"]).await.get("/", &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_s_names_are_told_only_where_anybody_may_read() {
    let open = Server::open(&[]).await;
    let mut names = open.get("/console.json", &[]).await;
    assert_eq!(names.status, 200);
    assert_eq!(names.headers["content-type"], "application/json");
    assert_eq!(names.headers["cache-control"], "no-store");
    assert_eq!(names.json().await, json!({"topics": ["orders"], "tenants": [], "boards": [], "start": null}));
    let mut names = jwt(&["--console", "on"]).await.get("/console.json", &[]).await;
    assert_eq!(names.status, 200);
    assert_eq!(names.json().await, json!({"topics": [], "tenants": [], "boards": [], "start": null}));
    assert_eq!(jwt(&[]).await.get("/console.json", &[]).await.status, 404);
    assert_eq!(Server::open(&["--console", "off"]).await.get("/console.json", &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_readiness_with_its_reasons_and_the_metrics() {
    let server = Server::cold("header:tenant", &["--auth", "none"]).await;
    assert_eq!(Client::request(server.admin, "GET", "/healthz", &[]).await.status, 200);
    server.bridge.health().set_reasons(vec!["no broker answers".to_owned()]);
    let mut readyz = Client::request(server.admin, "GET", "/readyz", &[]).await;
    assert_eq!(readyz.status, 503);
    assert!(readyz.body().await.contains("no broker answers"));
    server.bridge.health().set_ready();
    server.bridge.health().set_notes(vec!["topic missing: x".to_owned()]);
    let mut readyz = Client::request(server.admin, "GET", "/readyz", &[]).await;
    assert_eq!(readyz.status, 200);
    assert!(readyz.body().await.contains("topic missing: x"));
    assert_eq!(server.get("/metrics", &[]).await.status, 404, "not on the public address");
    let mut client = server.get(EVENTS, &[]).await;
    client.next().await.unwrap();
    assert!(server.metric("tailrace_streams_accepted_total").await >= 1.0);
    assert!(server.metric("tailrace_streams ").await >= 1.0);
    assert!(server.metric("tailrace_sent_bytes_total").await > 0.0);
    for name in [
        "tailrace_streams_refused_total{reason=\"draining\"}",
        "tailrace_streams_closed_total{reason=\"drain\"}",
    ] {
        server.metric(name).await;
    }
}

#[test]
fn a_wrong_setting_names_its_variable_its_value_and_what_is_accepted() {
    for (flag, value, variable) in [
        ("--listen", "nowhere", "TAILRACE_LISTEN"),
        ("--auth", "basic", "TAILRACE_AUTH"),
        ("--heartbeat", "15", "TAILRACE_HEARTBEAT"),
        ("--heartbeat", "1ms", "TAILRACE_HEARTBEAT"),
        ("--max-streams", "-1x", "TAILRACE_MAX_STREAMS"),
        ("--connect-rate-per-tenant", "fast", "TAILRACE_CONNECT_RATE_PER_TENANT"),
        ("--cors-origins", "localhost", "TAILRACE_CORS_ORIGINS"),
        ("--console", "maybe", "TAILRACE_CONSOLE"),
        ("--envelope", "xml", "TAILRACE_ENVELOPE"),
        ("--jwt-public-key-file", "/key.pem", "TAILRACE_JWT_PUBLIC_KEY_FILE"),
        ("--jwt-tenant-claim", "", "TAILRACE_JWT_TENANT_CLAIM"),
    ] {
        let pair = format!("{flag}={value}");
        let secret = ["--jwt-secret", SECRET];
        let flags: Vec<&str> = secret.into_iter().chain([pair.as_str()]).collect();
        let error = args(&flags).settings().err().unwrap_or_else(|| panic!("{pair} was taken"));
        assert_eq!((error.variable, error.value.as_str()), (variable, value));
        assert!(!error.accepted.is_empty());
    }
}

#[test]
fn without_a_key_nothing_starts_and_a_short_secret_is_not_repeated() {
    assert_eq!(args(&[]).settings().err().unwrap().variable, "TAILRACE_JWT_SECRET");
    let error = args(&["--jwt-secret", "short"]).settings().err().unwrap();
    assert!(!error.to_string().contains("short\""), "{error}");
    assert!(args(&["--auth", "none"]).settings().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_escaped_is_answered_with_its_escape() {
    let server = Server::open(&[]).await;
    let mut raw = server.get(&format!("{EVENTS}?where=value.total>100"), &[]).await;
    assert_eq!((raw.status, raw.headers["content-type"].as_str()), (400, "application/problem+json"));
    let problem = raw.json().await;
    assert_eq!(problem["code"], "bad_request");
    assert!(problem["detail"].as_str().unwrap().contains("write %3E"), "{problem}");
    assert_eq!(server.get(&format!("{EVENTS}?where=value.total%3E100"), &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_and_a_wrong_port_are_told_what_is_there() {
    let server = Server::open(&[]).await;
    let mut post = Client::request(server.address, "POST", EVENTS, &[("Content-Length", "0")]).await;
    assert_eq!((post.status, post.headers["allow"].as_str()), (405, "GET,HEAD"));
    let detail = post.json().await["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("POST") && detail.contains("GET"), "{detail}");
    let mut admin = Client::request(server.admin, "GET", EVENTS, &[]).await;
    assert_eq!(admin.status, 404);
    let detail = admin.json().await["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("/readyz") && detail.contains("TAILRACE_LISTEN"), "{detail}");
}
