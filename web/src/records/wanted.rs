//! What a request wants of a page, beyond what a page and a stream have in common.

use std::time::Duration;

use axum::http::HeaderMap;
use tailrace_bridge::{Envelope, StartFrom};

use crate::problem::Problem;
use crate::query::{LIMIT, MAX_LIMIT, MAX_WAIT, Query, Raw, at, bounded};

/// What a request wants of its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The most records.
    pub(super) limit: usize,
    /// How long to wait for something to come; zero: not at all.
    pub(super) wait: Duration,
    /// Whether as JSON a line.
    pub(super) as_lines: bool,
    pub(super) envelope: Envelope,
    /// Whether the address alone says at which positions the page begins.
    pub(super) is_fixed: bool,
}

impl Wanted {
    pub(crate) fn read(raw: &Raw, query: &Query, headers: &HeaderMap) -> Result<Wanted, Problem> {
        check_from(query)?;
        Ok(Wanted {
            limit: limit(raw)?,
            wait: wait(raw)?,
            as_lines: raw.lines(headers)?,
            envelope: query.envelope,
            is_fixed: is_fixed(raw, query, headers)?,
        })
    }
}

/// A page has no event that says where a snapshot ends, and may be cached, while a snapshot is of now.
fn check_from(query: &Query) -> Result<(), Problem> {
    if query.from != StartFrom::Snapshot {
        return Ok(());
    }
    Err(at("from", 0, "snapshot is for streams, /t/{tenant}/events"))
}

fn limit(raw: &Raw) -> Result<usize, Problem> {
    let Some(text) = raw.one("limit")? else { return Ok(LIMIT) };
    // A sign would be taken, and a plus may be meant as a space.
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
        let detail = format!("{text:?} is not a number of records; accepted: 1 to {MAX_LIMIT}");
        at("limit", 0, detail)
    })
}

fn wait(raw: &Raw) -> Result<Duration, Problem> {
    let Some(text) = raw.one("wait")? else { return Ok(Duration::ZERO) };
    bounded("wait", 0, text, (Duration::ZERO, MAX_WAIT))
}

/// The header has precedence over the parameters, and is no part of the address.
fn is_fixed(raw: &Raw, query: &Query, headers: &HeaderMap) -> Result<bool, Problem> {
    let by_header = headers.get("last-event-id").is_some_and(|id| !id.is_empty());
    let by_id = raw.one("last_event_id")?.is_some_and(|id| !id.is_empty());
    let from_id = matches!(query.from, StartFrom::Id(_) | StartFrom::SealedId(_));
    Ok(!by_header && (by_id || from_id))
}
