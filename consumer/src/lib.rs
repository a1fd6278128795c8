//! Kafka for Tailrace: everything between a cluster and the [bridge](tailrace_bridge).
//!
//! The files follow the data: the `group`'s queue is `ingest`ed in batches, `decode`d by the tenant's rules and
//! appended to the bridge. Beside it, `topics` watches identities and growth, `history` reads what has left memory,
//! `watermarks` and `status` tell how things stand.
//!
//! ```no_run
//! # async fn serve(settings: tailrace_consumer::KafkaSettings) -> Result<(), tailrace_consumer::KafkaError> {
//! use std::{sync::Arc, time::Duration};
//! use tailrace_bridge::{Bridge, BridgeConfig};
//!
//! let rules = Arc::clone(&settings.rules);
//! let kafka = tailrace_consumer::Kafka::new(settings)?;
//! let bridge = Bridge::new(BridgeConfig { memory: 256 << 20, rules, linger: Duration::ZERO }, kafka.source());
//! let running = kafka.start(bridge);
//! running.stop().await;
//! # Ok(())
//! # }
//! ```

mod check;
mod decode;
pub mod demo;
mod error;
mod group;
mod history;
mod ingest;
mod kafka;
mod metrics;
mod native;
mod properties;
mod selection;
mod settings;
mod source;
mod status;
mod topics;
mod truncation;
mod watermarks;

pub use check::{CheckReport, PartitionSample, TopicReport, check};
pub use error::KafkaError;
pub use kafka::{Kafka, Running};
pub use metrics::describe_metrics;
pub use selection::TopicSelection;
pub use settings::{Args, KafkaSettings, SettingsError, kafka_properties};
