//! What all subscriptions of one kind share.
//!
//! A [`view`] is the merged, filtered sequence of frames of one tenant, topics, filter and envelope ([`view_key`]). It has a
//! vector and a [`ring`] of frames; all rings share one memory budget ([`ring_memory`]). [`topics`] adds and removes its topics
//! ([`replacement`]: the ids while a topic is replaced by its next incarnation), [`framing`] adds records, [`delivery`] hands
//! frames to readers, and [`waking`] notifies the readers. [`fan_out`] finds the [`views`] that a record concerns, by
//! what it has in the fields of their filters ([`field_views`]: equal values, [`prefix_views`], [`range_views`], and where many have one
//! value, a bound besides: [`text_views`]), and [`listeners`] are the targets that a view notifies.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//!
//! use tailrace_bridge::{Listener, Notify, Subscription};
//!
//! /// Wakes a thread that serves many subscriptions: it is told which view has something new.
//! #[derive(Default)]
//! struct LastNotified(AtomicU32);
//!
//! impl Notify for LastNotified {
//!     fn notify(&self, number: u32) {
//!         self.0.store(number, Ordering::Release);
//!     }
//! }
//!
//! fn listen(subscription: &Subscription, thread: &Arc<LastNotified>, number: u32) -> Listener {
//!     let listener = subscription.listen(thread.clone(), number);
//!     // Before each look at the subscription.
//!     listener.rearm();
//!     listener
//! }
//! ```

pub(crate) mod delivery;
pub(crate) mod fan_out;
#[cfg(test)]
mod fan_out_tests;
mod field_views;
pub(crate) mod framing;
pub(crate) mod listeners;
mod prefix_views;
mod range_views;
mod replacement;
pub(crate) mod ring;
pub(crate) mod ring_memory;
mod text_views;
mod topics;
pub(crate) mod traced;
pub(crate) mod view;
pub(crate) mod view_key;
mod view_list;
pub(crate) mod views;
mod waking;
