//! What of a partition is in memory.
//!
//! A [`topic`] has [`partition`]s; each has a [`partition_log`] of [`segment`]s, the older of them [`packed`]. The tails of all
//! logs ([`tails`]) take from one [`budget`], and the oldest segment goes first. A [`coverage`] is a list of partitions with
//! their heads, shared by all who read the same. What is known of leader epochs is in [`lineage`].

pub(crate) mod budget;
pub(crate) mod coverage;
pub(crate) mod lineage;
pub(crate) mod packed;
pub(crate) mod partition;
pub(crate) mod partition_log;
pub(crate) mod segment;
pub(crate) mod tails;
pub(crate) mod topic;
