//! What a client sends after its request is nobody's: it neither grows memory nor keeps others waiting, and its own
//! stream goes on.

use std::time::{Duration, Instant};

use crate::support::Server;
use crate::way::{Ask, Reader, Way};
use crate::{beside_others, on_every_way_of_http_1};

/// Far above every buffer on the way.
const FLOOD: usize = 24 << 20;
const QUIET: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(2);

async fn garbage_is_nobodys(way: Way) {
    let _beside = beside_others().await;
    let mut server = Server::open(&[]).await;
    let mut calm = Reader::open(Way::Writer, server.address, &Ask::of("calm")).await;
    calm.next().await.unwrap();
    let mut floods = Vec::new();
    for n in 0..3 {
        // Also what looks like another request, in the same packet as the first.
        let more = format!("GET /t/acme/events?n={n} HTTP/1.1\r\nHost: tailrace\r\n\r\n").repeat(n * 20);
        let mut reader = Reader::open(way, server.address, &Ask::of("acme").after(more.as_bytes())).await;
        reader.next().await.unwrap();
        floods.push(tokio::spawn(async move {
            // A way may stop reading instead: then the client is held up, and nobody else.
            let sent = reader.send(&vec![b'x'; FLOOD], QUIET).await;
            (reader, sent)
        }));
    }
    let mut longest = Duration::ZERO;
    let mut rounds = 0;
    while rounds < 20 || !floods.iter().all(|flood| flood.is_finished()) {
        let begin = Instant::now();
        server.append("calm", "one");
        calm.next_record().await;
        longest = longest.max(begin.elapsed());
        rounds += 1;
    }
    assert!(longest < SOON, "a calm stream beside floods waited for {longest:?}");
    server.append("acme", "after the flood");
    for flood in floods {
        let (mut reader, sent) = flood.await.unwrap();
        println!("{way:?}: took {sent} bytes that nobody asked for");
        assert_eq!(reader.next_record().await.data.as_deref(), Some("after the flood"));
        // A second answer on the same connection would be within the first.
        server.append("acme", "after the flood");
    }
}

on_every_way_of_http_1!(what_comes_after_the_request_is_nobodys, garbage_is_nobodys);
