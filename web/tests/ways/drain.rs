//! At the end of the process every stream gets its last word: `tailrace.drain` with the id to come back with, and a
//! clean end, whatever its client does.

use std::time::{Duration, Instant};

use crate::support::{Block, Client, Server};
use crate::way::{Ask, End, Reader, Way};
use crate::{alone, beside_others, eventually, on_every_way, on_every_way_of_http_1};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Few streams are ended within a second (the delay comes before it).
const WINDOW: Duration = Duration::from_millis(1000 + 200);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

async fn serve(way: Way, flags: &[&str]) -> Server {
    way.server(&[&["--drain-timeout", "10s"], flags].concat()).await
}

/// The last block, checked.
fn last_word(blocks: &[Block], reader: &Reader) -> String {
    assert_eq!(reader.end, Some(End::Clean));
    let drains: Vec<&Block> = blocks.iter().filter(|block| block.is("tailrace.drain")).collect();
    assert_eq!(drains.len(), 1, "one last word");
    let last = blocks.last().unwrap();
    assert!(last.is("tailrace.drain"), "{last:?}");
    assert_eq!(last.json()["code"], "draining");
    assert_eq!(last.json()["retry_ms"].as_u64(), last.retry);
    // By then a restart is over; up to a half more is for each its own.
    assert!((5_000..7_500).contains(&last.retry.unwrap()), "{last:?}");
    last.id.clone().expect("an id to come back with")
}

async fn idle_and_paced_ones_end_in_the_window(way: Way) {
    let _beside = beside_others().await;
    let mut server = serve(way, &["--stream-event-rate", "5/s"]).await;
    let mut readers = Vec::new();
    for n in 0..16 {
        let mut reader = Reader::open(way, server.address, &Ask::of(["calm", "paced"][n % 2])).await;
        reader.next().await.unwrap();
        readers.push(reader);
    }
    // More than they get before the end: they wait for their pace when it comes.
    (0..100).for_each(|n| server.append("paced", &n.to_string()));
    server.append("calm", "one");
    for reader in &mut readers {
        reader.next_record().await;
    }
    let begin = Instant::now();
    server.stop();
    let mut retries = Vec::new();
    for mut reader in readers {
        let blocks = reader.rest().await;
        last_word(&blocks, &reader);
        retries.push(blocks.last().unwrap().retry.unwrap());
        reader.close().await;
    }
    assert!(begin.elapsed() < WINDOW + SLACK, "{:?}", begin.elapsed());
    retries.sort_unstable();
    retries.dedup();
    assert!(retries.len() > 4, "they do not come back together: {retries:?}");
    tokio::time::timeout(TIMEOUT / 2, &mut server.running).await.expect("nothing is waited for").unwrap();
}

/// Clients that do not read are written their last word when they do, behind what they had not read; its id is that of
/// the last record before it.
async fn blocked_ones_get_it_when_they_read(way: Way) {
    blocked_ones_get_it(way, &[]).await;
}

async fn blocked_ones_that_have_talked_get_it_when_they_read(way: Way) {
    blocked_ones_get_it(way, &[b'x'; 100_000]).await;
}

async fn blocked_ones_get_it(way: Way, after: &[u8]) {
    let _beside = beside_others().await;
    let mut server = serve(way, &[]).await;
    let mut readers = Vec::new();
    for _ in 0..4 {
        let ask = Ask::of("acme").room(16 * 1024).after(after);
        let mut reader = Reader::open(way, server.address, &ask).await;
        reader.next().await.unwrap();
        readers.push(reader);
    }
    let mut calm = Reader::open(way, server.address, &Ask::of("calm")).await;
    let padding = "x".repeat(20_000);
    (0..200).for_each(|n| server.append("acme", &format!("{n} {padding}")));
    server.append("calm", "one");
    calm.next_record().await;
    server.stop();
    // Closes have begun when the calm one has ended, and a window later each has had its moment.
    last_word(&calm.rest().await, &calm);
    tokio::time::sleep(WINDOW).await;
    for mut reader in readers {
        let blocks = reader.rest().await;
        let id = last_word(&blocks, &reader);
        let records: Vec<&Block> =
            blocks.iter().filter(|block| block.event.is_none() && block.data.is_some()).collect();
        assert!(records.len() < 200, "it was blocked when the end came");
        for (n, record) in records.iter().enumerate() {
            assert_eq!(record.data.as_deref(), Some(format!("{n} {padding}").as_str()));
        }
        assert_eq!(records.last().and_then(|record| record.id.clone()), Some(id));
    }
    tokio::time::timeout(TIMEOUT, &mut server.running).await.unwrap().unwrap();
}

/// A socket that is closed with bytes of its client unread is reset, and what was written is destroyed unless the client
/// has read it before. This one reads only when the server has gone.
async fn talkers_get_it_although_nobody_reads_what_they_say(way: Way) {
    let _beside = beside_others().await;
    let mut server = serve(way, &[]).await;
    let mut readers = Vec::new();
    for n in 0..4 {
        let ask = Ask::of("acme").after(["", "GET / HTTP/1.1\r\n"][n % 2].as_bytes());
        let mut reader = Reader::open(way, server.address, &ask).await;
        reader.next().await.unwrap();
        reader.send(&vec![b'x'; 300_000], Duration::from_millis(100)).await;
        readers.push(reader);
    }
    server.stop();
    let address = server.address;
    eventually("the process goes", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    for mut reader in readers {
        let blocks = reader.rest().await;
        last_word(&blocks, &reader);
        reader.close().await;
    }
    tokio::time::timeout(TIMEOUT, &mut server.running).await.unwrap().unwrap();
}

/// One that takes nothing is not open for longer than others: its last word stands behind what it has not taken.
async fn old_ones_end_although_they_are_blocked(way: Way) {
    const BY_AGE: &str = "tailrace_streams_closed_total{reason=\"max_age\"}";
    let _alone = alone().await;
    let mut server = way.server(&["--max-connection-age", "1s", "--heartbeat", "1h"]).await;
    let mut reader = Reader::open(way, server.address, &Ask::of("acme").room(16 * 1024)).await;
    reader.next().await.unwrap();
    let before = server.metric(BY_AGE).await;
    let padding = "x".repeat(20_000);
    (0..200).for_each(|n| server.append("acme", &format!("{n} {padding}")));
    eventually("its age ends it", async || server.metric(BY_AGE).await > before).await;
    let blocks = reader.rest().await;
    assert_eq!(reader.end, Some(End::Clean));
    let last = blocks.last().unwrap();
    assert!(last.is("tailrace.drain") && last.json()["code"] == "max_age", "{last:?}");
    let records: Vec<&Block> =
        blocks.iter().filter(|block| block.event.is_none() && block.data.is_some()).collect();
    assert!(records.len() < 200, "it was blocked when the end came");
    assert_eq!(records.last().and_then(|record| record.id.clone()), last.id);
}

/// An operator's order does not wait until the client reads.
async fn revoked_ones_end_although_they_are_blocked(way: Way) {
    const REVOKED: &str = "tailrace_streams_closed_total{reason=\"revoked\"}";
    let _alone = alone().await;
    let mut server = way.server(&["--heartbeat", "1h"]).await;
    let mut reader = Reader::open(way, server.address, &Ask::of("acme").room(16 * 1024)).await;
    reader.next().await.unwrap();
    let before = server.metric(REVOKED).await;
    let padding = "x".repeat(20_000);
    (0..300).for_each(|n| server.append("acme", &format!("{n} {padding}")));
    eventually("it is blocked", async || {
        let mut streams = Client::request(server.admin, "GET", "/streams", &[]).await;
        streams.json().await[0]["state"] == "lagging"
    })
    .await;
    let revoked = Client::request(server.admin, "DELETE", "/streams?tenant=acme", &[]).await;
    assert_eq!(revoked.status, 200);
    eventually("the order ends it", async || server.metric(REVOKED).await > before).await;
    let blocks = reader.rest().await;
    assert_eq!(reader.end, Some(End::Clean));
    let last = blocks.last().unwrap();
    assert!(last.is("tailrace.error") && last.json()["code"] == "revoked", "{last:?}");
    let records: Vec<&Block> =
        blocks.iter().filter(|block| block.event.is_none() && block.data.is_some()).collect();
    assert!(records.len() < 300, "it was blocked when the order came");
    assert_eq!(records.last().and_then(|record| record.id.clone()), last.id);
}

on_every_way!(the_last_word_comes_in_the_window, idle_and_paced_ones_end_in_the_window);
on_every_way!(a_blocked_client_gets_the_last_word, blocked_ones_get_it_when_they_read);
on_every_way_of_http_1!(
    unread_bytes_do_not_destroy_the_last_word,
    talkers_get_it_although_nobody_reads_what_they_say
);

on_every_way_of_http_1!(
    unread_bytes_do_not_destroy_what_a_blocked_client_has_not_taken,
    blocked_ones_that_have_talked_get_it_when_they_read
);
on_every_way_of_http_1!(
    a_stream_comes_to_its_end_although_its_client_takes_nothing,
    old_ones_end_although_they_are_blocked
);
on_every_way_of_http_1!(
    a_revoked_stream_ends_although_its_client_takes_nothing,
    revoked_ones_end_although_they_are_blocked
);
