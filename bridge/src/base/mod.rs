//! What every folder may use: [`sync`] (locks and atomics, or the model checker's) and [`lock_order`], [`clock`] (time, timers
//! and tasks), [`meter`] (a rate that many share), [`signal`] (something that happens once), [`metrics`], [`varint`], [`units`]
//! of settings, secret [`key`]s, and [`sabotage`], the deliberate defects that tests must catch.
//!
//! ```
//! use tailrace_bridge::{ByteSize, Span};
//!
//! let memory: ByteSize = "256MiB".parse()?;
//! assert_eq!(memory.get(), 256 << 20);
//! let drain: Span = "15s".parse()?;
//! assert_eq!(drain.get().as_secs(), 15);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod clock;
pub(crate) mod key;
pub(crate) mod lock_order;
pub(crate) mod meter;
pub(crate) mod metrics;
pub(crate) mod sabotage;
pub(crate) mod signal;
pub(crate) mod sync;
pub(crate) mod units;
pub(crate) mod varint;
