//! `GET /streams`: the open streams. `DELETE /streams`: ends some of them.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tailrace_bridge::TenantId;

use super::answer::{list, object};
use super::listing::{Row, rows};
use super::parameters::Parameters;
use crate::accept::wants_lines;
use crate::audit::{self, Who};
use crate::moment::Moment;
use crate::problem::Problem;
use crate::registry::{Registry, Revocation};
use crate::trace::TraceId;

/// Streams of one answer, if the client does not say, and at most: each takes about 300 bytes.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 10_000;

/// What comes first.
#[derive(Clone, Copy)]
enum Sort {
    Behind,
    Bytes,
    Events,
    Since,
    Tenant,
}

const SORTS: [(&str, Sort); 5] = [
    ("behind", Sort::Behind),
    ("bytes", Sort::Bytes),
    ("events", Sort::Events),
    ("since", Sort::Since),
    ("tenant", Sort::Tenant),
];

/// Which streams are listed.
pub(super) struct Wanted {
    tenant: Option<TenantId>,
    subject: Option<String>,
    sort: Sort,
    limit: usize,
    as_lines: bool,
}

impl Wanted {
    pub(super) fn read(query: Option<&str>, headers: &HeaderMap) -> Result<Wanted, Problem> {
        let parameters = Parameters::split(query, &["tenant", "subject", "sort", "limit"])?;
        Ok(Wanted {
            tenant: parameters.read("tenant", TenantId::new)?,
            subject: parameters.get("subject").map(str::to_owned),
            sort: parameters.choice("sort", &SORTS)?,
            limit: limit(&parameters)?,
            as_lines: wants_lines(headers),
        })
    }

    /// The answer. Takes milliseconds for ten thousand streams.
    pub(super) fn list(&self, registry: &Registry) -> Response<Body> {
        let mut rows = rows(registry, self.tenant.as_ref(), self.subject.as_deref());
        let total = rows.len();
        let now = Moment::now();
        let oldest = |row: &Row| Reverse(row.entry.age(now));
        // Counters move while they are sorted by: each is read once.
        match self.sort {
            Sort::Behind => rows.sort_by_cached_key(|row| (Reverse(row.behind.count), oldest(row))),
            Sort::Bytes => rows.sort_by_cached_key(|row| Reverse(row.entry.bytes())),
            Sort::Events => rows.sort_by_cached_key(|row| Reverse(row.entry.events())),
            Sort::Since => rows.sort_by_cached_key(oldest),
            Sort::Tenant => rows.sort_by_cached_key(|row| (row.tenant.clone(), oldest(row))),
        }
        let time = Timestamp::now();
        let shown = rows.iter().take(self.limit).filter_map(|row| stream(row, now, time));
        list(shown, total, self.as_lines)
    }
}

pub(super) fn limit(parameters: &Parameters) -> Result<usize, Problem> {
    let accepted = || format!("a number from 1 to {MAX_LIMIT}");
    let parse =
        |value: &str| value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(accepted);
    Ok(parameters.read("limit", parse)?.unwrap_or(LIMIT))
}

/// `None`: it has just ended.
fn stream(row: &Row, now: Moment, time: Timestamp) -> Option<Value> {
    let Row { entry, tenant, behind, state } = row;
    let view = entry.view.look()?;
    let since = time.checked_sub(entry.age(now)).unwrap_or(time);
    Some(json!({
        "id": entry.id.to_string(),
        "tenant": tenant.as_str(),
        "subject": entry.subject(),
        "address": entry.address().to_string(),
        "topics": view.topics(),
        "kind": if entry.is_page { "page" } else { "stream" },
        "state": state.as_str(),
        "behind": behind.count,
        "waits_ms": behind.waits.map(|waits| waits.as_millis() as u64),
        "events": entry.events(),
        "bytes": entry.bytes(),
        "since": format!("{since:.0}"),
    }))
}

/// Ends the streams that meet all parameters, of which there must be one.
pub(super) fn revoke(
    registry: &Registry,
    request: &Head,
    trace_id: TraceId,
) -> Result<Response<Body>, Problem> {
    let parameters = Parameters::split(request.uri.query(), &["tenant", "subject", "id"])?;
    let revocation = Revocation {
        tenant: parameters.read("tenant", TenantId::new)?,
        subject: parameters.get("subject").map(str::to_owned),
        id: parameters.read("id", str::parse)?,
    };
    if revocation.is_empty() {
        let detail = "say which streams: by tenant=, subject= or id=; what is given must all be met";
        return Err(Problem::parameter("tenant", detail));
    }
    let count = registry.revoke(&revocation);
    let Revocation { tenant, subject, id: _ } = revocation;
    let who = Who { tenant, subject: subject.map(Arc::from), ..Who::of(request, trace_id) };
    audit::revoked(&who, "operator", count);
    Ok(object(&json!({ "revoked": count })))
}
