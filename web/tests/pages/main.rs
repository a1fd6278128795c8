//! Pages over real sockets: their form, their cursor, waiting, limits, caching.
//!
//! The kinds of trouble: a record lost or repeated between pages, or between a page and a stream, on this replica or another; a
//! page that waits for ever, or is never answered; a place that is kept by a client that has left, reads nothing, or was refused;
//! a limit that pages pass; a page kept by a cache that another must not see, or that changes.

#[path = "../support/mod.rs"]
mod support;

mod caching;
mod cursor;
mod form;
mod ledger;
mod limits;
mod waiting;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Client, Server};

pub(crate) const RECORDS: &str = "/t/acme/records";

/// The page at that address, which is answered with 200.
pub(crate) async fn page(server: &Server, query: &str) -> Value {
    let mut client = server.get(&format!("{RECORDS}?{query}"), &[]).await;
    let body = client.body().await;
    assert_eq!(client.status, 200, "{query}: {body}");
    serde_json::from_str(&body).unwrap()
}

pub(crate) fn next(page: &Value) -> &str {
    page["next"].as_str().unwrap()
}

/// The values of a page's records.
pub(crate) fn values(page: &Value) -> Vec<&str> {
    page["records"].as_array().unwrap().iter().map(|record| record["value"].as_str().unwrap()).collect()
}

/// Waits until it holds, no longer than ten seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}: not within 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What operators see of open streams and pages.
pub(crate) async fn listed(server: &Server) -> Vec<Value> {
    let mut client = Client::request(server.admin, "GET", "/streams", &[]).await;
    client.json().await.as_array().unwrap().clone()
}
