//! docs/peers.json: the figures of every run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::row::Row;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The machine of the measurement.
    pub(crate) machine: String,
    pub(crate) command: String,
    /// The rows of the table: medians, minima and maxima.
    #[serde(default, skip_deserializing)]
    pub(crate) rows: Vec<Row>,
    /// Each round measures all servers one after the other.
    pub(crate) rounds: Vec<Round>,
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) servers: Vec<Measured>,
}

/// One server in one round.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) note: String,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) single: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bursts: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<Idle>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) curve: Vec<Point>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<First>,
}

/// The cost of a delivery at an even pace.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) clients: usize,
    pub(crate) events_per_second: u32,
    pub(crate) burst: u32,
    /// Of all processes of the server.
    pub(crate) cpu_us_per_delivery: f64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) bytes_per_delivery: f64,
    /// CPU of the load generator, publishing included; 1 is a whole core.
    pub(crate) generator_cores: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) missing: i64,
}

/// The memory of an idle client.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Idle {
    pub(crate) clients: usize,
    /// Of the server's processes.
    pub(crate) kib_per_client: f64,
    /// Of the kernel, for both ends of a connection.
    #[serde(default)]
    pub(crate) kernel_kib_per_client: f64,
    /// From the first connect to the last answer, when all come at once, at most 10,000 a second.
    #[serde(default)]
    pub(crate) connect_seconds: f64,
    /// CPU of the server's processes for each connect.
    #[serde(default)]
    pub(crate) connect_cpu_us: f64,
}

/// From a connect to the first event, while there is one every 2 ms.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct First {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// A server under full load.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) clients: usize,
    pub(crate) deliveries_per_second: f64,
    pub(crate) server_cores: f64,
    pub(crate) generator_cores: f64,
    pub(crate) missing: i64,
}

impl Record {
    pub(crate) fn read(path: &Path) -> Result<Record> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("understand {}", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("write JSON")?;
        fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
    }

    /// Every run of a server, in order.
    pub(crate) fn of(&self, name: &str) -> impl Iterator<Item = &Measured> {
        self.rounds.iter().flat_map(|round| &round.servers).filter(move |measured| measured.name == name)
    }
}
