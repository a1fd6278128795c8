//! The HTTP server: from a listening socket to a response.
//!
//! [`accept`] takes sockets from the listener, set up as [`socket_options`] says. [`connection`] has hyper serve one, HTTP/1.1
//! or HTTP/2 as the client begins, over its [`socket`]; [`request_line`] answers what hyper would refuse without a word.
//! [`service`] answers one request. [`takeover`] is how the socket of an HTTP/1 stream leaves hyper for a writer thread.
//! [`activity`] counts the responses under way, so that an idle connection is known. [`shutdown`] ends connections when the
//! process stops.

mod accept;
mod activity;
mod connection;
mod request_line;
mod service;
mod shutdown;
mod socket;
mod socket_options;
mod takeover;

pub(crate) use accept::Server;
pub(crate) use service::PeerAddress;
pub(crate) use takeover::{AttachedStream, StreamTransports};
