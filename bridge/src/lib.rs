//! The core of Tailrace: how records of Kafka partitions become resumable SSE streams. No I/O happens here.
//!
//! The files follow the data:
//!
//! `record` → `partition_log` (in `segment`s, under one `budget`) → `view` (a vector V and a `ring` of frames) →
//! `subscription` (first replaying: `beginning`, `reconcile`, `replay`, `history`; then live) → `frame`.
//!
//! Ingest calls [`Bridge::append`]; a stream calls [`Bridge::subscribe`] and then [`Subscription::next`] whenever its socket
//! takes more:
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use tailrace_bridge::*;
//! # async fn stream(bridge: Bridge) -> Result<(), SubscribeError> {
//! let request = SubscribeRequest {
//!     tenant: TenantId::new("acme").expect("a legal name"),
//!     topics: vec!["orders".to_owned()],
//!     filter: Filter::default(),
//!     envelope: Envelope::None,
//!     from: From::Latest,
//!     last_event_id: None,
//! };
//! let mut subscription = bridge.subscribe(request).await?;
//! println!("id: {}\n", subscription.id());
//! loop {
//!     match subscription.next(Budget { records: 100, bytes: 64 * 1024 }) {
//!         Next::Frames { bytes, .. } => { /* write them */ }
//!         Next::Wait => subscription.changed().await,
//!     }
//! }
//! # }
//! ```

mod beginning;
mod bridge;
mod budget;
mod catalog;
mod cold;
mod coverage;
mod ears;
mod envelope;
mod event_id;
mod filter;
mod frame;
mod gap;
mod health;
mod history;
mod json;
mod lookaside;
mod metrics;
mod operand;
mod packed;
mod partition_log;
mod position;
mod readers;
mod reconcile;
mod record;
mod replay;
mod ring;
mod rings;
mod sabotage;
mod seen;
mod segment;
mod start;
mod subscription;
mod sync;
mod tails;
mod tenant;
mod units;
mod view;
mod view_index;
mod views;

pub use bridge::{Bridge, BridgeConfig, SubscribeError, SubscribeRequest, Unserved};
pub use catalog::{Partition, Start, Topic};
pub use ears::{Bell, Ear};
pub use envelope::Envelope;
pub use event_id::{EventId, EventIdError, RunningId};
pub use filter::{Filter, FilterError};
pub use frame::Control;
pub use gap::{Gap, GapCode};
pub use health::{Health, Readiness, Status};
pub use history::{HistoryError, HistoryRead, OffsetsAt, Source};
pub use lookaside::Lookaside;
pub use metrics::describe_metrics;
pub use position::{Fingerprint, Part, Position, TopicId, Vector};
pub use record::{Headers, NewRecord, RawRecord, RecordRef, put_header};
#[cfg(feature = "sabotage")]
pub use sabotage::sabotage;
#[doc(hidden)]
pub use sabotage::{Sabotage, broken};
pub use segment::{Segment, SegmentBuilder};
pub use start::From;
pub use subscription::{Budget, Next, Subscription, Wanted};
pub use tenant::{EventTypeRule, TenantId, TenantNames, TenantRules, Unroutable};
pub use units::{ByteSize, Rate, Span};
