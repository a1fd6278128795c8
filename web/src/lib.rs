//! HTTP for Tailrace: routes, streams, authentication, limits, the console and the admin endpoints.
//!
//! The files follow a request: `server` accepts its connection, `route` finds its handler, `identity` and `query` read the tenant
//! and the parameters, `limits` checks whether one more stream is allowed, `admit` subscribes. `stream` decides which bytes are sent
//! and when; `writer` writes them to the sockets, where `http2` is the protocol of a connection with many of them. `records` makes
//! pages of the same frames. The modules have no circular uses (`tests/rooms.rs` of the workspace). A request that cannot be served gets a `problem` document, or a `refusal` within a stream where a
//! browser would otherwise never reconnect. Nothing in this package depends on Kafka.

#![cfg_attr(not(test), warn(clippy::unwrap_used, reason = "no panic on input"))]

mod accept;
mod access;
mod admin;
mod admin_tokens;
mod admit;
mod app;
mod attachment;
mod audit;
mod bodiless;
mod coding;
mod console;
mod cors;
mod description;
mod drain;
mod end;
mod http2;
mod identity;
mod limit;
mod limits;
mod metrics;
mod moment;
mod news;
mod pace;
mod peer;
mod permit;
mod problem;
mod query;
mod records;
mod refusal;
mod registry;
mod reload;
mod route;
mod sample;
mod server;
mod settings;
mod stream;
mod tls;
mod topics;
mod trace;
mod upgrade;
mod web;
mod whole_file;
mod writer;

pub use metrics::describe_metrics;
// For the fuzz targets, and no part of the interface.
#[doc(hidden)]
pub use cors::Origins;
#[doc(hidden)]
pub use http2::{Served, serve};
#[doc(hidden)]
pub use identity::{KeyRing, SourceError, TokenError, TokenSources, Tries};
#[doc(hidden)]
pub use peer::{
    ForwardedHeader, HeaderError, Ignored, MAX_HEADER, PeerRules, ProxyHeader, Report, Source,
    TrustedProxies, read_header,
};
#[doc(hidden)]
pub use query::{ParameterError, ReadParameters, read_parameters};
pub use reload::Reload;
#[doc(hidden)]
pub use settings::check_limits_file;
pub use settings::{Args, ConfigurationValue, SettingError, WebSettings};
pub use web::Web;
#[doc(hidden)]
pub use writer::{Answers, answers};
