//! The HTTP server: from a listening socket to a response.
//!
//! [`accept`] takes sockets from the listener, with the options of [`socket_options`]. [`proxy_header`] takes the header of the
//! PROXY protocol from those that begin with one. [`opening`] waits for a connection's first
//! request: for its [`first_bytes`], and over TLS for the [`handshake`], which takes [`fair_turns`] in computing, and of which
//! there may be a [`crowd`]. [`connection`] has hyper serve each client of HTTP/1 over its [`socket`] or [`tls_socket`], and gives
//! each of HTTP/2 to a writer thread; [`request_line`] answers requests that hyper would refuse without an explanation. [`service`] answers one request.
//! [`takeover`] moves the socket of an HTTP/1 stream from hyper to a writer thread. [`activity`] counts the responses under way,
//! to recognize idle connections. [`shutdown`] ends connections when the process stops.

mod accept;
mod activity;
mod connection;
mod crowd;
mod fair_turns;
mod first_bytes;
mod handshake;
mod opening;
mod proxy_header;
mod request_line;
mod service;
mod shutdown;
mod socket;
mod socket_options;
mod takeover;
mod tls_socket;

pub(crate) use accept::Server;
pub(crate) use takeover::StreamTransports;
