//! Who has a token of the tenant acme tries for what is globex's: its records, its names, whether it exists.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tailrace_bridge::{
    EventId, Fingerprint, HistoryError, HistoryRead, OffsetsAt, Part, Position, Segment, SegmentBuilder,
    Source, TopicId, Unserved,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::attack::{
    Browser, Rules, Written, add_topic, answer, bearer, claims, eventually, in_a_process_of_its_own, in_path,
    signed, with_tokens,
};
use crate::support::{Client, SECRET, Server};

/// Stands in globex's records only.
const OTHERS: &str = "gl0bex-0nly";

fn acme() -> String {
    bearer(&claims("acme"))
}

/// A server on which globex has records and a stream, and acme has one record.
async fn shared(flags: &[&str]) -> (Server, Browser) {
    let server = with_tokens(flags).await;
    let rules = Rules::headers();
    for n in 0..20 {
        let record = Written::of("globex", format!("{{\"n\":{n},\"of\":\"{OTHERS}\"}}")).key(OTHERS);
        rules.produce(&server, "orders", &record.header("note", Some(OTHERS.as_bytes()))).unwrap();
    }
    rules.produce(&server, "orders", &Written::of("acme", r#"{"n":7}"#)).unwrap();
    let token = bearer(&claims("globex"));
    let target = "/t/globex/events?from=earliest";
    let mut stream = Browser::with(&server, target, &[("Authorization", &token)]).await;
    stream.until_synced().await;
    assert!(stream.stream.events.len() == 21 && stream.stream.events[0].data.contains(OTHERS));
    (server, stream)
}

/// The records that acme gets there, until it is live.
async fn acme_reads(server: &Server, target: &str, headers: &[(&str, &str)]) -> Browser {
    let token = acme();
    let mut browser = Browser::with(server, target, &[&[("Authorization", &*token)], headers].concat()).await;
    assert_eq!(browser.status(), 200, "{target}: {}", browser.head);
    browser.until_synced().await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_no_parameter_opens_another_tenant_or_tells_whether_it_exists() {
    let (server, _stream) = shared(&[]).await;
    let token = acme();
    for query in [
        "",
        "topic=orders",
        "topic=nosuch",
        "from=earliest",
        "from=-100",
        "from=-1h",
        "where=value.n=1",
        "where=key^=g",
        "type=message",
        "key=gl0bex-0nly",
        "envelope=record",
        "heartbeat=event",
        "last_event_id=x",
        "retry=1s",
        "where=header.note^=g",
    ] {
        for method in ["GET", "HEAD"] {
            let known = answer(
                server.address,
                method,
                &format!("/t/globex/events?{query}"),
                &[("Authorization", &token)],
            )
            .await;
            let unknown = answer(
                server.address,
                method,
                &format!("/t/nobody/events?{query}"),
                &[("Authorization", &token)],
            )
            .await;
            assert_eq!(known.0, 403, "{method} {query}");
            assert_eq!(known, unknown, "{method} {query}");
            let told = format!("{known:?}");
            assert!(!told.contains("globex") && !told.contains(OTHERS), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_other_methods_answer_alike_for_every_tenant() {
    let (server, _stream) = shared(&["--cors-origins", "https://app.example"]).await;
    let token = acme();
    for method in ["OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        for headers in [
            &[][..],
            &[("Authorization", &*token)],
            &[("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")],
        ] {
            let known = answer(server.address, method, "/t/globex/events", headers).await;
            assert_eq!(known, answer(server.address, method, "/t/nobody/events", headers).await, "{method}");
            assert_eq!(known, answer(server.address, method, "/t/acme/events", headers).await, "{method}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_without_a_token_all_tenants_are_the_same_401() {
    let (server, _stream) = shared(&[]).await;
    let forged = "Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA";
    for headers in [&[][..], &[("Authorization", forged)], &[("Authorization", "Basic YTpi")]] {
        for method in ["GET", "HEAD"] {
            let known = answer(server.address, method, "/t/globex/events", headers).await;
            assert_eq!(known.0, 401);
            assert_eq!(known, answer(server.address, method, "/t/nobody/events", headers).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_the_time_of_a_refusal_tells_no_tenant_that_exists() {
    const EACH: usize = 200;
    let (server, _stream) = shared(&[]).await;
    let token = acme();
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..EACH {
        for (times, tenant) in times.iter_mut().zip(["globex", "nobody"]) {
            let begin = Instant::now();
            let refused = server.get(&format!("/t/{tenant}/events"), &[("Authorization", &token)]).await;
            times.push(begin.elapsed());
            assert_eq!(refused.status, 403);
        }
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort();
        times[EACH / 2]
    });
    let most = known.max(unknown);
    assert!(known.abs_diff(unknown) < most / 2 + Duration::from_millis(1), "{known:?}, {unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_an_id_of_another_s_stream_in_every_place_gives_own_records_alone() {
    let (server, stream) = shared(&[]).await;
    let id = stream.stream.ids[0].clone();
    for (query, headers) in [
        (String::new(), vec![("Last-Event-ID", &*id)]),
        (format!("?last_event_id={id}"), vec![]),
        (format!("?from={id}"), vec![]),
        ("?from=earliest".to_owned(), vec![("Last-Event-ID", &*id)]),
    ] {
        let browser = acme_reads(&server, &format!("/t/acme/events{query}"), &headers).await;
        let events = browser.events();
        assert_eq!(events[0], ("message", r#"{"n":7}"#), "{query}");
        assert_eq!(events.len(), 2, "{events:?}");
    }
    // Each place has one value; with two, none is chosen.
    let twice = server
        .get(&format!("/t/acme/events?last_event_id={id}&last_event_id={id}"), &[("Authorization", &acme())])
        .await;
    assert_eq!(twice.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_sealed_id_of_another_is_not_told_from_a_made_up_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
    let (server, stream) = shared(&["--id-key-file", path.to_str().unwrap()]).await;
    let others = stream.stream.ids.last().unwrap().clone();
    let own = acme_reads(&server, "/t/acme/events", &[]).await.stream.last_event_id;
    assert_eq!(others.len(), own.len());
    let mut damaged = own.clone().into_bytes();
    let middle = damaged.len() / 2;
    damaged[middle] = if damaged[middle] == b'A' { b'B' } else { b'A' };
    let damaged = String::from_utf8(damaged).unwrap();
    let cut = &own[..own.len() - 1];
    let token = acme();
    let mut answers = Vec::new();
    for id in [&*others, &*damaged, cut] {
        let mut said = Vec::new();
        for (target, headers) in [
            ("/t/acme/events?from=earliest".to_owned(), vec![("Last-Event-ID", id)]),
            (format!("/t/acme/events?from=earliest&last_event_id={id}"), vec![]),
        ] {
            let browser = acme_reads(&server, &target, &headers).await;
            // The first block repeats what came in; the gap has an id of the server's.
            assert_ne!(browser.stream.last_event_id, id);
            said.push(
                browser.events().iter().map(|(name, data)| format!("{name} {data}")).collect::<Vec<_>>(),
            );
        }
        assert_eq!(said[0][0], r#"tailrace.gap {"code":"unknown_id"}"#);
        let refused =
            answer(server.address, "GET", &format!("/t/acme/events?from={id}"), &[("Authorization", &token)])
                .await;
        assert_eq!(refused.0, 400);
        answers.push((said, refused.2.to_string().replace(id, "ID")));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, answers[2].0);
}

/// A Kafka without records that counts how often its topics were looked at.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Source for Counting {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        async move { Ok(SegmentBuilder::new(read.from).finish(Position { offset: read.from, epoch: read.epoch })) }.boxed()
    }

    fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        async { Ok(vec![0]) }.boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        async {}.boxed()
    }
}

/// A server on which each tenant has a topic of its own.
async fn by_topic() -> (Server, Counting) {
    let source = Counting::default();
    let flags = ["--auth", "jwt", "--jwt-secret", SECRET];
    let server = Server::over(Arc::new(source.clone()), &[0], "topic:{tenant}.orders", &flags).await;
    add_topic(&server, "acme.orders", 1);
    add_topic(&server, "globex.orders", 2);
    server.bridge.health().set_ready();
    (server, source)
}

fn own_topics() -> Rules {
    Rules::new("topic:{tenant}.orders", "none")
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_an_id_with_the_name_of_a_topic_tells_whether_another_tenant_has_it() {
    let (server, source) = by_topic().await;
    let rules = own_topics();
    let own = acme_reads(&server, "/t/acme/events", &[]).await.stream.last_event_id;
    let own: EventId = own.parse().unwrap();
    let mut told = Vec::new();
    // Globex's topic by its name, its name and id, a topic that nobody has, and one that no tenant can have.
    for (name, id) in [
        ("globex.orders", TopicId::ZERO),
        ("globex.orders", TopicId([2; 16])),
        ("nosuch.orders", TopicId::ZERO),
        ("orders", TopicId::ZERO),
    ] {
        let mut vector = own.vector.clone();
        let positions = vec![Position { offset: 5, epoch: -1 }];
        vector.parts.push(Part { fingerprint: Fingerprint::new(name, id), positions });
        let mut forged = String::new();
        EventId::encode(&mut forged, own.minutes, &vector, None);
        let looks = source.0.load(Ordering::Relaxed);
        let mut browser = acme_reads(&server, "/t/acme/events", &[("Last-Event-ID", &forged)]).await;
        let looks = source.0.load(Ordering::Relaxed) - looks;
        rules.produce(&server, "acme.orders", &Written::value("news")).unwrap();
        browser.until(|event| event.data == "news").await;
        let after: EventId = browser.stream.last_event_id.parse().unwrap();
        let gaps = browser.events().iter().filter(|(name, _)| *name == "tailrace.gap").count();
        told.push((looks, after.vector.parts.len(), gaps));
    }
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_the_name_of_another_s_topic_is_unknown_whatever_became_of_it() {
    let (server, _) = by_topic().await;
    let unserved = [("globex.gone", Unserved::Missing), ("globex.locked", Unserved::Forbidden)];
    server.bridge.set_unserved(BTreeMap::from(unserved.map(|(name, why)| (name.to_owned(), why))));
    let token = acme();
    // Each beside a name that nobody has and that is as near to acme's own topic.
    for (others, nobodys) in [
        ("globex.orders", "globey.orders"),
        ("globex.gone", "globey.gone"),
        ("globex.locked", "globey.locked"),
    ] {
        for id in ["", "&last_event_id=abc"] {
            let mut answers = Vec::new();
            for name in [others, nobodys] {
                let target = format!("/t/acme/events?topic={name}&topic=acme.orders{id}");
                let (status, _, body) =
                    answer(server.address, "GET", &target, &[("Authorization", &token)]).await;
                assert_eq!(status, 404, "{name}");
                answers.push(body.to_string().replace(name, "NAME"));
            }
            assert_eq!(answers[0], answers[1]);
        }
    }
    // The nearest name that is suggested is never another's.
    let near =
        answer(server.address, "GET", "/t/acme/events?topic=globex.order", &[("Authorization", &token)])
            .await;
    assert!(!near.2.to_string().contains("globex.orders"), "{}", near.2);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_stream_of_all_topics_is_not_told_what_becomes_of_another_s() {
    let (server, _) = by_topic().await;
    let rules = own_topics();
    let mut browser = acme_reads(&server, "/t/acme/events", &[]).await;
    let ids = browser.stream.ids.len();
    rules.produce(&server, "globex.orders", &Written::value(OTHERS)).unwrap();
    server.bridge.recreate_topic("globex.orders", TopicId([3; 16]), &[]);
    server.bridge.remove_topic("globex.orders");
    add_topic(&server, "globex.orders", 4);
    rules.produce(&server, "globex.orders", &Written::value(OTHERS)).unwrap();
    server.bridge.remove_topic("globex.orders");
    server.bridge.tick();
    rules.produce(&server, "acme.orders", &Written::value("own")).unwrap();
    browser.until(|event| event.data == "own").await;
    let names: Vec<&str> = browser.events().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["tailrace.synced", "message"]);
    assert_eq!(browser.stream.ids.len(), ids + 1, "no id either: {:?}", browser.stream.ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_two_tokens_that_disagree_open_what_the_first_place_names_and_no_more() {
    let (server, _stream) = shared(&["--jwt-cookie", "session"]).await;
    let (own, others) = (signed(&claims("acme")), signed(&claims("globex")));
    let (own_header, garbage) = (format!("Bearer {own}"), "Bearer x.y.z".to_owned());
    let others_cookie = format!("session={others}");
    let both_cookies = format!("session={own}; session={others}");
    let own_and_cookie = format!("session={own}");
    for (tenant, query, headers, status) in [
        ("globex", format!("?access_token={others}"), vec![("Authorization", &own_header)], 403),
        ("acme", format!("?access_token={others}"), vec![("Authorization", &own_header)], 200),
        ("globex", format!("?access_token={others}"), vec![("Authorization", &garbage)], 401),
        ("globex", format!("?access_token={own}"), vec![("Cookie", &others_cookie)], 403),
        ("acme", format!("?access_token={own}"), vec![("Cookie", &others_cookie)], 200),
        ("globex", String::new(), vec![("Authorization", &own_header), ("Cookie", &others_cookie)], 403),
        ("globex", String::new(), vec![("Cookie", &both_cookies)], 401),
        ("globex", String::new(), vec![("Cookie", &own_and_cookie), ("Cookie", &others_cookie)], 401),
        ("globex", format!("?access_token={own}&access_token={others}"), vec![], 400),
        ("globex", format!("?access_token={own}&%61ccess_token={others}"), vec![], 400),
        ("globex", String::new(), vec![("Authorization", &own_header), ("authorization", &own_header)], 401),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &***value)).collect();
        let found = server.get(&format!("/t/{tenant}/events{query}"), &headers).await.status;
        assert_eq!(found, status, "{tenant} {headers:.40?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_claim_without_its_scope_and_a_scope_without_its_claim_open_nothing() {
    let (server, _stream) = shared(&[]).await;
    for (tenants, scope, own, others) in [
        (json!("acme"), "event:read:globex", 403, 403),
        (json!("acme"), "event:read:*", 200, 403),
        (json!(["acme", "globex"]), "event:read:acme", 200, 403),
        (json!("globex"), "event:read:acme", 403, 403),
        (json!("*"), "event:read:*", 403, 403),
        (json!(["acme", ["globex"]]), "event:read:*", 200, 403),
        (json!("ACME"), "event:read:*", 403, 403),
        (json!("acme "), "event:read:*", 403, 403),
        (json!("acme%2Cglobex"), "event:read:*", 403, 403),
        (json!("acme,globex"), "event:read:*", 403, 403),
        (json!("acme"), "event:read:acme:* event:read:globex", 200, 403),
        (json!("acme"), "event:read:acme\u{a0}event:read:globex", 403, 403),
        (json!("acme"), "event:read:acme:", 403, 403),
        (json!("acme"), "event:read", 403, 403),
        (json!("acme"), "event:read:ac*", 403, 403),
        (json!("acme"), "Event:Read:acme", 403, 403),
    ] {
        let token = bearer(&json!({"tenant_id": tenants, "scope": scope, "exp": 4_000_000_000_u32}));
        for (tenant, status) in [("acme", own), ("globex", others)] {
            let found = server.get(&format!("/t/{tenant}/events"), &[("Authorization", &token)]).await.status;
            // A claim of another form may be refused as a whole or name nobody.
            let is_refused = status == 401 && found == 403;
            assert!(found == status || is_refused, "{tenants} {scope:?} {tenant}: {found}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_the_stream_without_a_name_is_the_token_s_and_lists_no_tenants() {
    let (server, _stream) = shared(&[]).await;
    let both =
        bearer(&json!({"tenant_id": ["acme", "globex"], "scope": "event:read:*", "exp": 4_000_000_000_u32}));
    let (status, _, body) = answer(server.address, "GET", "/events", &[("Authorization", &both)]).await;
    assert!(status == 400 && !body.to_string().contains("globex"), "{body}");
    let own = acme_reads(&server, "/events?from=earliest", &[]).await;
    assert_eq!(own.events()[0], ("message", r#"{"n":7}"#));
    assert_eq!(own.events().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_no_spelling_of_a_path_leads_to_another_tenant() {
    let (server, _stream) = shared(&[]).await;
    let token = acme();
    for target in [
        "//t/globex/events",
        "/t//globex/events",
        "/t/acme/../globex/events",
        "/t/acme/events/../../globex/events",
        "/t/acme%2f..%2fglobex/events",
        "/t/acme%2F..%2Fglobex/events",
        "/t/./globex/events",
        "/t/%2e/globex/events",
        "/t/%2e%2e/t/globex/events",
        "/t/globex/events/",
        "/t/globex/events/.",
        "/t/globex/events//",
        "/t/%67lobex/events",
        "/t/%2567lobex/events",
        "/t/%25%36%37lobex/events",
        "/T/globex/events",
        "/t/globex/Events",
        "/t/globex/events%00",
        "/t/globex/events%3f",
        "/t/globex/events;a=b",
        "/t/globex;/events",
        "/t/globex%3b/events",
        "/t/globex.json/events",
        "/t/globex%20/events",
        "/t/%20globex/events",
        "/t/globex%09/events",
        "/t/globex%00/events",
        "/t/acme%00globex/events",
        "/t/acme%0d%0aglobex/events",
        "/t/acme,globex/events",
        "/t/acme%2cglobex/events",
        "/t/*/events",
        "/t/%2a/events",
        "/t/acme%c0%afglobex/events",
        "/t/%ef%bb%bfglobex/events",
        "/t/GLOBEX/events",
        "/t/globex%e2%80%8b/events",
        "/events/t/globex",
        "/t/acme/globex/events",
        "/t/acme\\..\\globex/events",
        "/t/acme%5c..%5cglobex/events",
        "/t/events",
        "/t//events",
        "/t/%/events",
        "/t/acme%/events",
        "/t/acme%2/events",
        "/t/acme%zz/events",
        "/t/acme%u0067/events",
        "/%74/globex/events",
        "/t%2fglobex%2fevents",
        "http://a/t/globex/events",
        "http://acme@globex/t/globex/events",
        "/t/globex/events?tenant=acme",
        "/t/globex/ws",
        "/t/globex/records",
        "/t/globex",
        "/t/globex/",
        "/?/t/globex/events",
    ] {
        let mut refused = server.get(target, &[("Authorization", &token)]).await;
        // What is no handshake is not even looked at.
        assert!(matches!(refused.status, 400 | 403 | 404 | 426), "{target}: {}", refused.status);
        assert!(!refused.body().await.contains(OTHERS), "{target}");
    }
    let handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Authorization", &*token),
    ];
    for target in ["/t/globex/ws", "/t/%67lobex/ws", "/t/acme/../globex/ws", "/ws/t/globex"] {
        let refused = server.get(target, &handshake).await;
        assert!(matches!(refused.status, 400 | 403 | 404), "{target}: {}", refused.status);
    }
    for target in ["/t/%61cme/events", "/t/acm%65/events", "/t/%61%63%6d%65/events", "http://a/t/acme/events"]
    {
        let own = acme_reads(&server, &format!("{target}?from=earliest"), &[]).await;
        assert_eq!(own.events().len(), 2, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_headers_that_rewrite_the_path_elsewhere_rewrite_nothing() {
    let (server, _stream) = shared(&[]).await;
    for (name, value) in [
        ("X-Original-URL", "/t/globex/events"),
        ("X-Rewrite-URL", "/t/globex/events"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Forwarded-Prefix", "/t/globex"),
        ("X-Forwarded-Host", "globex"),
        ("X-Tenant", "globex"),
        ("Tenant", "globex"),
        ("tenant", "globex"),
        ("Host", "globex"),
    ] {
        let own = acme_reads(&server, "/t/acme/events?from=earliest", &[(name, value)]).await;
        assert_eq!(own.events().len(), 2, "{name}");
        assert!(!own.stream.events[0].data.contains(OTHERS), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_filters_and_starts_of_one_tenant_count_no_record_of_another() {
    let (server, _stream) = shared(&[]).await;
    for query in [
        "from=earliest",
        "from=-1",
        "from=-100",
        "from=2023-11-14T00:00:00Z",
        "from=-99999d",
        "from=earliest&where=value.n>=0",
        "from=earliest&where=value.n!=1",
        "from=earliest&where=key!=k2",
        "from=earliest&where=header.note!=x",
        "from=-100&where=value.n=7",
        "from=-5&type=message",
        "from=earliest&where=key^=g,k",
        "from=earliest&key=k&key=gl0bex-0nly",
    ] {
        let query = query.replace(">", "%3E").replace("^", "%5E");
        let own = acme_reads(&server, &format!("/t/acme/events?{query}"), &[]).await;
        let events = own.events();
        assert_eq!(events, [("message", r#"{"n":7}"#), ("tailrace.synced", r#"{"replayed":1}"#)], "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_tenant_without_records_is_not_told_that_its_name_is_new() {
    let (server, _stream) = shared(&[]).await;
    let token = bearer(&claims("nobody"));
    let mut fresh =
        Browser::with(&server, "/t/nobody/events?from=earliest", &[("Authorization", &token)]).await;
    fresh.until_synced().await;
    assert_eq!(fresh.events(), [("tailrace.synced", r#"{"replayed":0}"#)]);
}

/// How a stream with this condition ends, on a server whose masked fields have that value: its status, and its events.
async fn outcome(server: &Server, query: &str) -> (u16, Vec<(String, String)>) {
    let token = acme();
    let mut browser =
        Browser::with(server, &format!("/t/acme/events?{query}"), &[("Authorization", &token)]).await;
    if browser.status() != 200 {
        return (browser.status(), Vec::new());
    }
    browser.until_synced().await;
    let events =
        browser.events().iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect();
    (200, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_no_condition_tells_one_masked_value_from_another() {
    let flags = [
        "--mask",
        "orders=/user/email:redact,orders=/list/*/card:remove,*=/ssn:redact,orders=/deep/a~1b:redact",
        "--envelope-headers",
        "region",
    ];
    let mut servers = Vec::new();
    for secret in ["alpha", "omega"] {
        let server = with_tokens(&flags).await;
        let rules = Rules::headers();
        for value in [
            format!(
                r#"{{"n":1,"user":{{"email":"{secret}","name":"ann"}},"list":[{{"card":"{secret}"}}],"ssn":"{secret}"}}"#
            ),
            format!(
                r#"{{"n":2,"user":{{"\u0065mail":"{secret}"}},"l\u0069st":{{"0":{{"c\u0061rd":"{secret}"}}}},"s\u0073n":"{secret}"}}"#
            ),
            format!(
                r#"{{"n":3,"user":{{"email":["{secret}"]}},"list":{{"x":{{"card":{{"y":"{secret}"}}}}}},"deep":{{"a/b":"{secret}"}}}}"#
            ),
            format!(
                r#"{{"n":4,"user":{{"email":"{secret}"}},"user":{{"email":"{secret}"}},"ssn":"{secret}","ssn":1}}"#
            ),
            format!(r#"{{"ssn":"{secret}"}} {{"n":5}}"#),
        ] {
            let record = Written::of("acme", value)
                .header("note", Some(secret.as_bytes()))
                .header("region", Some(b"eu"));
            rules.produce(&server, "orders", &record).unwrap();
        }
        servers.push(server);
    }
    let fields = [
        "value.user.email",
        "value/user/email",
        r"value/user/\u0065mail",
        r"value.user.\u0065mail",
        "value.user.EMAIL",
        "value.user",
        "value",
        "value/",
        "value/user/",
        "value/user/email/",
        "value.user.email.0",
        "value/user/email/0",
        "value/user~1email",
        "value.list.0.card",
        "value/list/0/card",
        "value.list.00.card",
        "value.list.*.card",
        "value/list/-/card",
        "value.list.x.card.y",
        "value.list",
        r"value/l\u0069st/0/card",
        "value.ssn",
        r"value/s\u0073n",
        "value/ssn/",
        "value/deep/a~1b",
        "value.deep.a/b",
        "value.deep",
        "value/deep/a/b",
        "header.note",
        "header.Note",
        "header.region",
        "key",
        "type",
        "value.n",
        "value.user.name",
    ];
    let mut accepted = 0;
    for field in fields {
        for test in ["=alpha", "=alpha,x", "!=alpha", "^=a", "<m", ">m", "<=alpha", ">=omega", "!=x", "?"] {
            for start in ["from=earliest", "from=-1"] {
                let query = format!("{start}&where={}", in_path(&format!("{field}{test}")));
                let first = outcome(&servers[0], &query).await;
                let second = outcome(&servers[1], &query).await;
                assert_eq!(first, second, "{field}{test} tells what is masked");
                accepted += usize::from(first.0 == 200);
            }
        }
    }
    assert!(accepted > 50, "most conditions on what is not masked are accepted: {accepted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_token_of_a_tenant_is_none_of_an_operator() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, "a-token-of-an-operator-that-is-long-enough").unwrap();
    let (server, stream) = shared(&["--admin-token-file", path.to_str().unwrap()]).await;
    let (header, raw) = (acme(), signed(&claims("acme")));
    let cookie = format!("session={raw}");
    for (method, target) in [
        ("GET", "/streams"),
        ("GET", "/streams?tenant=globex"),
        ("GET", "/streams?tenant=nobody"),
        ("GET", "/tenants"),
        ("GET", "/config"),
        ("DELETE", "/streams?tenant=globex"),
        ("DELETE", "/streams?tenant=acme"),
        ("HEAD", "/streams"),
    ] {
        for headers in
            [&[("Authorization", &*header)][..], &[("Cookie", &*cookie)], &[("X-Admin-Token", &*raw)], &[]]
        {
            let (status, _, body) = answer(server.admin, method, target, headers).await;
            assert_eq!(status, 401, "{method} {target}");
            assert!(!body.to_string().contains("globex"), "{body}");
        }
        let with_query =
            format!("{target}{}access_token={raw}", if target.contains('?') { "&" } else { "?" });
        assert_eq!(answer(server.admin, method, &with_query, &[]).await.0, 401);
    }
    assert!(stream.stream.events.iter().all(|event| event.name != "tailrace.error"), "nobody was revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_the_metrics_name_no_tenant_no_subject_and_no_record() {
    let (server, _stream) = shared(&["--max-streams-per-tenant", "2"]).await;
    let subject = "a-subject-of-this-test";
    let mut own = claims("a-tenant-of-this-test");
    own["sub"] = json!(subject);
    let token = bearer(&own);
    let target = "/t/a-tenant-of-this-test/events";
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(server.get(target, &[("Authorization", &token)]).await);
    }
    assert_eq!(held[3].status, 429);
    server.get("/t/globex/events?topic=a-topic-of-this-test", &[("Authorization", &token)]).await;
    let metrics = Client::request(server.admin, "GET", "/metrics", &[]).await.body().await;
    assert!(metrics.contains("tailrace_streams"));
    for name in [OTHERS, "globex", "a-tenant-of-this-test", subject, "a-topic-of-this-test"] {
        assert!(!metrics.contains(name), "{name} is in the metrics");
    }
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_the_log_has_no_byte_of_a_record_and_of_no_token_at_any_level() {
    let name = "leaks::attack_the_log_has_no_byte_of_a_record_and_of_no_token_at_any_level";
    if in_a_process_of_its_own(name).is_some() {
        return;
    }
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .init();
    let (server, stream) = shared(&[]).await;
    let token = signed(&claims("acme"));
    let header = format!("Bearer {token}");
    for target in [
        "/t/globex/events",
        "/t/acme/events?from=earliest",
        "/t/acme/events?where=value.of=1",
        "/nowhere",
        "/t/acme/events?x=1",
    ] {
        drop(server.get(target, &[("Authorization", &header)]).await);
        let joint = if target.contains('?') { '&' } else { '?' };
        drop(server.get(&format!("{target}{joint}access_token={token}"), &[]).await);
    }
    drop(stream);
    let text = || String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    eventually("the line of a stream's end", async || text().contains("stream ended")).await;
    let text = text();
    assert!(text.contains("refused"), "there is an audit log");
    for secret in [OTHERS, &token, token.rsplit('.').next().unwrap(), SECRET] {
        assert!(!text.contains(secret), "{secret:.20} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_no_cache_keeps_an_answer_and_no_validator_shortens_it() {
    let (server, _stream) = shared(&["--max-streams-per-subject", "3"]).await;
    let token = acme();
    let conditional = [
        ("Authorization", &*token),
        ("If-None-Match", "*"),
        ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("Range", "bytes=0-0"),
        ("Accept-Encoding", "gzip, br"),
    ];
    let mut held = Vec::new();
    for (target, headers, status) in [
        ("/t/acme/events", &conditional[..], 200),
        ("/t/acme/events?from=earliest", &conditional, 200),
        ("/t/acme/events?x=1", &conditional, 400),
        ("/t/acme/events", &[], 401),
        ("/t/globex/events", &conditional, 403),
        ("/t/acme/events?topic=nosuch", &conditional, 404),
        ("/nowhere", &conditional, 404),
        ("/t/acme/events", &conditional, 200),
        ("/t/acme/events", &conditional, 429),
    ] {
        // A refused request gives its place back a moment after its answer.
        let client = server.get(target, headers).await;
        assert_eq!(client.status, status, "{target}");
        assert!(client.headers["cache-control"].contains("no-store"), "{target}: {:?}", client.headers);
        for validator in ["etag", "last-modified", "expires", "age", "content-range", "accept-ranges"] {
            assert!(!client.headers.contains_key(validator), "{target}: {validator}");
        }
        if status == 200 {
            assert_eq!(client.headers["content-encoding"], "gzip");
            held.push(client);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_page_of_another_origin_reads_neither_streams_nor_refusals() {
    let (server, _stream) =
        shared(&["--cors-origins", "https://app.example", "--jwt-cookie", "session"]).await;
    let token = acme();
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.evil.example",
        "https://app.example:444",
        "http://app.example",
        "HTTPS://APP.EXAMPLE.",
        "https://app.example/",
        "https://xapp.example",
        "*",
        "https://app.example https://evil.example",
        "",
    ] {
        for target in ["/t/acme/events", "/t/globex/events", "/t/acme/events?x=1", "/nowhere"] {
            for method in ["GET", "HEAD", "OPTIONS"] {
                let headers = [
                    ("Origin", origin),
                    ("Authorization", &*token),
                    ("Access-Control-Request-Method", "GET"),
                ];
                let client = Client::request(server.address, method, target, &headers).await;
                let allowed = client.headers.get("access-control-allow-origin");
                assert_eq!(allowed, None, "{origin:?} {method} {target}");
            }
        }
    }
    let trusted =
        server.get("/t/globex/events", &[("Origin", "https://app.example"), ("Authorization", &token)]).await;
    assert_eq!(trusted.headers["access-control-allow-origin"], "https://app.example");
    assert!(trusted.headers["vary"].to_lowercase().contains("origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_refused_limit_tells_nothing_of_other_tenants() {
    let (server, _stream) = shared(&["--max-streams", "2", "--max-streams-per-address", "9"]).await;
    let token = acme();
    let _own = server.get("/t/acme/events", &[("Authorization", &token)]).await;
    let (status, headers, body) =
        answer(server.address, "GET", "/t/acme/events", &[("Authorization", &token)]).await;
    assert_eq!((status, &body["limit"], body.get("value")), (429, &json!("max_streams"), None::<&Value>));
    assert!(!body.to_string().contains('2') || !body["detail"].to_string().contains('2'), "{body}");
    // Who may not read globex is not told that there is no place for it either.
    let refused = answer(server.address, "GET", "/t/globex/events", &[("Authorization", &token)]).await;
    assert_eq!(refused.0, 403);
    assert!(headers.contains_key("retry-after"));
}
