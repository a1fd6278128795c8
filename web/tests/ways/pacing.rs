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

async fn a_tenant_is_paced(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&["--tenant-event-rate", &format!("{RATE}/s")]).await;
    // Two views, one of them with two streams, and one idle stream.
    let mut readers = Vec::new();
    for query in ["", "", "where=key=k"] {
        readers.push(Reader::open(way, server.address, &Ask::of("acme").query(query)).await);
    }
    let _idle = Reader::open(way, server.address, &Ask::of("acme").query("where=key=nobody")).await;
    let mut other = Reader::open(way, server.address, &Ask::of("other")).await;
    for reader in readers.iter_mut().chain([&mut other]) {
        reader.next().await.unwrap();
    }
    let begin = Instant::now();
    (0..RECORDS).for_each(|n| server.append("acme", &n.to_string()));
    (0..RECORDS).for_each(|n| server.append("other", &n.to_string()));
    let read = |mut reader: Reader| async move {
        let mut times = Vec::new();
        for n in 0..RECORDS {
            assert_eq!(reader.next_record().await.data.unwrap(), n.to_string());
            times.push(begin.elapsed().as_secs_f64());
        }
        times
    };
    let all: Vec<_> = readers.into_iter().map(|reader| tokio::spawn(read(reader))).collect();
    let others = read(other).await;
    assert!(others[RECORDS - 1] < RECORDS as f64 / RATE as f64, "the other tenant waits: {others:?}");
    let mut times = Vec::new();
    for one in all {
        times.push(one.await.unwrap());
    }
    let mut merged = times.concat();
    merged.sort_by(f64::total_cmp);
    for (n, time) in merged.iter().enumerate() {
        // Each of them may read once before it has to pay.
        let allowed = (AT_ONCE + 3 * 2) as f64 + RATE as f64 * time;
        assert!((n + 1) as f64 <= allowed, "{} after {time}", n + 1);
    }
    let last = merged[merged.len() - 1];
    assert!(last < 3.0 * RECORDS as f64 / RATE as f64 + 3.0, "{last}");
    // None is served long after the others: all are through at about the same time.
    let ends: Vec<f64> = times.iter().map(|times| times[RECORDS - 1]).collect();
    assert!(ends.iter().all(|end| *end > last * 0.7), "{ends:?}");
}

on_every_way!(the_streams_of_a_tenant_share_its_rate_and_get_all_in_the_end, a_tenant_is_paced);
on_every_way!(a_stream_gets_no_more_than_its_events_and_all_in_the_end, events_are_paced);
on_every_way!(a_stream_gets_no_more_than_its_bytes_and_all_in_the_end, bytes_are_paced);
