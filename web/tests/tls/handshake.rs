//! Handshakes that must not come to anything, each with its end and its count; and those that must.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::pki::{Authority, Files};
use crate::support::Client;
use crate::{alone, beside_others, connect, eventually, handshakes, serve};

/// What a client says at first.
pub(crate) fn client_hello(authority: &Authority) -> Vec<u8> {
    let config = Arc::new(authority.client(&[&TLS13], None));
    let mut client = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn a_plain_request_to_the_port_of_tls_is_answered_in_plain_words() {
    let _alone = alone().await;
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let server = serve(&files, &[]).await;
    let before = handshakes(&server, "plain_http").await;
    let mut answer = Client::request(server.address, "GET", "/t/acme/events?x=1", &[]).await;
    assert_eq!(answer.status, 400);
    let problem = answer.json().await;
    assert_eq!(problem["code"], "bad_request");
    assert_eq!(problem["detail"], "this port speaks TLS: use https://");
    assert_eq!(handshakes(&server, "plain_http").await, before + 1.0);
}

#[tokio::test]
async fn what_is_neither_tls_nor_a_request_is_closed_at_once() {
    let _alone = alone().await;
    let files = Files::of(&Authority::new().issue());
    let server = serve(&files, &[]).await;
    let before = handshakes(&server, "not_tls").await;
    // SSL 2, and the greeting of another protocol.
    for bytes in [&b"\x80\x2e\x01\x00\x02"[..], b"\0\0\0\x10hello"] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(2), socket.read(&mut [0; 100])).await;
        assert!(matches!(end.expect("it is closed"), Ok(0) | Err(_)));
    }
    assert_eq!(handshakes(&server, "not_tls").await, before + 2.0);
}

#[tokio::test]
async fn a_client_without_a_common_protocol_is_refused_and_one_without_alpn_is_not() {
    let _alone = alone().await;
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let server = serve(&files, &[]).await;
    for version in [&TLS12, &TLS13] {
        let before = handshakes(&server, "no_common_protocol").await;
        let mut config = authority.client(&[version], None);
        config.alpn_protocols = vec![b"spdy/3".to_vec()];
        let refused = connect(server.address, &Arc::new(config)).await.unwrap_err();
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
        eventually("it is counted", async || handshakes(&server, "no_common_protocol").await == before + 1.0)
            .await;
        let config = Arc::new(authority.client(&[version], None));
        let mut socket = connect(server.address, &config).await.unwrap();
        socket.write_all(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut begin = [0; 12];
        socket.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 404");
    }
}

/// Silent, half a hello, a hello without what follows, byte by byte, and half a request after the handshake: each is closed
/// after ten seconds, and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_finishes_is_closed_after_ten_seconds() {
    let _beside = beside_others().await;
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let server = serve(&files, &[]).await;
    let hello = client_hello(&authority);
    let (half, address) = (hello[..hello.len() / 2].to_vec(), server.address);
    let mut ends = Vec::new();
    for begin in [Vec::new(), half, hello.clone()] {
        ends.push(tokio::spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(&begin).await.unwrap();
            let begun = Instant::now();
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
            begun.elapsed()
        }));
    }
    ends.push(tokio::spawn(async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let begun = Instant::now();
        for byte in hello {
            if socket.write_all(&[byte]).await.is_err() {
                break;
            }
            if let Ok(end) = tokio::time::timeout(Duration::from_millis(100), socket.read_u8()).await {
                assert!(end.is_err(), "an answer to a part of a hello");
                break;
            }
        }
        begun.elapsed()
    }));
    let config = Arc::new(authority.client(&[&TLS13], None));
    let mut socket = connect(address, &config).await.unwrap();
    ends.push(tokio::spawn(async move {
        let begun = Instant::now();
        socket.write_all(b"GET /t/acme/events HTTP/1.1\r\n").await.unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        begun.elapsed()
    }));
    for (n, end) in ends.into_iter().enumerate() {
        let took = end.await.unwrap();
        assert!((Duration::from_millis(9_800)..Duration::from_secs(13)).contains(&took), "{n}: {took:?}");
    }
}

#[tokio::test]
async fn who_has_no_certificate_of_the_right_authority_is_refused_where_one_is_asked_for() {
    let _alone = alone().await;
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let files = Files::of(&authority.issue());
    files.put_ca(&clients.pem());
    let ca = files.path("ca.pem").display().to_string();
    let server = serve(&files, &["--tls-client-ca-file", &ca]).await;
    for version in [&TLS12, &TLS13] {
        let before = handshakes(&server, "client_certificate").await;
        for own in [None, Some(strangers.issue())] {
            let config = Arc::new(authority.client(&[version], own.as_ref()));
            // With TLS 1.3 the client learns it with its first read.
            let mut begin = [0; 12];
            let answered = async {
                let mut socket = connect(server.address, &config).await?;
                socket.write_all(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await?;
                socket.read_exact(&mut begin).await
            };
            assert!(answered.await.is_err(), "it was let in");
            assert_eq!(begin, [0; 12]);
        }
        eventually("both are counted", async || {
            handshakes(&server, "client_certificate").await == before + 2.0
        })
        .await;
        let own = clients.issue();
        let config = Arc::new(authority.client(&[version], Some(&own)));
        // The second time by a ticket.
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut socket = connect(server.address, &config).await.unwrap();
            socket.write_all(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut begin = [0; 12];
            socket.read_exact(&mut begin).await.unwrap();
            assert_eq!(&begin, b"HTTP/1.1 404");
            assert_eq!(socket.get_ref().1.handshake_kind(), Some(kind));
        }
    }
}

#[tokio::test]
async fn a_client_that_comes_back_with_a_ticket_is_counted_as_such() {
    let _alone = alone().await;
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let server = serve(&files, &[]).await;
    for version in [&TLS12, &TLS13] {
        let (full, resumed) = (handshakes(&server, "full").await, handshakes(&server, "resumed").await);
        let config = Arc::new(authority.client(&[version], None));
        for _ in 0..5 {
            let mut socket = connect(server.address, &config).await.unwrap();
            socket.write_all(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            socket.read_exact(&mut [0; 12]).await.unwrap();
        }
        assert_eq!(handshakes(&server, "full").await, full + 1.0);
        assert_eq!(handshakes(&server, "resumed").await, resumed + 4.0);
    }
}

/// OpenSSL's client does what others cannot: it asks for a new handshake within the connection, which TLS 1.2 knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_at_renegotiation_is_rebuffed_and_harms_nobody() {
    let _beside = beside_others().await;
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let server = serve(&files, &[]).await;
    let address = server.address.to_string();
    let said = tokio::task::spawn_blocking(move || {
        let mut client = Command::new("openssl")
            .args(["s_client", "-tls1_2", "-legacy_renegotiation", "-connect", &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut input = client.stdin.take().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        input.write_all(b"GET /t/acme/events HTTP/1.1\r\nHost: a\r\n\r\n\n").unwrap();
        std::thread::sleep(Duration::from_millis(500));
        input.write_all(b"R\n").unwrap();
        std::thread::sleep(Duration::from_millis(500));
        drop(input);
        let output = client.wait_with_output().unwrap();
        Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    });
    let Some(said) = said.await.unwrap() else {
        println!("not looked at: there is no openssl here");
        return;
    };
    assert!(said.contains("text/event-stream") && said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no renegotiation"), "{said}");
    let config = Arc::new(authority.client(&[&TLS12], None));
    connect(server.address, &config).await.unwrap();
}

#[tokio::test]
async fn a_page_is_kept_by_its_client_alone_where_certificates_are_asked_for() {
    let _beside = beside_others().await;
    let (authority, clients) = (Authority::new(), Authority::new());
    let files = Files::of(&authority.issue());
    files.put_ca(&clients.pem());
    let ca = files.path("ca.pem").display().to_string();
    let own = Arc::new(authority.client(&[&TLS13], Some(&clients.issue())));
    for (flags, config, control) in [
        (&["--tls-client-ca-file", &*ca][..], own, "private, no-cache"),
        (&[], Arc::new(authority.client(&[&TLS13], None)), "public, max-age=3600, immutable"),
    ] {
        let mut server = serve(&files, flags).await;
        (0..2).for_each(|n| server.append("acme", &format!("n{n}")));
        let get = async |query: String| {
            let mut socket = connect(server.address, &config).await.unwrap();
            let asks = format!(
                "GET /t/acme/records?limit=1&{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            );
            socket.write_all(asks.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // Whether the end is a clean one is not looked at here.
            let _ = socket.read_to_string(&mut answer).await;
            answer
        };
        let first = get("from=earliest".to_owned()).await;
        let id = first.split("\"next\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
        let second = get(format!("last_event_id={id}")).await;
        assert!(second.contains(&format!("cache-control: {control}\r\n")), "{second}");
    }
}
