//! Receivers built on Rust's h2 count DATA frames of less than 256 bytes against a budget of the whole connection until they
//! are read, and hang up where it is used up (RUSTSEC-2026-0258).

use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;

use crate::beside_others;
use crate::support::Server;

/// Streams of one connection: more than the budget has room for with a frame each.
const STREAMS: usize = 120;
/// The least budget that such a receiver has, in bytes.
const BUDGET: u32 = 25_600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_of_many_streams_outlives_heartbeats_and_small_events_that_are_not_read() {
    let _beside = beside_others().await;
    let mut server = Server::open(&["--heartbeat", "1s"]).await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.data_frame_budget(BUDGET as usize).initial_connection_window_size(8 << 20);
    let (mut sender, connection) = builder.handshake::<_, Bytes>(socket).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut bodies = Vec::new();
    for _ in 0..STREAMS {
        sender = sender.ready().await.unwrap();
        let target = format!("http://{}/t/acme/events", server.address);
        let request = axum::http::Request::get(target).body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        bodies.push(response.into_body());
    }
    server.append("acme", "small");
    // Of each stream the first block, an event, and two heartbeats or three.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert!(!driver.is_finished(), "the receiver hung up");
    for body in &mut bodies {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains("data: small\n") {
            text.extend(body.data().await.expect("the stream goes on").expect("the connection lives"));
        }
    }
    driver.abort();
}
