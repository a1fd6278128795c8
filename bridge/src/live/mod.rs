//! What all subscriptions of one kind share.
//!
//! A [`view`] is the merged, filtered sequence of frames of a tenant, topics, filter and envelope ([`view_key`]): a vector and a
//! [`ring`] of frames, of which all together ([`rings`]) take from one budget. Its [`topics`] come and go ([`replacement`]: what
//! ids hold of one that is created again), records come in by [`framing`], readers have them by [`delivery`], after [`waking`].
//! [`fan_out`] finds the [`views`] that a record concerns, and [`listeners`] are those whom a view notifies.

pub(crate) mod delivery;
pub(crate) mod fan_out;
pub(crate) mod framing;
pub(crate) mod listeners;
mod replacement;
pub(crate) mod ring;
pub(crate) mod rings;
mod topics;
pub(crate) mod view;
pub(crate) mod view_key;
pub(crate) mod views;
mod waking;
