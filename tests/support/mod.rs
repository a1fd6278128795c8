//! What the end-to-end tests stand on: the real Kafka, the real binary, and an SSE client that shares no code with them.
// Each test is a program of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]

pub mod bare;
pub mod bridge;
pub mod exact;
pub mod kafka;
pub mod sse;

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

/// Sends a signal to a process, as `kill` would.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a process id is not zero");
    rustix::process::kill_process(pid, signal).expect("the process is there");
}

/// Resident memory of a process in bytes.
pub fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most that it ever was.
pub fn most_resident(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a process has memory");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of kB");
    kib * 1024
}
