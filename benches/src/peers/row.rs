//! A row of docs/peers.md, which docs/peers.json has too.

use serde::Serialize;

/// Least, median and most.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

/// A server's figures over all rounds. What it has none of is `None`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) clients: Option<usize>,
    pub(crate) cpu_us_single: Option<Spread>,
    pub(crate) cpu_us_bursts: Option<Spread>,
    pub(crate) bursts_per_second: Option<Spread>,
    /// Its CPU in bursts over ours in the same round.
    pub(crate) times_ours_bursts: Option<Spread>,
    pub(crate) kib_per_idle_client: Option<Spread>,
    pub(crate) idle_clients: Option<usize>,
    pub(crate) missing: i64,
    /// It comes from elsewhere, not from this record's rounds.
    pub(crate) quoted: bool,
    pub(crate) note: String,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut values = values.collect::<Vec<_>>();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let last = values.len() - 1;
        Some(Spread { min, median: (values[last / 2] + values[last.div_ceil(2)]) / 2.0, max })
    }

    pub(crate) fn exactly(value: f64) -> Option<Spread> {
        Some(Spread { min: value, median: value, max: value })
    }
}
