//! A stream with a rate gets no more than its rate, and everything in the end.

use std::time::{Duration, Instant};

use crate::way::{Ask, Reader, Way};
use crate::{beside_others, on_every_way};

const RATE: usize = 40;
/// A second's worth may come at once, and one read is taken before it is paid for.
const AT_ONCE: usize = 2 * RATE;
const RECORDS: usize = 3 * RATE;

async fn events_are_paced(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&["--stream-event-rate", &format!("{RATE}/s")]).await;
    let mut reader = Reader::open(way, server.address, &Ask::of("acme")).await;
    reader.next().await.unwrap();
    let begin = Instant::now();
    // In two parts: what comes while the stream waits for its pace must neither be lost nor be let through.
    (0..RECORDS / 2).for_each(|n| server.append("acme", &n.to_string()));
    for n in 0..RECORDS {
        assert_eq!(reader.next_record().await.data.unwrap(), n.to_string());
        let allowed = AT_ONCE as f64 + RATE as f64 * begin.elapsed().as_secs_f64();
        assert!((n + 1) as f64 <= allowed, "{} after {:?}", n + 1, begin.elapsed());
        if n == 0 {
            (RECORDS / 2..RECORDS).for_each(|n| server.append("acme", &n.to_string()));
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}

async fn bytes_are_paced(way: Way) {
    const BYTES: usize = 8 * 1024;
    let _beside = beside_others().await;
    let mut server = way.server(&["--stream-byte-rate", "8KiB/s"]).await;
    let mut reader = Reader::open(way, server.address, &Ask::of("acme")).await;
    reader.next().await.unwrap();
    let begin = Instant::now();
    let value = "x".repeat(1000);
    (0..24).for_each(|_| server.append("acme", &value));
    for n in 1..=24 {
        assert_eq!(reader.next_record().await.data.unwrap(), value);
        let allowed = 2.0 * BYTES as f64 + BYTES as f64 * begin.elapsed().as_secs_f64();
        assert!((n * value.len()) as f64 <= allowed, "{n} after {:?}", begin.elapsed());
    }
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}

on_every_way!(a_stream_gets_no_more_than_its_events_and_all_in_the_end, events_are_paced);
on_every_way!(a_stream_gets_no_more_than_its_bytes_and_all_in_the_end, bytes_are_paced);
