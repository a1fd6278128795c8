//! What every room may use: [`sync`] (locks and atomics, also the model checker's), [`varint`], [`units`] of settings,
//! [`metrics`], [`clock`] (the time, and what is done later), and [`sabotage`], the deliberate defects that tests must catch.

pub(crate) mod clock;
pub(crate) mod metrics;
pub(crate) mod sabotage;
pub(crate) mod sync;
pub(crate) mod units;
pub(crate) mod varint;
