//! The short form of the fault suite: each fault once, under little load. `cargo xtask faults` plays the long one.

use tailrace_faults::faults;
use tailrace_faults::suite::{Plan, SHORT, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_gets_its_records_once_under_every_fault() {
    let faults: Vec<_> = faults::all().into_iter().filter(|fault| fault.is_short).collect();
    let plan = Plan { seed: tailrace_faults::seed(), scale: SHORT, deliveries: 0 };
    let rows = run(&faults, &plan).await;
    let failed: Vec<_> = rows.iter().filter(|row| !row.is_passed()).map(|row| row.name).collect();
    assert!(failed.is_empty(), "these faults were felt: {failed:?}");
    assert_eq!(rows.len(), faults.len());
}
