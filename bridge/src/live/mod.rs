//! What all subscriptions of one kind share.
//!
//! A [`view`] is the merged, filtered sequence of frames of a tenant, topics, filter and envelope: a vector and a [`ring`] of
//! frames, of which all together ([`rings`]) take from one budget. [`fan_out`] finds the [`views`] that a record concerns, and
//! [`ears`] are those whom a view wakes.

pub(crate) mod ears;
pub(crate) mod fan_out;
pub(crate) mod ring;
pub(crate) mod rings;
pub(crate) mod view;
pub(crate) mod views;
