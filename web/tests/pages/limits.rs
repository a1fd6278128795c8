//! A page is no way around a limit: it counts as a stream, and takes from the same rates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::ledger::Ledger;
use crate::support::{Client, Server};
use crate::{RECORDS, eventually, listed, next, page, values};

const EVENTS: &str = "/t/acme/events";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_takes_the_place_of_a_stream_and_a_stream_that_of_a_page() {
    for (flag, limit) in [
        ("--max-streams", "max_streams"),
        ("--max-streams-per-tenant", "max_streams_per_tenant"),
        ("--max-streams-per-address", "max_streams_per_address"),
    ] {
        let server = Server::open(&[flag, "1"]).await;
        let stream = server.get(EVENTS, &[]).await;
        for id in ["", "?last_event_id=abc"] {
            let mut refused = server.get(&format!("{RECORDS}{id}"), &[]).await;
            assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (429, true), "{flag}");
            assert_eq!(refused.json().await["limit"], limit);
        }
        drop(stream);
        eventually("the place is free", async || server.get(RECORDS, &[]).await.status == 200).await;
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let asks = format!("GET {RECORDS}?wait=50s HTTP/1.1\r\nHost: a\r\n\r\n");
        socket.write_all(asks.as_bytes()).await.unwrap();
        eventually("the page waits", async || !listed(&server).await.is_empty()).await;
        assert_eq!(server.get(EVENTS, &[]).await.status, 429, "{flag}");
        drop(socket);
        eventually("the place is free", async || server.get(EVENTS, &[]).await.status == 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_of_new_streams_is_that_of_pages() {
    for (first, second) in [(RECORDS, EVENTS), (EVENTS, RECORDS), (RECORDS, RECORDS)] {
        let server = Server::open(&["--connect-rate-per-tenant", "1/m"]).await;
        assert_eq!(server.get(first, &[]).await.status, 200);
        assert_eq!(server.get(second, &[]).await.json().await["limit"], "connect_rate_per_tenant");
    }
}

/// Reads page after page; returns how long it takes to get so many records.
async fn time_of(server: &Server, records: usize) -> Duration {
    let (begin, mut got, mut id) = (Instant::now(), 0, "from=earliest".to_owned());
    while got < records {
        let found = page(server, &format!("{id}&limit=1000")).await;
        got += values(&found).len();
        id = format!("last_event_id={}", next(&found));
    }
    begin.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_page_after_page_gets_no_more_a_second_than_a_stream() {
    // A tenant's rate has a burst of a second.
    for (flag, least) in [("--stream-event-rate", 1900), ("--tenant-event-rate", 900)] {
        let mut server = Server::open(&[flag, "20/s"]).await;
        (0..40).for_each(|n| server.append("acme", &format!("n{n}")));
        let took = time_of(&server, 40).await;
        assert!(took >= Duration::from_millis(least) && took < Duration::from_secs(6), "{flag}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_small_pages_get_no_more_a_second_either() {
    let mut server = Server::open(&["--stream-event-rate", "20/s"]).await;
    (0..40).for_each(|n| server.append("acme", &format!("n{n}")));
    let (begin, mut got, mut id) = (Instant::now(), 0, "from=earliest".to_owned());
    while got < 40 {
        let found = page(&server, &format!("{id}&limit=3")).await;
        got += values(&found).len();
        id = format!("last_event_id={}", next(&found));
    }
    assert!(begin.elapsed() >= Duration::from_millis(1800), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_gets_nothing_of_its_tenant_s_rate_says_so() {
    let mut server = Server::open(&["--tenant-event-rate", "1/s"]).await;
    server.append("acme", "one");
    let server = Arc::new(server);
    let asks = (0..12).map(|_| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let mut client = server.get(&format!("{RECORDS}?from=earliest&limit=1"), &[]).await;
            (client.status, client.headers.contains_key("retry-after"), client.json().await)
        })
    });
    let asks: Vec<_> = asks.collect();
    let mut refused = 0;
    for ask in asks {
        let (status, says_when, body) = ask.await.unwrap();
        if status == 200 {
            assert_eq!(values(&body), ["one"]);
            continue;
        }
        assert_eq!((status, says_when, &body["limit"]), (429, true, &json!("tenant_rate")), "{body}");
        assert_eq!(body["variable"], "TAILRACE_TENANT_EVENT_RATE");
        refused += 1;
    }
    assert!((3..=9).contains(&refused), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_reads_history_has_a_place_among_the_replays() {
    let mut ledger = Ledger::new(1);
    (0..40).for_each(|n| ledger.write(0, "acme", format!("n{n}"), 0));
    ledger.slow = Some((Duration::from_millis(200), 5));
    let server = ledger.replica(&["--max-replays-per-tenant", "1"]).await;
    let address = server.address;
    let first = tokio::spawn(async move {
        Client::request(address, "GET", &format!("{RECORDS}?from=earliest"), &[]).await.json().await
    });
    eventually("it reads", async || !listed(&server).await.is_empty()).await;
    let mut refused = server.get(&format!("{RECORDS}?from=earliest"), &[]).await;
    assert_eq!((refused.status, &refused.json().await["limit"]), (429, &json!("max_replays_per_tenant")));
    assert_eq!(server.get(RECORDS, &[]).await.status, 200, "from=latest needs none");
    assert_eq!(values(&first.await.unwrap()).len(), 40);
    eventually("its place is free", async || {
        server.get(&format!("{RECORDS}?from=earliest"), &[]).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_s_conditions_count_while_its_page_waits() {
    let server = Server::open(&["--max-conditions-per-tenant", "1"]).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let asks = format!("GET {RECORDS}?wait=50s&where=value.a!%3D1 HTTP/1.1\r\nHost: a\r\n\r\n");
    socket.write_all(asks.as_bytes()).await.unwrap();
    eventually("the page waits", async || !listed(&server).await.is_empty()).await;
    let mut refused = server.get(&format!("{RECORDS}?where=value.b!%3D1"), &[]).await;
    assert_eq!(refused.json().await["limit"], "max_conditions_per_tenant");
    drop(socket);
    eventually("it is free", async || {
        server.get(&format!("{RECORDS}?where=value.b!%3D1"), &[]).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_pages_race_for_the_last_place_and_all_places_come_back() {
    const PLACES: usize = 4;
    const SERVED: usize = 40;
    let server = Arc::new(Server::open(&["--max-streams-per-tenant", "4"]).await);
    let (most, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let until = Instant::now() + Duration::from_secs(20);
    let tasks: Vec<_> = (0..24)
        .map(|n| {
            let (server, served) = (Arc::clone(&server), Arc::clone(&served));
            tokio::spawn(async move {
                for round in 0.. {
                    if served.load(Ordering::Relaxed) >= SERVED || Instant::now() >= until {
                        break;
                    }
                    let wait = if (n + round) % 3 == 0 { "30ms" } else { "0s" };
                    let target = format!("{RECORDS}?wait={wait}");
                    let asked = server.get(&target, &[]);
                    // Some leave before the answer.
                    let Ok(client) = tokio::time::timeout(Duration::from_millis(20), asked).await else {
                        continue;
                    };
                    assert!(matches!(client.status, 200 | 429), "{}", client.status);
                    served.fetch_add(usize::from(client.status == 200), Ordering::Relaxed);
                }
            })
        })
        .collect();
    while tasks.iter().any(|task| !task.is_finished()) {
        most.fetch_max(listed(&server).await.len(), Ordering::Relaxed);
    }
    for task in tasks {
        task.await.unwrap();
    }
    let (most, served) = (most.load(Ordering::Relaxed), served.load(Ordering::Relaxed));
    assert!(most <= PLACES && served >= SERVED, "{most} at once, {served} served");
    eventually("all places are free", async || listed(&server).await.is_empty()).await;
    let mut held = Vec::new();
    eventually("all places are free", async || {
        held.push(server.get(EVENTS, &[]).await);
        held.retain(|client| client.status == 200);
        held.len() == PLACES
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_page_keeps_its_place() {
    let mut server = Server::open(&["--max-streams", "1"]).await;
    // More than a socket and its buffers take.
    let value = "x".repeat(1 << 20);
    (0..8).for_each(|_| server.append("acme", &value));
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let asks = format!("GET {RECORDS}?from=earliest&limit=1000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let many = asks.repeat(8);
    socket.write_all(many.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.get(RECORDS, &[]).await.status, 429);
    drop(socket);
    eventually("the place is free", async || server.get(RECORDS, &[]).await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_clients_that_read_nothing_hold_no_more_than_the_memory_for_pages() {
    for (accept, envelope) in [("*/*", "record"), ("application/x-ndjson", "none")] {
        let server = Server::open(&[]).await;
        // Binary: under `none` it stands in the last line.
        crate::form::append(&server, 0, None, Some(&vec![0xff; 2 << 20]));
        let target = format!("{RECORDS}?from=earliest&envelope={envelope}");
        let mut clients = Vec::new();
        let mut refused = eventually_refused(&server, &target, accept, &mut clients).await;
        assert_eq!((refused.status, &*refused.headers["retry-after"]), (503, "5"));
        assert!(refused.body().await.contains("memory"));
        assert!((20..40).contains(&clients.len()), "{accept}: {} of 2.7 MiB", clients.len());
        clients.clear();
        eventually("the memory is free", async || {
            server.get(&target, &[("Accept", accept)]).await.status == 200
        })
        .await;
    }
}

/// Asks with more and more clients that read nothing but the head, until one is refused.
async fn eventually_refused(
    server: &Server,
    target: &str,
    accept: &str,
    clients: &mut Vec<Client>,
) -> Client {
    while clients.len() < 60 {
        let client = server.get(target, &[("Accept", accept)]).await;
        if client.status != 200 {
            return client;
        }
        clients.push(client);
        // A last line is made once the lines before it are taken.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} clients hold pages", clients.len());
}
