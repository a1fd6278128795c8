//! A hot view does not keep calm ones waiting: thousands of records a second for three hundred clients, a part of which
//! do not read, beside five hundred tenants with a client each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::way::{Ask, Reader, Way};
use crate::{alone, on_every_way};

const CALM: usize = 500;
const HOT: usize = 300;
const DEAF: usize = 20;
const BOUND: Duration = Duration::from_secs(2);

async fn calm_views_are_served_beside_a_hot_one(way: Way) {
    let _alone = alone().await;
    let mut server = way
        .server(&[
            "--connect-rate-per-address",
            "0",
            "--connect-rate-per-tenant",
            "0",
            "--max-streams-per-address",
            "0",
            "--max-streams-per-tenant",
            "0",
        ])
        .await;
    let (stop, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut hot = Vec::new();
    for n in 0..HOT {
        let mut reader = Reader::open(way, server.address, &Ask::of("hot").room(32 * 1024)).await;
        let (stop, read) = (stop.clone(), read.clone());
        hot.push(tokio::spawn(async move {
            while n < DEAF && !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            while !stop.load(Ordering::Relaxed) && reader.more(32 * 1024).await {
                read.fetch_add(reader.drop_text(), Ordering::Relaxed);
            }
        }));
    }
    let mut calm = Vec::new();
    for n in 0..CALM {
        let mut reader = Reader::open(way, server.address, &Ask::of(&format!("calm-{n}"))).await;
        reader.next().await.unwrap();
        calm.push(tokio::spawn(async move {
            let block = reader.next_record().await;
            (Instant::now(), block.data.unwrap(), reader)
        }));
    }
    let mut sent = Vec::new();
    let value = "x".repeat(1000);
    let begin = Instant::now();
    let mut records = 0;
    for n in 0..CALM {
        // Twenty records for the hot one for each of a calm one.
        (0..20).for_each(|_| server.append("hot", &value));
        records += 20;
        sent.push(Instant::now());
        server.append(&format!("calm-{n}"), &n.to_string());
        tokio::time::sleep_until((begin + Duration::from_micros(3000) * n as u32).into()).await;
    }
    let rate = records as f64 / begin.elapsed().as_secs_f64();
    // It does not grow calm before they have theirs.
    let late = Instant::now() + BOUND;
    while Instant::now() < late && !calm.iter().all(|calm| calm.is_finished()) {
        (0..20).for_each(|_| server.append("hot", &value));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let mut delays = Vec::new();
    for (n, calm) in calm.into_iter().enumerate() {
        let (came, data, _reader) = calm.await.unwrap();
        assert_eq!(data, n.to_string());
        delays.push(came - sent[n]);
    }
    stop.store(true, Ordering::Relaxed);
    for reader in hot {
        // Some may wait for what memory does not have any more.
        reader.abort();
        let _ = reader.await;
    }
    let read = read.load(Ordering::Relaxed);
    delays.sort_unstable();
    println!(
        "{way:?}: {rate:.0} records a second to {HOT} clients ({} MB read), {CALM} calm ones: p50 {:?}, p99 {:?}, max {:?}",
        read >> 20,
        delays[CALM / 2],
        delays[CALM * 99 / 100],
        delays[CALM - 1]
    );
    assert!(delays[CALM - 1] < BOUND, "a calm one waited for {:?}", delays[CALM - 1]);
}

on_every_way!(a_hot_view_keeps_no_calm_one_waiting, calm_views_are_served_beside_a_hot_one);
