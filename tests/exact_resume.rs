//! Exact resume at length: whatever is cut or killed, each client gets its tenant's records once, in order.
//!
//! 12 partitions of Avro, 8 tenants, 64 clients of which most are cut at random bytes, some read pages and half keep state by key,
//! a bridge that is killed twice and terminated once, and a writer that keeps on: 200,000 deliveries, judged as in the fault
//! suite. That the judge notices defects is shown by `cargo xtask faults --prove`.

use std::time::{Duration, Instant};

use tailrace_faults::kafka::Kafka;
use tailrace_faults::scene::{Scene, Stage};

const CLIENTS: u32 = 64;
/// Fewer say too little.
const DELIVERIES: u64 = 200_000;
/// After the last restart, for the rest of them.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_gets_its_records_once_whatever_is_cut_or_killed() {
    let seed = tailrace_faults::seed();
    let stage =
        Stage { clients: CLIENTS, rate: 700, keys: 400, by_key: true, is_avro: true, ..Stage::default() };
    let breath = Duration::from_secs(9);
    let mut scene = Scene::set(Kafka::start().await, "exact-resume", stage, seed, breath).await;
    scene.bridges[0].kill();
    scene.bridges[0].start().await;
    scene.breathe().await;
    let status = scene.bridges[0].terminate().await;
    assert!(status.success(), "a drained bridge exits with 0:\n{}", scene.bridges[0].log());
    scene.bridges[0].start().await;
    scene.breathe().await;
    scene.bridges[0].kill();
    scene.bridges[0].start().await;
    let until = Instant::now() + PATIENCE;
    while scene.delivered() < DELIVERIES && Instant::now() < until {
        scene.breathe().await;
    }

    let outcome = scene.finish().await;
    let verdict = outcome.verdict;
    println!(
        "{verdict:?}, {} connections, {} of them cut in their first block",
        outcome.connections, outcome.cut_early
    );
    assert!(verdict.deliveries >= DELIVERIES, "too few to say anything");
    assert!(outcome.connections > u64::from(CLIENTS) * 10, "too few cuts to say anything");
    assert!(outcome.cut_early > u64::from(CLIENTS), "too few early cuts to say anything");
    assert!(verdict.is_clean() && verdict.gaps == 0, "{verdict:#?}");
    assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
}
