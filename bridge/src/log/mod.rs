//! The part of each partition that is in memory.
//!
//! A [`topic`] has [`partition`]s; each has a [`partition_log`] of [`segment`]s, the older of them [`packed`]. The tails of all
//! logs ([`tails`]) share one budget ([`memory`]); of all segments, the oldest is evicted first. A [`coverage`] is a list of
//! partitions with their heads, shared by all views that read the same partitions. [`lineage`] has the known leader epochs,
//! [`key_index`] the newest record of each key.
//!
//! ```
//! use tailrace_bridge::{Form, Headers, NewRecord, Position, SegmentBuilder, TenantId};
//!
//! let mut segment = SegmentBuilder::new(40);
//! segment.push(&NewRecord {
//!     offset: 41, // 40 is a hole
//!     epoch: 0,
//!     timestamp: 1_700_000_000_000,
//!     key: None,
//!     value: Some(b"{}"),
//!     headers: Headers::default(),
//!     tenant: TenantId::new("acme")?,
//!     event_type: None,
//!     form: Form::default(),
//! });
//! let segment = segment.finish(Position { offset: 50, epoch: 0 });
//! assert_eq!((segment.base(), segment.len(), segment.end().offset), (40, 1, 50));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod coverage;
pub(crate) mod key_index;
pub(crate) mod lineage;
pub(crate) mod memory;
pub(crate) mod new_segments;
pub(crate) mod packed;
pub(crate) mod partition;
pub(crate) mod partition_log;
pub(crate) mod segment;
pub(crate) mod tails;
pub(crate) mod topic;
