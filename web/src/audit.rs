//! The audit log: one line for each refusal, revocation, reload and admin call, with who asked, from where, and what came of it.
//!
//! | call | event | when |
//! | --- | --- | --- |
//! | [`refused`] | `refused` | a request or a connection gets an error in place of what it asked for |
//! | [`revoked`] | `revoked` | an operator ends streams: one line for each call, with how many |
//! | [`reloaded`] | `reloaded` | a file of settings is read again: limits, keys, certificates; also when it is wrong, and the old one stays |
//! | [`called`] | `called` | any answer of the admin address, but for /healthz, /readyz and /metrics, which scrapers ask for |
//!
//! The lines are events of `tracing` with the target `audit` and the event as their message: `TAILRACE_LOG=warn,audit=info` has them
//! alone. A line repeats no more than 256 characters of any text, and is one line whatever the text has: the formats of the log
//! escape CR, LF and other controls of ASCII, and this file what they leave ([`shown`]).
//!
//! A flood cannot fill a disk: each event and reason has its own budget, so that many refusals of one kind do not hide the few of
//! another. What is left out is in `unlogged` of the next line of that kind and in `tailrace_audit_lines_omitted_total`. With
//! `TAILRACE_LOG=info,audit=debug`, nothing is left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use axum::http::request::Parts as Head;
use parking_lot::Mutex;
use tailrace_bridge::TenantId;
use tracing::Level;

use crate::metrics;
use crate::peer::PeerAddress;
use crate::sample::{Sample, clipped};
use crate::trace::TraceId;

/// Lines of each event and reason per second, after a burst of 100: a day of one flood is 40 MB.
const LINES_PER_SECOND: NonZeroU32 = NonZeroU32::MIN;

/// The budgets, by event and reason. Both are constants of this program, so the map is as small as their number.
static BUDGETS: LazyLock<Budgets> = LazyLock::new(Budgets::default);

#[derive(Default)]
struct Budgets(Mutex<BTreeMap<(&'static str, &'static str), Sample>>);

/// Who is concerned, as far as it is known. The subject of a refusal is that of a token that was valid; the tenant is the one that was
/// asked for, which a token that is refused need not have.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) tenant: Option<TenantId>,
    /// The claim `sub`.
    pub(crate) subject: Option<Arc<str>>,
    pub(crate) address: IpAddr,
    pub(crate) trace_id: TraceId,
}

impl Who {
    pub(crate) fn new(address: IpAddr, trace_id: TraceId) -> Who {
        Who { tenant: None, subject: None, address, trace_id }
    }

    /// Who sent the request.
    pub(crate) fn of(request: &Head, trace_id: TraceId) -> Who {
        Who::new(PeerAddress::of(&request.extensions).ip(), trace_id)
    }

    fn tenant(&self) -> Option<Cow<'_, str>> {
        self.tenant.as_ref().map(|tenant| shown(tenant.as_str()))
    }

    fn subject(&self) -> Option<Cow<'_, str>> {
        self.subject.as_deref().map(shown)
    }
}

/// A request or a connection that got an error. `reason` is the code of the problem; `path` has no query, which may contain a token.
pub(crate) fn refused(who: &Who, reason: &'static str, detail: &str, path: &str) {
    let Some(unlogged) = BUDGETS.take("refused", reason) else { return };
    let (tenant, subject, detail, path) = (who.tenant(), who.subject(), shown(detail), shown(path));
    let Who { address, trace_id, .. } = who;
    tracing::info!(
        target: "audit", reason, tenant = tenant.as_deref(), subject = subject.as_deref(), %address, detail = &*detail,
        path = &*path, %trace_id, unlogged, "refused"
    );
}

/// Streams that an operator ended: tenant and subject are theirs, as far as they were named; the address is the operator's.
pub(crate) fn revoked(who: &Who, reason: &'static str, streams: usize) {
    let Some(unlogged) = BUDGETS.take("revoked", reason) else { return };
    let (tenant, subject) = (who.tenant(), who.subject());
    let Who { address, trace_id, .. } = who;
    tracing::info!(
        target: "audit", reason, tenant = tenant.as_deref(), subject = subject.as_deref(), %address, streams, %trace_id,
        unlogged, "revoked"
    );
}

/// A file that was read again: `what` is its variable, such as `TAILRACE_LIMITS_FILE`; `was_asked`: by a signal, not because it has
/// changed. An error must name no secret.
pub(crate) fn reloaded(what: &'static str, was_asked: bool, outcome: Result<(), &str>) {
    let why = if was_asked { "signal" } else { "changed" };
    let Some(unlogged) = BUDGETS.take("reloaded", what) else { return };
    match outcome {
        Ok(()) => {
            tracing::info!(target: "audit", reason = why, what, outcome = "taken", unlogged, "reloaded")
        }
        Err(error) => tracing::warn!(
            target: "audit", reason = why, what, outcome = "refused", detail = &*shown(error), unlogged, "reloaded"
        ),
    }
}

/// A call of the admin address and its answer: tenant and subject are what it selects.
pub(crate) fn called(who: &Who, method: &str, path: &str, status: u16) {
    // Calls that were refused must not be hidden by those that were not.
    let kind = if status < 400 { "answered" } else { "refused" };
    let Some(unlogged) = BUDGETS.take("called", kind) else { return };
    let (tenant, subject, method, path) = (who.tenant(), who.subject(), shown(method), shown(path));
    let Who { address, trace_id, .. } = who;
    tracing::info!(
        target: "audit", reason = kind, tenant = tenant.as_deref(), subject = subject.as_deref(), %address,
        method = &*method, path = &*path, status, %trace_id, unlogged, "called"
    );
}

impl Budgets {
    /// `Some`: there is a line, which says how many before it there were none for.
    fn take(&self, event: &'static str, reason: &'static str) -> Option<u64> {
        let all = tracing::enabled!(target: "audit", Level::DEBUG);
        let mut budgets = self.0.lock();
        let budget = budgets.entry((event, reason)).or_insert_with(|| Sample::per_second(LINES_PER_SECOND));
        let taken = budget.take(all);
        drop(budgets);
        if taken.is_none() {
            metrics::audit_line_omitted(event);
        }
        taken
    }
}

/// As much of a text as a line repeats. The log's formats escape what is below the space; what they may leave as it is, and a
/// terminal or a viewer takes for a command, a line end or another order of the characters, is escaped here.
fn shown(text: &str) -> Cow<'_, str> {
    let text = clipped(text);
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// DEL and the controls of Latin-1; line and paragraph separators; marks that change the direction of text; the byte order mark.
fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{7F}'..='\u{9F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
    )
}

#[cfg(test)]
mod tests;
