//! The core of Tailrace: how records of Kafka partitions become resumable SSE streams. No I/O happens here.
//!
//! The folders depend on each other in one direction; each uses only those before it (`tests/rooms.rs`):
//!
//! | folder | |
//! | --- | --- |
//! | `base` | locks, numbers, units, metrics, deliberate defects |
//! | `position` | offsets, positions, event ids, gaps, where a stream starts |
//! | `record` | a decoded record, its tenant, and whether a filter matches it |
//! | `sse` | a record as bytes of an event stream |
//! | `log` | the part of each partition that is in memory, under one budget |
//! | `history` | what only Kafka still has, and the port to it |
//! | `live` | what all subscriptions of one kind share: a view (a vector V and a ring of frames), and its listeners |
//! | `core` | the catalog of topics, how a batch is appended, and holds on views |
//! | `read` | one client: where it starts, how it catches up, how it follows |
//!
//! `bridge.rs` is the interface.
//!
//! Ingest calls [`Bridge::append`]; a stream calls [`Bridge::subscribe`] and then [`Subscription::next`] whenever its socket
//! can take more:
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use tailrace_bridge::*;
//! # async fn stream(bridge: Bridge) -> Result<(), SubscribeError> {
//! let request = SubscribeRequest {
//!     tenant: TenantId::new("acme").expect("a legal name"),
//!     topics: vec!["orders".to_owned()],
//!     filter: Filter::default(),
//!     framing: Framing::Sse,
//!     event_name: EventName::Type,
//!     envelope: Envelope::None,
//!     unmasked: false,
//!     conflate: false,
//!     from: StartFrom::Latest,
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

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test is not the core"))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, reason = "no panic on input"))]

mod base;
mod bridge;
mod core;
mod history;
mod live;
mod log;
mod position;
mod read;
mod record;
mod sse;

pub use crate::base::clock::{Clock, TokioClock};
pub use crate::core::Unserved;
pub use crate::core::health::{Health, Readiness, Status};
pub use crate::core::overview::TopicOverview;
pub use base::meter::Meter;
#[cfg(feature = "sabotage")]
pub use base::sabotage::sabotage;
#[doc(hidden)]
pub use base::sabotage::{Sabotage, broken};
pub use base::units::{ByteSize, Rate, Span};
pub use bridge::{Bridge, BridgeConfig, describe_metrics};
pub use history::source::{HistoryError, HistoryRead, OffsetsAt, Source, Unavailable};
pub use live::listeners::{Listener, Notify};
pub use live::traced::{Deliveries, Delivery};
pub use log::partition::{Partition, Start};
pub use log::segment::{Segment, SegmentBuilder};
pub use log::topic::Topic;
pub use position::event_id::{EventId, EventIdError, RunningId};
pub use position::gap::{Gap, GapCode};
pub use position::seal::{IdKeys, Seal};
pub use position::start_from::StartFrom;
pub use position::{Fingerprint, Part, Position, TopicId, Vector};
pub use read::filter_check::MaskedCondition;
pub use read::repeat::LastFrames;
pub use read::request::{SubscribeError, SubscribeRequest};
pub use read::standing::{Behind, Standing, ViewPosition, ViewRef};
pub use read::subscription::{Budget, Next, Subscription};
pub use read::wait::Wanted;
pub use record::event_type::EventTypeRule;
pub use record::filter::{Filter, FilterError};
pub use record::form::{Flaw, FlawCode, Form, Half, ValueForm};
pub use record::json::Pointer as JsonPointer;
pub use record::mask::Masks;
pub use record::pseudonym::MaskKey;
pub use record::routing::{TenantRules, Unroutable, split_topic};
pub use record::tenant::{TenantId, TenantNames};
pub use record::trace_context::TraceContext;
pub use record::{Headers, NewRecord, RawRecord, RecordRef, put_header};
pub use sse::envelope::Envelope;
pub use sse::event_source::CloudEventsSource;
pub use sse::frame::Control;
pub use sse::framing::{EventName, Framing};
pub use sse::privacy::{HeaderList, Privacy};
pub use sse::web_socket;
