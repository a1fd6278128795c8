//! Writes that a socket takes in parts: bytes come exactly, the framing is whole, and life goes on after it.

use crate::way::{Ask, Reader, Way};
use crate::{beside_others, on_every_way};

/// Larger than what the kernel takes for a client, and than every buffer on the way.
const LARGE: usize = 1_500_000;

/// Text in which every place is known.
fn pattern(seed: usize, size: usize) -> String {
    let mut text = String::with_capacity(size + 8);
    let mut n = seed;
    while text.len() < size {
        text.push_str(&format!("{n:x}."));
        n += 1;
    }
    text.truncate(size);
    text
}

async fn bytes_come_exactly(way: Way) {
    let _beside = beside_others().await;
    // Heartbeats fall due all the time; none may fall into a frame.
    let mut server = way.server(&["--heartbeat", "100ms"]).await;
    let mut reader = Reader::open(way, server.address, &Ask::of("acme").room(4096)).await;
    reader.next().await.unwrap();
    let sizes = [LARGE, 1, 70_000, 4096, LARGE / 3, 65_536, 2, 300_000];
    for (n, size) in sizes.iter().enumerate() {
        server.append("acme", &pattern(n, *size));
    }
    // Odd parts: every boundary of a write falls elsewhere.
    let mut part = 1;
    for _ in 0..200 {
        part = (part * 7 + 3) % 5003;
        reader.more(part + 1).await;
    }
    for (n, size) in sizes.iter().enumerate() {
        assert!(
            reader.next_record().await.data == Some(pattern(n, *size)),
            "{way:?}: record {n} of {size} bytes"
        );
    }
    for n in 0..50 {
        server.append("acme", &format!("live {n}"));
        assert_eq!(reader.next_record().await.data, Some(format!("live {n}")));
    }
}

on_every_way!(what_a_socket_takes_in_parts_comes_exactly, bytes_come_exactly);
