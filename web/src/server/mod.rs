//! The HTTP server: from a listening socket to a response.
//!
//! [`accept`] takes sockets from the listener; [`socket_options`] says how they are set up; [`connection`] has hyper serve
//! one, HTTP/1.1 or HTTP/2 as the client begins; [`service`] answers one request; [`takeover`] is how the socket of an
//! HTTP/1 stream leaves hyper for a writer thread; [`activity`] counts the responses under way, so that an idle connection
//! is known; [`shutdown`] ends connections when the process stops.

mod accept;
mod activity;
mod connection;
mod service;
mod shutdown;
mod socket_options;
mod takeover;

pub(crate) use accept::Server;
pub(crate) use service::PeerAddress;
pub(crate) use takeover::{AttachedStream, StreamTransports};
