//! Kafka for Tailrace: everything between a cluster and the [bridge](tailrace_bridge).
//!
//! The files follow the data: `watch` knows the topics and `starts` where their reading begins, `assign` has the tail read all
//! their partitions, `ingest` takes its queue in batches, `decode`d by the tenant's rules and appended to the bridge; `stopped`
//! finds where a partition goes on whose reading stopped. Beside it, `history` reads what has left memory, `watermarks` and
//! `status` tell how things stand (`findings` is what they tell), the `watchdog` restarts the reading of what is stuck, and
//! `presence` shows all this to Kafka's own tools. `shared` and `requests` are what connects the threads; no two files need
//! each other (`tests/rooms.rs` of the workspace).
//!
//! ```no_run
//! # async fn serve(settings: tailrace_consumer::KafkaSettings) -> Result<(), tailrace_consumer::KafkaError> {
//! use std::{sync::Arc, time::Duration};
//! use tailrace_bridge::{Bridge, BridgeConfig};
//!
//! let rules = Arc::clone(&settings.rules);
//! let kafka = tailrace_consumer::Kafka::new(settings)?;
//! let (linger, privacy) = (Duration::ZERO, Arc::default());
//! let bridge = Bridge::new(BridgeConfig { memory: 256 << 20, rules, linger, privacy }, kafka.source());
//! let running = kafka.start(bridge);
//! running.stop().await;
//! # Ok(())
//! # }
//! ```

#![cfg_attr(not(test), warn(clippy::unwrap_used, reason = "no panic on input"))]

mod admin;
mod assign;
mod bootstrap;
mod check;
mod clock;
mod decode;
pub mod demo;
mod error;
mod findings;
mod fleet;
mod hint;
mod history;
mod holding;
mod horizon;
mod ingest;
mod kafka;
mod metrics;
mod native;
mod presence;
mod properties;
mod registry;
mod report;
mod requests;
mod selection;
mod settings;
mod shared;
mod snapshots;
mod source;
mod span;
mod starts;
mod status;
mod stopped;
mod trace;
mod truncation;
mod watch;
mod watchdog;
mod watermarks;

#[cfg(test)]
mod tests;

/// The version of librdkafka, which is built along.
pub fn librdkafka_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

pub use check::check;
pub use error::KafkaError;
pub use kafka::{Kafka, Running};
pub use metrics::describe_metrics;
pub use report::{CheckReport, DataSample, RecordSample, Refused, SchemaSample, TopicReport};
pub use selection::{TopicSelection, TopicSelectionError};
pub use settings::{Args, DataSettings, KafkaSettings, SettingsError, kafka_properties};
pub use snapshots::SnapshotTopics;
