//! The client's address through the real proxies, with the blocks of docs/proxies.md: by their headers, and by PROXY protocol. It is what
//! the limit per address counts by, and what the audit log has, whatever clients write into the headers themselves.

#[path = "proxies/balancer.rs"]
mod balancer;
#[allow(dead_code, reason = "tests/proxies.rs uses the rest")]
#[path = "proxies/kind.rs"]
mod kind;
#[allow(dead_code, reason = "tests/proxies.rs uses the rest")]
#[path = "proxies/proxy.rs"]
mod proxy;
mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use balancer::Balancer;
use kind::{Kind, Upstream};
use proxy::Proxy;
use serde_json::Value;
use support::bridge::Bridge;
use support::kafka::Kafka;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const PATH: &str = "/t/acme/events";

/// A server that believes what comes from 127.0.0.1, where proxies connect from, and no other address of loopback.
async fn bridge(kafka: &Kafka, name: &str, env: &[(&str, &str)]) -> Bridge {
    let own = [
        ("TAILRACE_TRUSTED_PROXIES", "127.0.0.1"),
        ("TAILRACE_MAX_STREAMS_PER_ADDRESS", "1"),
        ("TAILRACE_LOG_FORMAT", "json"),
    ];
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", name, &[&own[..], env].concat());
    bridge.start().await;
    bridge
}

/// Asks for a stream from that address, and forges the headers. Returns the status, and the connection.
async fn ask(port: u16, from: Ipv4Addr) -> (u16, TcpStream) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("all of 127.0.0.0/8 is this machine's");
    let mut socket =
        socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.expect("a proxy listens");
    // Another address each time, as somebody would who evades a limit.
    let forged = format!("198.51.100.{}", rand::random::<u8>());
    let request = format!(
        "GET {PATH} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {forged}\r\nForwarded: for={forged}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.expect("a proxy reads");
    let mut answer = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read_exact(&mut answer)).await;
    read.expect("an answer in time").expect("an answer");
    let status = String::from_utf8_lossy(&answer)[9..].parse().expect("a status");
    (status, socket)
}

/// The addresses in the lines of the audit log on refusals.
fn refused_addresses(bridge: &Bridge) -> Vec<String> {
    let log = bridge.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let refused = lines.filter(|line| line["target"] == "audit" && line["message"] == "refused");
    refused.filter_map(|line| Some(line["address"].as_str()?.to_owned())).collect()
}

/// Each client has its own place, and a refusal is logged with its address.
async fn each_client_is_seen(bridge: &Bridge, port: u16, net: u8, through: &str) {
    let [one, other] = [2, 3].map(|host| Ipv4Addr::new(127, 0, net, host));
    let before = refused_addresses(bridge).len();
    let (status, _open) = ask(port, one).await;
    assert_eq!(status, 200, "{through}");
    for _ in 0..3 {
        assert_eq!(ask(port, one).await.0, 429, "{through}");
    }
    let (status, _open_too) = ask(port, other).await;
    assert_eq!(status, 200, "{through}");
    assert_eq!(ask(port, other).await.0, 429, "{through}");
    let addresses = refused_addresses(bridge);
    let expected = [one, one, one, other].map(|address| address.to_string());
    assert_eq!(addresses[before..], expected, "{through}");
    println!("{through}: {expected:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_each_proxy_the_limit_and_the_log_have_the_clients_address_and_no_forged_one() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 1, &[]).await;
    let bridge = bridge(&kafka, "forwarded", &[]).await;
    let kinds = [Kind::Nginx, Kind::Haproxy, Kind::Caddy, Kind::Envoy, Kind::Traefik];
    let over_http1 = kinds.map(|kind| (kind, Upstream::Http1));
    let over_http2 = kinds[1..].iter().map(|kind| (*kind, Upstream::Http2));
    for ((kind, speaks), net) in over_http1.into_iter().chain(over_http2).zip(11..) {
        let proxy = Proxy::start(kind, bridge.port, speaks).await;
        each_client_is_seen(&bridge, proxy.port, net, &format!("{} over {speaks:?}", kind.name())).await;
    }
    assert_eq!(bridge.metric("tailrace_forwarded_ignored_total").await, 0.0);
    // Without a proxy between, nothing that a client writes counts.
    each_client_is_seen(&bridge, bridge.port, 9, "direct").await;
    assert_eq!(bridge.metric("tailrace_forwarded_ignored_total").await, 6.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_balancers_with_proxy_protocol_the_limit_and_the_log_have_the_clients_address_and_no_forged_one()
 {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 1, &[]).await;
    let bridge = bridge(&kafka, "proxy-protocol", &[("TAILRACE_PROXY_PROTOCOL", "on")]).await;
    for (balancer, net) in
        [Balancer::HaproxyVersion1, Balancer::HaproxyVersion2, Balancer::Nginx].into_iter().zip(1..)
    {
        let running = balancer.start(bridge.port).await;
        each_client_is_seen(&bridge, running.port, net, &format!("{balancer:?}")).await;
    }
    // HAProxy's health checks, and the test's own look at the port, were no trouble.
    assert_eq!(bridge.metric("tailrace_proxy_headers_refused_total").await, 0.0);
    // Whoever is not trusted is served as before.
    each_client_is_seen(&bridge, bridge.port, 9, "direct").await;
}
