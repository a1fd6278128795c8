//! One client's subscription.
//!
//! [`request`] → [`subscribe`] (the topics, the view, the positions: [`start`], [`reconcile`]) → [`subscription`], whose looks are
//! [`catch_up`], by [`replay`] (of each partition a [`lane`]; whether its log is still the same is what [`confirm`] asks), and
//! [`follow`], after its view; between them it has to [`wait`]. [`repeat`] gives the next subscription what the one before it was
//! given, where both stand at the same place.

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
