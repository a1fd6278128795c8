//! HTTP/2 (RFC 9113) as a state machine of one connection: bytes of the client go in, events and bytes for the client come out.
//! It reads no socket and starts no timer, so tests and fuzzing drive it as the writer threads do.
//!
//! [`connection`] is the machine. [`input`] cuts what comes into [`frame`]s; [`headers`] collects a header block, which
//! [`hpack`] decodes and [`request`] checks; [`response`] encodes the head of a response; [`out`] is what
//! is to be sent; [`budget`] limits what a client can have
//! the server do.

mod budget;
mod connection;
mod frame;
mod fuzzing;
mod headers;
mod hpack;
mod input;

mod out;
mod request;
mod response;

pub(crate) use connection::{Connection, Event};
pub(crate) use frame::{Code, SMALLEST_DATA};
pub use fuzzing::{Served, serve};
pub(crate) use response::encode as encode_head;
