//! One client's subscription.
//!
//! A [`request`] becomes a subscription in [`subscribe`], which checks its filter ([`filter_check`]) and determines the topics, the view and the positions to start at:
//! from the last event id ([`resume`], [`reconcile`]), else from [`start_offsets`].
//!
//! A [`subscription`] has positions of its own (U) until they meet its view's (V). It makes steps, each of [`catch_up`] or of
//! [`follow`], with a [`wait`] in between. Catching up is a [`replay`] of each partition (a [`lane`]) up to a snapshot of the
//! view; [`confirm`] asks whether a partition's log was truncated meanwhile. A client whose frames have left its view's ring
//! (an overrun) catches up again. A [`run`] is a stretch of which only the newest record of each key is delivered.
//! How much a replay may examine at once, and in a second, is [`work`]. A gap that is still to be announced is a [`pending_gap`]. [`repeat`] gives the frames that
//! one subscription took to the next one at the same cursor. [`standing`] says to others how far a subscription is behind.
//!
//! ```
//! # use tailrace_bridge::*;
//! /// What a page has that comes back with its last event id.
//! async fn come_back(bridge: &Bridge, last_event_id: String) -> Result<Vec<u8>, SubscribeError> {
//!     let mut subscription = bridge
//!         .subscribe(SubscribeRequest {
//!             tenant: TenantId::new("acme").expect("a legal name"),
//!             topics: Vec::new(),
//!             filter: Filter::default(),
//!             framing: Framing::Sse,
//!             event_name: EventName::Type,
//!             envelope: Envelope::None,
//!             unmasked: false,
//!             conflate: false,
//!             from: StartFrom::Latest,
//!             last_event_id: Some(last_event_id),
//!         })
//!         .await?;
//!     let mut written = Control::priming(Framing::Sse, 1000, &subscription.id()).to_vec();
//!     while !subscription.is_live() {
//!         match subscription.next(Budget { records: 100, bytes: 64 * 1024 }) {
//!             Next::Frames { bytes, .. } => bytes.iter().for_each(|bytes| written.extend(bytes)),
//!             Next::Wait => subscription.changed().await,
//!         }
//!     }
//!     Ok(written)
//! }
//! ```

pub(crate) mod catch_up;
pub(crate) mod confirm;
pub(crate) mod filter_check;
pub(crate) mod follow;
pub(crate) mod lane;
pub(crate) mod pending_gap;
pub(crate) mod reconcile;
pub(crate) mod repeat;
pub(crate) mod replay;
pub(crate) mod request;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod standing;
pub(crate) mod start_offsets;
pub(crate) mod subscribe;
pub(crate) mod subscription;
pub(crate) mod wait;
pub(crate) mod work;
