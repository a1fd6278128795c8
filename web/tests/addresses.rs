//! Who is at the other end, over real sockets: what trusted proxies report is what limits count by, and nobody else is believed.
//!
//! Loopback is a network of many addresses here: `127.0.0.9` is the proxy that is trusted, all others are strangers.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use support::{Client, Server, args};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const EVENTS: &str = "/t/acme/events";
const PROXY: &str = "127.0.0.9:0";
const STRANGER: &str = "127.0.0.7:0";
/// One stream for each address shows whom a request is taken for.
const ONE_EACH: [&str; 4] = ["--trusted-proxies", "127.0.0.9,fd00::/8", "--max-streams-per-address", "1"];

async fn connect(from: &str, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from.parse().unwrap()).unwrap();
    socket.connect(server).await.unwrap()
}

fn request(headers: &[(&str, &str)]) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {EVENTS} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// A connection from that address that begins with these bytes.
async fn send(server: &Server, from: &str, bytes: &[u8]) -> TcpStream {
    let mut socket = connect(from, server.address).await;
    socket.write_all(bytes).await.unwrap();
    socket
}

async fn get(server: &Server, from: &str, headers: &[(&str, &str)]) -> Client {
    Client::answer(send(server, from, request(headers).as_bytes()).await).await
}

/// A stream of a client that the balancer names by PROXY protocol.
async fn behind(server: &Server, header: &[u8]) -> Client {
    let bytes = [header, request(&[]).as_bytes()].concat();
    Client::answer(send(server, PROXY, &bytes).await).await
}

fn line(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.1 4711 443\r\n").into_bytes()
}

fn binary(client: [u8; 4]) -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C"[..], &client, &[192, 0, 2, 1, 0x12, 0x67, 1, 0xBB]].concat()
}

async fn with_proxy_protocol(flags: &[&str]) -> Server {
    Server::open(&[&ONE_EACH[..], &["--proxy-protocol", "on"], flags].concat()).await
}

/// What a connection gets that is closed without an answer.
async fn whole(mut socket: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut all));
    // A reset is an end as well.
    let _ = reading.await.expect("it is closed");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxys_clients_are_limited_one_by_one() {
    let server = Server::open(&ONE_EACH).await;
    for (name, one, same, other) in [
        ("X-Forwarded-For", "203.0.113.1", "::ffff:203.0.113.1", "203.0.113.2"),
        ("Forwarded", "for=198.51.100.1", "for=\"198.51.100.1:4711\"", "for=198.51.100.2"),
        ("X-Forwarded-For", "2001:db8:1:1::1", "2001:db8:1:1:ffff::2", "2001:db8:1:2::1"),
        (
            "Forwarded",
            "for=\"[2001:db8:2:1::1]\"",
            "for=\"[2001:db8:2:1::2]:80\"",
            "for=\"[2001:db8:2:2::1]\"",
        ),
    ] {
        let mut streams = vec![get(&server, PROXY, &[(name, one)]).await];
        assert_eq!(streams[0].status, 200, "{one}");
        assert_eq!(get(&server, PROXY, &[(name, same)]).await.status, 429, "{same}");
        streams.push(get(&server, PROXY, &[(name, other)]).await);
        assert_eq!(streams[1].status, 200, "{other}");
        // A proxy behind the proxy.
        let through = format!("{one}, {}", if name == "Forwarded" { "for=\"[fd00::2]\"" } else { "fd00::2" });
        assert_eq!(get(&server, PROXY, &[(name, &through)]).await.status, 429, "{through}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_forges_the_header_is_limited_by_the_socket() {
    let server = Server::open(&ONE_EACH).await;
    let ignored = server.metric("tailrace_forwarded_ignored_total{reason=\"untrusted\"}").await;
    let stream = get(&server, STRANGER, &[("X-Forwarded-For", "203.0.113.1")]).await;
    assert_eq!(stream.status, 200);
    for header in [
        ("X-Forwarded-For", "203.0.113.2"),
        ("Forwarded", "for=203.0.113.3"),
        ("X-Forwarded-For", "127.0.0.9"),
    ] {
        assert_eq!(get(&server, STRANGER, &[header]).await.status, 429, "{header:?}");
    }
    // Nor does it use up the place of whom it named.
    assert_eq!(get(&server, PROXY, &[("X-Forwarded-For", "203.0.113.1")]).await.status, 200);
    assert!(server.metric("tailrace_forwarded_ignored_total{reason=\"untrusted\"}").await >= ignored + 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_the_proxy_who_writes_the_header_first_is_limited_by_what_the_proxy_adds() {
    let server = Server::open(&ONE_EACH).await;
    let _stream = get(&server, PROXY, &[("X-Forwarded-For", "203.0.113.1")]).await;
    for forged in ["1.1.1.1, 203.0.113.1", "127.0.0.9, 203.0.113.1", "\", 203.0.113.1", ",,, 203.0.113.1"] {
        assert_eq!(get(&server, PROXY, &[("X-Forwarded-For", forged)]).await.status, 429, "{forged}");
    }
    for forged in
        ["for=1.1.1.1, for=203.0.113.1", "for=\"1.1.1.1, for=203.0.113.1", "for=\"\\, for=203.0.113.1"]
    {
        assert_eq!(get(&server, PROXY, &[("Forwarded", forged)]).await.status, 429, "{forged}");
    }
    let lines = [("X-Forwarded-For", "1.1.1.1"), ("x-forwarded-for", "203.0.113.1")];
    assert_eq!(get(&server, PROXY, &lines).await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_that_the_proxy_does_not_write_moves_nobody_to_an_address_of_their_choice() {
    let server = Server::open(&ONE_EACH).await;
    let conflicts = server.metric("tailrace_forwarded_ignored_total{reason=\"conflict\"}").await;
    // The proxy writes X-Forwarded-For and passes on what its client wrote into Forwarded: it counts as the proxy.
    let both = |forged: &'static str| [("Forwarded", forged), ("X-Forwarded-For", "203.0.113.1")];
    let proxy = get(&server, PROXY, &both("for=198.51.100.1")).await;
    assert_eq!(get(&server, PROXY, &both("for=198.51.100.2")).await.status, 429);
    let victim = get(&server, PROXY, &[("X-Forwarded-For", "198.51.100.1")]).await;
    assert_eq!((proxy.status, victim.status), (200, 200));
    assert!(server.metric("tailrace_forwarded_ignored_total{reason=\"conflict\"}").await >= conflicts + 2.0);

    let chosen = Server::open(&[&ONE_EACH[..], &["--forwarded-header", "x-forwarded-for"]].concat()).await;
    let _client = get(&chosen, PROXY, &both("for=198.51.100.1")).await;
    assert_eq!(get(&chosen, PROXY, &both("for=198.51.100.2")).await.status, 429);
    assert_eq!(get(&chosen, PROXY, &[("Forwarded", "for=198.51.100.3")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_http2_connection_are_each_of_their_own_client() {
    let server = Server::open(&ONE_EACH).await;
    let (mut sender, connection) = h2::client::handshake(connect(PROXY, server.address).await).await.unwrap();
    let driver = tokio::spawn(async move {
        let _: Result<(), h2::Error> = connection.await;
    });
    let mut open = Vec::new();
    for (client, status) in [("203.0.113.1", 200), ("203.0.113.2", 200), ("203.0.113.1", 429)] {
        let target = format!("http://{}{EVENTS}", server.address);
        let request = axum::http::Request::get(target).header("X-Forwarded-For", client).body(()).unwrap();
        let (response, _): (_, h2::SendStream<Bytes>) = sender.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), status, "{client}");
        open.push(response);
        sender = sender.ready().await.unwrap();
    }
    driver.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_that_a_balancer_names_is_limited() {
    let server = with_proxy_protocol(&[]).await;
    let one = behind(&server, &line("203.0.113.1")).await;
    let other = behind(&server, &binary([203, 0, 113, 2])).await;
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(behind(&server, &binary([203, 0, 113, 1])).await.status, 429);
    assert_eq!(behind(&server, b"PROXY TCP6 ::ffff:203.0.113.2 ::1 1 2\r\n").await.status, 429);
    // What is open is counted for as long as it is open.
    drop((one, other));
    let mut statuses = Vec::new();
    for _ in 0..100 {
        statuses.push(behind(&server, &line("203.0.113.1")).await.status);
        if statuses.ends_with(&[200]) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_in_pieces_and_what_follows_it_in_the_same_packet_are_read_as_one_and_the_other() {
    let server = with_proxy_protocol(&[]).await;
    let mut socket = connect(PROXY, server.address).await;
    socket.set_nodelay(true).unwrap();
    let bytes = [&line("203.0.113.1"), request(&[]).as_bytes()].concat();
    for piece in [&bytes[..1], &bytes[1..11], &bytes[11..43], &bytes[43..60], &bytes[60..]] {
        socket.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(Client::answer(socket).await.status, 200);

    // HTTP/2 behind the header, all of it at once.
    let mut socket = connect(PROXY, server.address).await;
    socket.write_all(&binary([203, 0, 113, 2])).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move {
        let _: Result<(), h2::Error> = connection.await;
    });
    let request = axum::http::Request::get(format!("http://{}{EVENTS}", server.address)).body(()).unwrap();
    let (response, _): (_, h2::SendStream<Bytes>) = sender.send_request(request, true).unwrap();
    // As long as it is held, the stream is open.
    let open = response.await.unwrap();
    assert_eq!(open.status(), 200);
    assert_eq!(behind(&server, &line("203.0.113.2")).await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_a_balancer_is_not_believed_in_its_own_headers() {
    let server = with_proxy_protocol(&[]).await;
    let with = async |header: &[u8], claimed: &str| {
        let bytes = [header, request(&[("X-Forwarded-For", claimed)]).as_bytes()].concat();
        Client::answer(send(&server, PROXY, &bytes).await).await
    };
    let _stream = with(&line("203.0.113.1"), "198.51.100.1").await;
    assert_eq!(with(&line("203.0.113.1"), "198.51.100.2").await.status, 429);
    // A proxy between them is: the balancer says that it is one that is trusted.
    let through = with(&line("127.0.0.9"), "198.51.100.1").await;
    assert_eq!(through.status, 200);
    assert_eq!(with(&line("127.0.0.9"), "198.51.100.1").await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_of_the_balancer_is_served_as_the_balancers_whatever_its_headers_say() {
    let server = with_proxy_protocol(&[]).await;
    let claimed = request(&[("X-Forwarded-For", "203.0.113.1")]);
    let local = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], claimed.as_bytes()];
    let first = Client::answer(send(&server, PROXY, &local.concat()).await).await;
    assert_eq!(first.status, 200);
    assert_eq!(behind(&server, b"PROXY UNKNOWN\r\n").await.status, 429);
    assert_eq!(behind(&server, &line("203.0.113.1")).await.status, 200);
    // A look at the port, without a byte, is neither counted nor answered.
    let before = server.metric("tailrace_proxy_headers_refused_total{reason=\"closed\"}").await;
    drop(connect(PROXY, server.address).await);
    assert_eq!(behind(&server, &line("203.0.113.3")).await.status, 200);
    assert_eq!(server.metric("tailrace_proxy_headers_refused_total{reason=\"closed\"}").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_connection_without_a_header_or_with_a_wrong_one_is_closed_without_an_answer() {
    let server = with_proxy_protocol(&[]).await;
    for (reason, begin) in [
        ("missing", request(&[]).into_bytes()),
        ("missing", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("missing", b"\x16\x03\x01\x02\x00\x01".to_vec()),
        ("malformed", [&line("203.0.113.999"), request(&[]).as_bytes()].concat()),
        ("malformed", format!("PROXY UNKNOWN {}", "a".repeat(200)).into_bytes()),
        ("too_long", [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF"[..], &[0; 100]].concat()),
    ] {
        let name = format!("tailrace_proxy_headers_refused_total{{reason=\"{reason}\"}}");
        let before = server.metric(&name).await;
        assert_eq!(whole(send(&server, PROXY, &begin).await).await, b"", "{reason}");
        assert!(server.metric(&name).await > before, "{reason} is not counted");
    }
    // Two headers: the second is a request that cannot be read.
    let twice = [&line("203.0.113.1")[..], &line("198.51.100.1"), request(&[]).as_bytes()].concat();
    assert_eq!(Client::answer(send(&server, PROXY, &twice).await).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_from_a_stranger_is_a_request_that_cannot_be_read_and_without_one_it_is_served() {
    let server = with_proxy_protocol(&[]).await;
    for header in [line("203.0.113.1"), binary([203, 0, 113, 1])] {
        let bytes = [&header[..], request(&[]).as_bytes()].concat();
        let mut answer = Client::answer(send(&server, STRANGER, &bytes).await).await;
        assert_eq!(answer.status, 400);
        let problem = answer.json().await;
        assert_eq!(problem["code"], "bad_request");
        assert!(problem["detail"].as_str().unwrap().contains("TAILRACE_TRUSTED_PROXIES"), "{problem}");
    }
    let plain = get(&server, STRANGER, &[]).await;
    assert_eq!(plain.status, 200);
    assert_eq!(get(&server, STRANGER, &[("X-Forwarded-For", "203.0.113.1")]).await.status, 429);
    // The same where nobody may send the header.
    let off = Server::open(&ONE_EACH).await;
    let bytes = [&line("203.0.113.1")[..], request(&[]).as_bytes()].concat();
    assert_eq!(Client::answer(send(&off, PROXY, &bytes).await).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_answered_without_a_header() {
    let server = with_proxy_protocol(&["--trusted-proxies", "127.0.0.0/8"]).await;
    assert_eq!(Client::request(server.admin, "GET", "/readyz", &[]).await.status, 200);
}

#[test]
fn wrong_networks_and_switches_name_the_variable_and_what_is_accepted() {
    for (flag, value, variable, accepted) in [
        ("--trusted-proxies", "proxy.example", "TAILRACE_TRUSTED_PROXIES", "10.0.0.0/8"),
        ("--trusted-proxies", "10.0.0.0/8 127.0.0.1", "TAILRACE_TRUSTED_PROXIES", "comma-separated"),
        ("--trusted-proxies", "10.0.0.1/8", "TAILRACE_TRUSTED_PROXIES", "10.0.0.0/8"),
        ("--forwarded-header", "x-real-ip", "TAILRACE_FORWARDED_HEADER", "x-forwarded-for"),
        ("--proxy-protocol", "v2", "TAILRACE_PROXY_PROTOCOL", "on or off"),
        ("--proxy-protocol", "on", "TAILRACE_PROXY_PROTOCOL", "TAILRACE_TRUSTED_PROXIES"),
    ] {
        let error = args(&["--auth", "none", flag, value])
            .settings()
            .err()
            .unwrap_or_else(|| panic!("{value} was taken"));
        assert_eq!((error.variable, error.value.as_str()), (variable, value));
        assert!(error.accepted.contains(accepted), "{error}");
    }
}

#[test]
fn who_trusts_everybody_or_nobody_by_mistake_is_told_so() {
    let doubts = |flags: &[&str]| {
        let flags = [&["--auth", "none", "--listen", "127.0.0.1:0"], flags].concat();
        args(&flags).settings().unwrap().doubts()
    };
    let everybody = doubts(&["--trusted-proxies", "127.0.0.1,0.0.0.0/0"]);
    assert!(everybody.len() == 1 && everybody[0].contains("0.0.0.0/0"), "{everybody:?}");
    let nobody = doubts(&["--forwarded-header", "forwarded"]);
    assert!(nobody.len() == 1 && nobody[0].contains("TAILRACE_TRUSTED_PROXIES is empty"), "{nobody:?}");
    assert!(doubts(&["--trusted-proxies", "127.0.0.1", "--forwarded-header", "forwarded"]).is_empty());
}
