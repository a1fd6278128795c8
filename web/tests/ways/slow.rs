//! A client that reads slowly gets everything exactly, costs no memory, and delays nobody.

use std::time::{Duration, Instant};

use crate::support::Server;
use crate::way::{Ask, Reader, Way};
use crate::{alone, beside_others, eventually, on_every_way};

const RECORDS: usize = 1500;
const PADDING: usize = 2000;

fn value(n: usize) -> String {
    format!("{n} {}", char::from(b'a' + (n % 26) as u8).to_string().repeat(PADDING))
}

async fn everything_exactly_and_nobody_is_delayed(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&["--heartbeat", "100ms"]).await;
    let mut slow = Reader::open(way, server.address, &Ask::of("acme").room(8 * 1024)).await;
    slow.next().await.unwrap();
    let mut others = Vec::new();
    for tenant in ["acme", "acme", "calm"] {
        let mut reader = Reader::open(way, server.address, &Ask::of(tenant)).await;
        reader.next().await.unwrap();
        others.push(reader);
    }
    let begin = Instant::now();
    (0..RECORDS).for_each(|n| server.append("acme", &value(n)));
    server.append("calm", "one");
    let mut calm = others.pop().unwrap();
    calm.next_record().await;
    for (n, reader) in (0..RECORDS).flat_map(|n| [(n, 0), (n, 1)]) {
        assert_eq!(others[reader].next_record().await.data, Some(value(n)));
        if n % 100 == 0 && reader == 0 {
            slow.more(500).await;
        }
    }
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "those that read had everything after {took:?}");
    // It has missed heartbeats, and has not caught up: none of them is within a block, and no record is missing.
    tokio::time::sleep(Duration::from_millis(250)).await;
    slow.part = 3000;
    for n in 0..RECORDS {
        assert_eq!(slow.next_record().await.data, Some(value(n)));
    }
    server.append("acme", "live");
    assert_eq!(slow.next_record().await.data.as_deref(), Some("live"));
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Sixty clients that do not read, and 3 MB for each: 180 MB if they were kept for each.
async fn they_cost_no_memory(way: Way) {
    const CLIENTS: usize = 60;
    const ALLOWED: usize = 40 << 20;
    let _alone = alone().await;
    let mut server = way.server(&["--heartbeat", "100ms"]).await;
    let mut blocked = Vec::new();
    for _ in 0..CLIENTS {
        let mut reader = Reader::open(way, server.address, &Ask::of("acme").room(8 * 1024)).await;
        reader.next().await.unwrap();
        blocked.push(reader);
    }
    let (before, sent) = (resident(), settled(&server).await);
    (0..RECORDS).for_each(|n| server.append("acme", &value(n)));
    let sent = settled(&server).await - sent;
    assert!(sent > 0);
    let grown = resident().saturating_sub(before);
    println!(
        "{way:?}: {CLIENTS} blocked clients: {} KiB sent, memory grew by {} KiB",
        sent >> 10,
        grown >> 10
    );
    assert!(grown < ALLOWED, "{way:?}: memory grew by {} KiB", grown >> 10);
    for mut reader in blocked.drain(..2) {
        for n in 0..RECORDS {
            assert_eq!(reader.next_record().await.data, Some(value(n)));
        }
    }
}

/// Waits until nothing is sent any more; what has been sent.
pub(crate) async fn settled(server: &Server) -> u64 {
    let (mut last, mut looks) = (-1.0, 0);
    eventually("the clients are blocked", async || {
        tokio::time::sleep(Duration::from_millis(15)).await;
        let sent = server.metric("tailrace_frames_sent_total").await;
        looks = if sent == last { looks + 1 } else { 0 };
        last = sent;
        looks >= 5
    })
    .await;
    server.metric("tailrace_sent_bytes_total").await as u64
}

on_every_way!(a_slow_client_gets_everything_and_delays_nobody, everything_exactly_and_nobody_is_delayed);
on_every_way!(clients_that_do_not_read_cost_no_memory, they_cost_no_memory);
