//! Attacks, one test each: what a producer, a tenant or a stranger tries, and what must come of it.

#[path = "../support/mod.rs"]
mod support;

mod attack;
mod leaks;
mod limits_bypass;
mod producers;
mod work;
