//! Attacks, one test each: what a producer, a tenant or a stranger tries, and what must come of it.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/pki.rs"]
mod pki;

#[path = "../ways/way.rs"]
mod way;

mod attack;
mod frames;
mod http2;
mod http_client;
mod leaks;
mod limits_bypass;
mod pages;
mod producers;
mod requests;
mod smuggling;
mod work;
