//! What every room may use: [`sync`] (locks and atomics, also the model checker's) and [`lock_order`], [`clock`] (the time, and
//! what is done later), [`metrics`], [`varint`], [`units`] of settings, and [`sabotage`], the deliberate defects that tests must
//! catch.

pub(crate) mod clock;
pub(crate) mod lock_order;
pub(crate) mod metrics;
pub(crate) mod sabotage;
pub(crate) mod sync;
pub(crate) mod units;
pub(crate) mod varint;
