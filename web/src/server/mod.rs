//! The HTTP server: from a listening socket to a response.
//!
//! [`accept`] takes sockets from the listener, with the options of [`socket_options`]. [`proxy_header`] takes the header of the
//! PROXY protocol from those that begin with one. [`connection`] has hyper serve each over
//! its [`socket`], with HTTP/1.1 or HTTP/2, depending on the client's first bytes; [`request_line`] answers requests that hyper
//! would refuse without an explanation. [`service`] answers one request. [`takeover`] moves the socket of an HTTP/1 stream from
//! hyper to a writer thread. [`activity`] counts the responses under way, to recognize idle connections. [`shutdown`] ends
//! connections when the process stops.

mod accept;
mod activity;
mod connection;
mod proxy_header;
mod request_line;
mod service;
mod shutdown;
mod socket;
mod socket_options;
mod takeover;

pub(crate) use accept::Server;
pub(crate) use takeover::{AttachedStream, StreamTransports};
