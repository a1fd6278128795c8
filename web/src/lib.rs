//! HTTP for Tailrace: routes, streams, authentication, limits, the console and the admin endpoints.
//!
//! The files follow a request: `server` accepts it, `route` finds its handler, `auth` and `query` say whose
//! stream it is and of what, `limits` whether there is room. `stream` says what goes out and when; `writer` writes it to
//! HTTP/1's sockets, `body` is what hyper polls for HTTP/2. None uses one that uses it (`tests/rooms.rs`). What cannot
//! be served is a `problem` document, or a `refusal` within the stream where a browser would otherwise give up for good.
//! Nothing here knows Kafka.

#![cfg_attr(not(test), warn(clippy::unwrap_used, reason = "no panic on input"))]

mod access;
mod admin;
mod app;
mod auth;
mod body;
mod console;
mod cors;
mod drain;
mod end;
mod limits;
mod metrics;
mod moment;
mod pace;
mod permit;
mod problem;
mod query;
mod refusal;
mod route;
mod server;
mod settings;
mod stream;
mod trace;
mod web;
mod writer;

pub use metrics::describe_metrics;
pub use settings::{Args, SettingError, WebSettings};
pub use web::Web;
