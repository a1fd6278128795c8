//! What the server says of its tenants and streams, at one moment.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;

/// A tenant with open streams, and their sums.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Tenant {
    pub(super) tenant: String,
    pub(super) streams: u64,
    pub(super) replaying: u64,
    pub(super) lagging: u64,
    pub(super) behind: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// An open stream.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Stream {
    pub(super) id: String,
    pub(super) tenant: String,
    pub(super) subject: Option<String>,
    pub(super) address: String,
    pub(super) topics: Vec<String>,
    pub(super) state: String,
    pub(super) behind: u64,
    pub(super) waits_ms: Option<u64>,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) since: String,
}

/// The first of a list, and how many there are in all.
#[derive(Clone, Debug)]
pub(super) struct List<T> {
    pub(super) first: Vec<T>,
    pub(super) total: u64,
}

/// Both lists, and when they came.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) tenants: List<Tenant>,
    pub(super) streams: List<Stream>,
    pub(super) at: Instant,
}

impl Report {
    /// One document, for programs.
    pub(super) fn json(&self, address: &str) -> serde_json::Value {
        json!({
            "address": address,
            "tenants_total": self.tenants.total, "tenants": self.tenants.first,
            "streams_total": self.streams.total, "streams": self.streams.first,
        })
    }
}
