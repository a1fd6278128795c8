//! Tests exact delivery under faults: the real binary and the real Apache Kafka, one fault after another under load, and a
//! verdict on each client.
//!
//! No code is shared with the program under test: the event-stream parser is written from the WHATWG standard, and the records
//! that clients must get are those that Kafka acknowledged to the producer. Data flows through `writer → ledger` on one side
//! and `sse → client` on the other; [`judge`] compares them, and [`trial`] runs one fault.

pub mod access;
pub mod bare;
pub mod bridge;
pub mod client;
pub mod clock;
#[path = "../../web/tests/support/decoder.rs"]
mod decoder;
pub mod faults;
mod http2;
pub mod id;
pub mod issuer;
pub mod judge;
pub mod kafka;
pub mod ledger;
pub mod member;
pub mod pki;
pub mod process;
pub mod prove;
pub mod proxy;
pub mod scene;
pub mod schemas;
pub mod sse;
pub mod state;
pub mod suite;
pub mod table;
pub mod transactions;
pub mod trial;
pub mod way;
pub mod wire;
pub mod writer;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A seed for this run: printed, and settable with TAILRACE_TEST_SEED so that a run can be repeated.
pub fn seed() -> u64 {
    let seed = match std::env::var("TAILRACE_TEST_SEED") {
        Ok(text) => text.parse().expect("TAILRACE_TEST_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("seed: {seed} (repeat with TAILRACE_TEST_SEED={seed})");
    seed
}

/// Ports outside the range that systems assign to outgoing connections: a port in that range could be taken while its broker is
/// down.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A port that was free just now, and that this function has not returned before.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let tries = std::iter::repeat_with(|| rand::random_range(PORTS)).take(1_000);
    let mut fresh = tries.filter(|port| GIVEN.lock().insert(*port));
    fresh.find(is_free).expect("a loopback port can be bound")
}

/// Waits until `check` returns `Some`, or fails with the name of what was waited for.
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
