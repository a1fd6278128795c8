//! What only WebSockets have (RFC 6455): the opening handshake and who may make it, pings and closes of the client, and a refusal
//! that a page can read.
//!
//! Of the cases of the Autobahn suite, those that concern a server that only sends are written out here and in the unit tests of
//! `writer/incoming.rs`: pings, reserved bits and opcodes, fragments, closes with and without a code. The suite itself is code of Python 2
//! (PyPI's 25.10.1 too), and tests servers that echo.

use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::support::{Client, SECRET, Server};
use crate::way::{Ask, End, Reader, Way};
use crate::{alone, beside_others, eventually};

const BY_CLIENT: &str = "tailrace_streams_closed_total{reason=\"client\"}";
const QUIET: Duration = Duration::from_millis(100);
const HANDSHAKE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A frame as a client sends it.
fn frame(first: u8, data: &[u8]) -> Vec<u8> {
    let mask = [0xa1, 0x5e, 0x00, 0x7f];
    let masked = data.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [first, 0x80 | data.len() as u8].into_iter().chain(mask).chain(masked).collect()
}

async fn open(way: Way, server: &Server) -> Reader {
    let mut reader = Reader::open(way, server.address, &Ask::of("acme")).await;
    reader.next_is("tailrace.synced").await;
    reader
}

async fn pings_are_answered(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let mut reader = open(way, &server).await;
    for data in ["", "hello", &"x".repeat(125)] {
        // In parts, amid events.
        let ping = frame(0x89, data.as_bytes());
        let (begin, end) = ping.split_at(ping.len() / 2);
        reader.send(begin, QUIET).await;
        server.append("acme", "between");
        reader.next_record().await;
        reader.send(end, QUIET).await;
        assert_eq!(reader.next_is("pong").await.data.as_deref(), Some(data));
    }
    // A pong is not answered, and of two pings that come together one is.
    reader.send(&[frame(0x8a, b"?"), frame(0x89, b"one"), frame(0x89, b"two")].concat(), QUIET).await;
    assert_eq!(reader.next().await.unwrap().data.as_deref(), Some("two"));
}

async fn a_client_that_does_not_read_gets_its_pong_when_it_does(way: Way) {
    let _alone = alone().await;
    let mut server = way.server(&[]).await;
    let mut reader = Reader::open(way, server.address, &Ask::of("acme").room(8 * 1024)).await;
    reader.next_is("tailrace.synced").await;
    (0..40).for_each(|_| server.append("acme", &"x".repeat(50_000)));
    crate::slow::settled(&server).await;
    for number in 0..1000 {
        reader.send(&frame(0x89, format!("{number}").as_bytes()), QUIET).await;
    }
    let (mut records, mut pongs) = (0, Vec::new());
    while records < 40 || pongs.last().is_none_or(|last| last != "999") {
        let block = reader.next().await.unwrap();
        match block.is("pong") {
            true => pongs.extend(block.data),
            false => records += usize::from(block.data.is_some_and(|data| data.len() == 50_000)),
        }
    }
    assert!(pongs.len() < 100, "{} pongs", pongs.len());
}

async fn a_client_that_closes_is_answered(way: Way) {
    let _alone = alone().await;
    let server = way.server(&["--max-streams", "1"]).await;
    for (close, answer) in [
        (frame(0x88, b""), 1000),
        (frame(0x88, &1001_u16.to_be_bytes()), 1001),
        (frame(0x88, &[&4321_u16.to_be_bytes()[..], b"done"].concat()), 4321),
        (frame(0x88, &1005_u16.to_be_bytes()), 1002),
    ] {
        // Streams of other tests are in the same process.
        let (before, streams) = (server.metric(BY_CLIENT).await, server.metric("tailrace_streams ").await);
        let mut reader = Reader::open(way, server.address, &Ask::of("acme")).await;
        reader.send(&close, QUIET).await;
        reader.rest().await;
        assert_eq!((reader.closed, reader.end.clone()), (Some(answer), Some(End::Clean)));
        reader.close().await;
        eventually("it is counted, once", async || server.metric(BY_CLIENT).await == before + 1.0).await;
        eventually("its place is free", async || server.metric("tailrace_streams ").await == streams).await;
    }
}

async fn what_a_client_may_not_send_closes_the_connection(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    let unmasked = [&[0x89, 2][..], b"hi"].concat();
    for (bytes, code) in [
        (frame(0x81, b"hello"), 1003),
        (frame(0x82, &[0; 125]), 1003),
        (vec![0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0], 1003),
        (frame(0xc9, b""), 1002),
        (frame(0x09, b""), 1002),
        (frame(0x8f, b""), 1002),
        (unmasked, 1002),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 1002),
    ] {
        let mut reader = open(way, &server).await;
        let begin = Instant::now();
        // What follows is not looked at, and does not reset the connection before the close is read.
        reader.send(&[&bytes[..], &[b'x'; 20_000]].concat(), QUIET).await;
        reader.rest().await;
        assert_eq!((reader.closed, reader.end.clone()), (Some(code), Some(End::Clean)), "{bytes:x?}");
        assert!(begin.elapsed() < Duration::from_secs(5));
        reader.close().await;
    }
}

async fn a_refusal_of_a_client_that_comes_back_can_be_read(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&["--max-streams", "1"]).await;
    let mut first = Reader::open(way, server.address, &Ask::of("acme")).await;
    let id = first.next().await.unwrap().id.unwrap();
    assert_eq!(Reader::try_open(way, server.address, &Ask::of("acme")).await.err(), Some(429));
    let mut refused = Reader::open(way, server.address, &Ask::of("acme").last_event_id(&id)).await;
    let blocks = refused.rest().await;
    let [error] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!((error.event.as_deref(), error.id.as_deref()), (Some("tailrace.error"), Some(&*id)));
    assert_eq!(error.json()["code"], "too_many_streams");
    assert_eq!((refused.closed, refused.end.clone()), (Some(4005), Some(End::Clean)));
}

async fn the_end_of_the_process_is_said_with_its_code(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&["--drain-timeout", "10s"]).await;
    let mut reader = open(way, &server).await;
    server.stop();
    let blocks = reader.rest().await;
    assert!(blocks.last().unwrap().is("tailrace.drain"));
    assert_eq!((reader.closed, reader.end.clone()), (Some(4000), Some(End::Clean)));
}

macro_rules! over_both {
    ($($proof:ident)*) => {
        mod plain {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $proof() {
                super::$proof(crate::way::Way::WebSocket).await;
            })*
        }

        mod over_tls {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $proof() {
                super::$proof(crate::way::Way::WebSocketTls).await;
            })*
        }
    };
}

over_both! {
    pings_are_answered
    a_client_that_does_not_read_gets_its_pong_when_it_does
    a_client_that_closes_is_answered
    what_a_client_may_not_send_closes_the_connection
    a_refusal_of_a_client_that_comes_back_can_be_read
    the_end_of_the_process_is_said_with_its_code
}

async fn ask(server: &Server, target: &str, more: &[(&str, &str)]) -> Client {
    server.get(target, &[&HANDSHAKE[..], more].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_handshake_gets_an_answer_that_says_so() {
    let _beside = beside_others().await;
    let server = Server::open(&[]).await;
    let mut plain = server.get("/t/acme/ws", &[]).await;
    assert_eq!((plain.status, plain.headers["upgrade"].as_str()), (426, "websocket"));
    let problem = plain.json().await;
    assert_eq!(problem["code"], "upgrade_required");
    assert!(problem["detail"].as_str().unwrap().contains("/t/{tenant}/events"), "{problem}");
    let old = [("Sec-WebSocket-Version", "8")];
    let without_version: Vec<_> =
        HANDSHAKE.into_iter().filter(|(name, _)| !name.ends_with("Version")).collect();
    let old = server.get("/t/acme/ws", &[&without_version[..], &old].concat()).await;
    assert_eq!((old.status, old.headers["sec-websocket-version"].as_str()), (426, "13"));
    for (target, status, says) in [
        ("/t/acme/ws?format=sse", 400, "a WebSocket has the format json"),
        ("/t/acme/ws?formt=json", 400, "the nearest is \"format\""),
        ("/t/acme/ws?topic=nothing", 404, "there is no topic"),
        ("/t/acme/events?format=json", 400, "json is the format of WebSockets"),
        ("/t/acme/events?format=xml", 400, "accepted: sse, ndjson, json"),
        ("/t/acme/records?format=sse", 400, "accepted here: json, ndjson"),
    ] {
        let mut refused = ask(&server, target, &[]).await;
        assert_eq!(refused.status, status, "{target}");
        let problem = refused.json().await;
        assert!(problem["detail"].as_str().unwrap().contains(says), "{target}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_a_page_of_another_origin_opens_no_web_socket() {
    let _beside = beside_others().await;
    let server = Server::open(&["--cors-origins", "https://app.example"]).await;
    let own = format!("http://{}", server.address);
    for (origin, status) in
        [("https://app.example", 101), (own.as_str(), 101), ("https://evil.example", 403), ("null", 403)]
    {
        assert_eq!(ask(&server, "/t/acme/ws", &[("Origin", origin)]).await.status, status, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_comes_as_a_subprotocol_and_is_not_sent_back() {
    let _beside = beside_others().await;
    let server = Server::start(&["--auth", "jwt", "--jwt-secret", SECRET]).await;
    let claims = json!({ "tenant_id": "acme", "scope": "event:read:acme", "exp": 4_102_444_800_u64 });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    let offer = format!("bearer, {token}");
    let opened = ask(&server, "/t/acme/ws", &[("Sec-WebSocket-Protocol", &offer)]).await;
    assert_eq!((opened.status, opened.headers["sec-websocket-protocol"].as_str()), (101, "bearer"));
    let others = ask(&server, "/t/globex/ws", &[("Sec-WebSocket-Protocol", &offer)]).await;
    assert_eq!(others.status, 403);
    for bad in ["bearer", "bearer, x.y.z", "chat"] {
        let mut refused = ask(&server, "/t/acme/ws", &[("Sec-WebSocket-Protocol", bad)]).await;
        assert_eq!(refused.status, 401, "{bad}");
        let problem = refused.json().await;
        assert!(!problem.to_string().contains("x.y.z"), "{problem}");
    }
}
