//! `GET /tenants`: the tenants that have open streams, with the sums of these.

use std::cmp::Reverse;
use std::collections::HashMap;

use axum::body::Body;
use axum::http::{HeaderMap, Response};
use serde_json::{Value, json};
use tailrace_bridge::TenantId;

use super::answer::list;
use super::listing::{Row, State, rows};
use super::parameters::Parameters;
use super::streams::limit;
use crate::accept::wants_lines;
use crate::problem::Problem;
use crate::registry::Registry;

/// What comes first.
#[derive(Clone, Copy)]
enum Sort {
    Streams,
    Events,
    Bytes,
    Behind,
    Tenant,
}

const SORTS: [(&str, Sort); 5] = [
    ("streams", Sort::Streams),
    ("events", Sort::Events),
    ("bytes", Sort::Bytes),
    ("behind", Sort::Behind),
    ("tenant", Sort::Tenant),
];

/// The sums over a tenant's open streams.
#[derive(Default)]
struct Sums {
    streams: u64,
    replaying: u64,
    lagging: u64,
    behind: u64,
    events: u64,
    bytes: u64,
}

/// How tenants are listed.
pub(super) struct Wanted {
    sort: Sort,
    limit: usize,
    as_lines: bool,
}

impl Wanted {
    pub(super) fn read(query: Option<&str>, headers: &HeaderMap) -> Result<Wanted, Problem> {
        let parameters = Parameters::split(query, &["sort", "limit"])?;
        let (sort, limit) = (parameters.choice("sort", &SORTS)?, limit(&parameters)?);
        Ok(Wanted { sort, limit, as_lines: wants_lines(headers) })
    }

    pub(super) fn list(&self, registry: &Registry) -> Response<Body> {
        let mut tenants: HashMap<TenantId, Sums> = HashMap::new();
        for row in rows(registry, None, None) {
            tenants.entry(row.tenant.clone()).or_default().add(&row);
        }
        let mut tenants: Vec<(TenantId, Sums)> = tenants.into_iter().collect();
        let first = |sums: &Sums| match self.sort {
            Sort::Streams => sums.streams,
            Sort::Events => sums.events,
            Sort::Bytes => sums.bytes,
            Sort::Behind => sums.behind,
            Sort::Tenant => 0,
        };
        tenants.sort_by(|(a, ours), (b, theirs)| (Reverse(first(ours)), a).cmp(&(Reverse(first(theirs)), b)));
        let total = tenants.len();
        let shown = tenants.iter().take(self.limit).map(|(tenant, sums)| object(tenant, sums));
        list(shown, total, self.as_lines)
    }
}

impl Sums {
    fn add(&mut self, row: &Row) {
        self.streams += 1;
        self.replaying += u64::from(row.state == State::Replaying);
        self.lagging += u64::from(row.state == State::Lagging);
        self.behind += row.behind.count;
        self.events += row.entry.events();
        self.bytes += row.entry.bytes();
    }
}

fn object(tenant: &TenantId, sums: &Sums) -> Value {
    let Sums { streams, replaying, lagging, behind, events, bytes } = sums;
    json!({
        "tenant": tenant.as_str(), "streams": streams, "replaying": replaying, "lagging": lagging,
        "behind": behind, "events": events, "bytes": bytes,
    })
}
