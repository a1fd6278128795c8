//! The core of Tailrace: how records of Kafka partitions become resumable SSE streams. No I/O happens here.
//!
//! The files follow the data: a [`Record`](record) is appended to a [`partition log`](partition_log), framed once into
//! every [`view`] that it matches, and read by [`subscription`]s, first *replaying*, then *live*.

mod beginning;
mod bridge;
mod budget;
mod catalog;
mod envelope;
mod event_id;
mod filter;
mod frame;
mod gap;
mod health;
mod history;
mod json;
mod metrics;
mod partition_log;
mod position;
mod reconcile;
mod record;
mod replay;
mod ring;
mod sabotage;
mod segment;
mod start;
mod subscription;
mod sync;
mod tenant;
mod units;
mod view;

pub use bridge::{Bridge, BridgeConfig, SubscribeError, SubscribeRequest};
pub use catalog::{Partition, Start, Topic};
pub use envelope::Envelope;
pub use event_id::{EventId, EventIdError};
pub use filter::{Filter, FilterError};
pub use frame::Control;
pub use gap::{Gap, GapCode};
pub use health::{Health, Readiness, Status};
pub use history::{HistoryError, HistoryRead, OffsetsAt, Source};
pub use metrics::describe_metrics;
pub use position::{Fingerprint, Part, Position, TopicId, Vector};
pub use record::{NewRecord, RawRecord, RecordRef};
#[cfg(feature = "sabotage")]
pub use sabotage::{Sabotage, sabotage};
pub use segment::{Segment, SegmentBuilder};
pub use start::From;
pub use subscription::{Budget, Next, Subscription};
pub use tenant::{EventTypeRule, TenantId, TenantRules, Unroutable};
pub use units::{ByteSize, Rate, Span};
