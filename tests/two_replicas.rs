//! Two replicas: half of the reconnects go to the other process, which is stopped for ten seconds and then behind.

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::bridge::Bridge;
use support::exact::{PARTITIONS, TENANTS, Verdict, client, expectation, produce, verdict};
use support::kafka::Kafka;

const CLIENTS: usize = 32;
const RECORDS: usize = 12_000;
const PRODUCING: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_come_back_to_a_replica_that_is_behind() {
    let seed = support::seed();
    let kafka = Arc::new(Kafka::start().await);
    kafka.create_topic("orders", PARTITIONS as i32, &[]).await;
    let mut one = Bridge::new(&kafka.bootstrap(), "orders", "one", &[]);
    let mut two = Bridge::new(&kafka.bootstrap(), "orders", "two", &[]);
    one.start().await;
    two.start().await;

    let producer = {
        let kafka = kafka.clone();
        std::thread::spawn(move || {
            produce(&kafka, "orders", RECORDS, PRODUCING, seed, &AtomicBool::new(false));
        })
    };
    let expected: Vec<_> = (0..TENANTS).map(|_| Arc::new(std::sync::OnceLock::new())).collect();
    let deadline = Instant::now() + PRODUCING + Duration::from_secs(90);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|which| {
            let expected = expected[which % TENANTS].clone();
            tokio::spawn(client(which, seed, vec![one.port, two.port], expected, deadline))
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(5)).await;
    two.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(10)).await;
    two.signal(Signal::CONT);

    tokio::task::spawn_blocking(move || producer.join()).await.expect("joined").expect("the producer ends");
    let all = expectation(&kafka, "orders");
    for (tenant, expected) in expected.iter().enumerate() {
        expected.set(all[tenant].clone()).expect("set once");
    }
    let (verdict, _) = verdict(clients, &all).await;
    assert_eq!(verdict, Verdict { deliveries: RECORDS * CLIENTS / TENANTS, ..Verdict::default() });
}
