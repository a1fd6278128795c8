//! Exact under every fault: the real binary and the real Apache Kafka, one fault after another under load, and a verdict on
//! every client.
//!
//! Nothing here shares code with what it tests: the event-stream parser is written from the WHATWG standard, and the truth
//! is what Kafka acknowledged to the producer. The data's way is `writer → ledger` on one side and `sse → client` on the
//! other; [`judge`] compares them, and [`trial`] plays one fault.

pub mod bare;
pub mod bridge;
pub mod client;
pub mod clock;
pub mod faults;
pub mod id;
pub mod judge;
pub mod kafka;
pub mod ledger;
pub mod member;
pub mod process;
pub mod prove;
pub mod proxy;
pub mod scene;
pub mod sse;
pub mod suite;
pub mod table;
pub mod transactions;
pub mod trial;
pub mod writer;

use std::net::TcpListener;
use std::time::{Duration, Instant};

/// A seed for this run: printed, and settable with TAILRACE_TEST_SEED so that a run can be repeated.
pub fn seed() -> u64 {
    let seed = match std::env::var("TAILRACE_TEST_SEED") {
        Ok(text) => text.parse().expect("TAILRACE_TEST_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("seed: {seed} (repeat with TAILRACE_TEST_SEED={seed})");
    seed
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port can be bound");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Waits until `check` gives something, or fails naming what was waited for.
pub async fn eventually<T>(what: &str, limit: Duration, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
