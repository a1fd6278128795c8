//! What the end-to-end tests stand on: the real Kafka, the real binary, and an SSE client that shares no code with them.
// Each test is a program of its own and uses a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod demo;
pub mod pages;
pub mod registry;
pub mod relay;
pub mod script;
pub mod writer;

pub use tailrace_faults::process::{most_resident, resident, signal};
pub use tailrace_faults::{bare, bridge, eventually, free_port, kafka, seed, sse};
