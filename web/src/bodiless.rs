//! The answer to `HEAD`: the head that `GET` would have, without what it would be the head of.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::empty;

/// A body that is not sent and whose length is not said. An empty one would be taken for that of `GET`, and its length, which is
/// nothing, be sent (RFC 9110, section 8.6).
pub(crate) fn body() -> Body {
    Body::from_stream(empty::<Result<Bytes, Infallible>>())
}
