//! What a client sends after its request is nobody's: it neither grows memory nor keeps others waiting, and its own
//! stream goes on.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::way::{Ask, Reader, Way, Wired};
use crate::{beside_others, on_every_way_of_http_1};

/// Far above every buffer on the way.
const FLOOD: usize = 24 << 20;
const QUIET: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(2);

async fn garbage_is_nobodys(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let mut calm = Reader::open(way.beside(), server.address, &Ask::of("calm")).await;
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

/// Requests with bodies before the stream's, by a client that reads none of the answers before it has sent all: hyper reads
/// on while an answer is not sent yet. Each of them comes, and the stream after them.
async fn answers_come_before_the_stream(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    let before = "POST /nothing HTTP/1.1\r\nHost: tailrace\r\nContent-Length: 5\r\n\r\nhello";
    for count in (100..1300).step_by(100) {
        let mut socket = Wired::open(way, &Ask::of("acme").room(32 * 1024), server.address).await;
        let stream = "GET /t/acme/events HTTP/1.1\r\nHost: tailrace\r\n\r\n";
        let requests = before.repeat(count) + stream;
        let sent = tokio::time::timeout(SOON, async {
            socket.write_all(requests.as_bytes()).await?;
            socket.flush().await
        });
        assert!(sent.await.is_ok(), "the server takes the requests");
        // As much as there is for it is written by now.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut answers = String::new();
        while !answers.contains("tailrace.synced") {
            let mut part = vec![0; 64 * 1024];
            let count =
                tokio::time::timeout(SOON, socket.read(&mut part)).await.expect("it goes on").unwrap();
            assert!(count > 0, "the end after {} answers", answers.matches("HTTP/1.1 404").count());
            answers.push_str(std::str::from_utf8(&part[..count]).unwrap());
        }
        let (refused, begun) = answers.split_once("HTTP/1.1 200 OK").unwrap();
        assert_eq!(refused.matches("HTTP/1.1 404").count(), count);
        assert!(begun.contains("text/event-stream"), "{begun}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_were_not_sent_yet_come_before_the_stream() {
    answers_come_before_the_stream(Way::Writer).await;
}

/// Here some of them are encrypted, and not sent, when the writer thread takes the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_were_not_sent_yet_come_before_the_stream_over_tls() {
    answers_come_before_the_stream(Way::Tls).await;
}

on_every_way_of_http_1!(what_comes_after_the_request_is_nobodys, garbage_is_nobodys);
