//! One client's subscription.
//!
//! [`request`] → [`subscribe`] (the topics, the view, the positions: [`start`], [`reconcile`]) → [`subscription`], whose looks are
//! [`catch_up`], by [`replay`] (of each partition a [`lane`]; whether its log is still the same is what [`confirm`] asks), and
//! [`follow`], after its view; between them it has to [`wait`]. [`repeat`] gives the next subscription what the one before it was
//! given, where both stand at the same place.
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
//!             envelope: Envelope::None,
//!             from: StartFrom::Latest,
//!             last_event_id: Some(last_event_id),
//!         })
//!         .await?;
//!     let mut written = Control::priming(1000, &subscription.id()).to_vec();
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
pub(crate) mod follow;
pub(crate) mod lane;
pub(crate) mod reconcile;
pub(crate) mod repeat;
pub(crate) mod replay;
pub(crate) mod request;
pub(crate) mod start;
pub(crate) mod subscribe;
pub(crate) mod subscription;
pub(crate) mod wait;
