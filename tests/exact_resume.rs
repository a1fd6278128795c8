//! Exact resume: whatever is cut or killed, each client gets its tenant's records once, in order.
//!
//! 12 partitions, 8 tenants, 64 clients that are cut at random bytes, a bridge that is killed twice and terminated once, and
//! a producer that keeps on. The verdict is a comparison with a bare consumer's reading.
//!
//! That it can fail is shown by `cargo xtask faults --prove`, which judges clients in the same way.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::bridge::Bridge;
use support::exact::{PARTITIONS, TENANTS, Verdict, client, expectation, produce, verdict};
use support::kafka::Kafka;

const CLIENTS: usize = 64;
/// Each record goes to the 8 clients of its tenant: 200,000 deliveries at the least.
const RECORDS: usize = 26_000;
const PRODUCING: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_gets_its_records_once_whatever_is_cut_or_killed() {
    let seed = support::seed();
    let kafka = Arc::new(Kafka::start().await);
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "exact", &[]);
    bridge.start().await;

    let produced = Arc::new(AtomicBool::new(false));
    let producer = {
        let (kafka, produced) = (kafka.clone(), produced.clone());
        std::thread::spawn(move || produce(&kafka, "orders", RECORDS, PRODUCING, seed, &produced))
    };
    let expected: Vec<_> = (0..TENANTS).map(|_| Arc::new(std::sync::OnceLock::new())).collect();
    let deadline = Instant::now() + PRODUCING + Duration::from_secs(120);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|which| {
            let expected = expected[which % TENANTS].clone();
            tokio::spawn(client(which, seed, vec![bridge.port], expected, deadline))
        })
        .collect();

    let pause = PRODUCING / 4;
    tokio::time::sleep(pause).await;
    bridge.kill();
    bridge.start().await;
    tokio::time::sleep(pause).await;
    assert!(bridge.terminate().await.success(), "a drained bridge exits with 0:\n{}", bridge.log());
    bridge.start().await;
    tokio::time::sleep(pause / 2).await;
    bridge.kill();
    bridge.start().await;

    tokio::task::spawn_blocking(move || producer.join()).await.expect("joined").expect("the producer ends");
    assert!(produced.load(Ordering::Acquire));
    let all = expectation(&kafka, "orders");
    for (tenant, expected) in expected.iter().enumerate() {
        expected.set(all[tenant].clone()).expect("set once");
    }
    let (verdict, connections) = verdict(clients, &all).await;
    assert!(verdict.deliveries >= 200_000, "too few to say anything: {verdict:?}");
    assert!(connections.all > CLIENTS * 10, "too few cuts to say anything: {connections:?}");
    assert!(connections.cut_in_first_block > CLIENTS, "too few early cuts: {connections:?}");
    let clean = Verdict { deliveries: verdict.deliveries, ..Verdict::default() };
    assert_eq!(verdict, clean);
}
