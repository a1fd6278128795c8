//! Attacks, one test for each: what is sent, and what the server must not do.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/pki.rs"]
mod pki;

#[path = "../ways/way.rs"]
mod way;

mod frames;
mod http2;
mod http_client;
mod requests;
mod smuggling;
