//! A report as text: a summary, a table of tenants, a table of streams.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Sort;
use super::report::{List, Report, Stream, Tenant};

/// The widest a name is shown.
const MAX_NAME: usize = 32;
/// Tenants that are shown: the rest of the page is for streams.
const MAX_TENANTS: usize = 10;

/// The page, a line each. `before`: an earlier report, for what has come a second since.
pub(super) fn page(report: &Report, before: Option<&Report>, address: &str, sort: Sort) -> String {
    let rates = Rates::between(before, report);
    let mut page = format!("{}\n\n", summary(report, address, sort));
    page.push_str(&tenants(&report.tenants, &rates));
    page.push('\n');
    page.push_str(&streams(&report.streams, &rates));
    page
}

fn summary(report: &Report, address: &str, sort: Sort) -> String {
    let sum = |of: fn(&Tenant) -> u64| report.tenants.first.iter().map(of).sum::<u64>();
    let (streams, tenants) = (report.streams.total, report.tenants.total);
    // The sums are of the tenants that were asked for.
    let least = if tenants > report.tenants.first.len() as u64 { "at least " } else { "" };
    format!(
        "tailrace {address}   {tenants} tenants, {streams} streams: {least}{} lagging, {least}{} replaying   by {}",
        sum(|tenant| tenant.lagging),
        sum(|tenant| tenant.replaying),
        sort.of_streams(),
    )
}

fn tenants(list: &List<Tenant>, rates: &Rates) -> String {
    let head =
        ["TENANT", "STREAMS", "LAGGING", "REPLAYING", "BEHIND", "EVENTS/s", "BYTES/s", "EVENTS", "BYTES"];
    let rows = list.first.iter().take(MAX_TENANTS).map(|one| {
        let (events, bytes) = rates.of(&format!("tenant {}", one.tenant), one.events, one.bytes);
        vec![
            name(&one.tenant),
            one.streams.to_string(),
            one.lagging.to_string(),
            one.replaying.to_string(),
            one.behind.to_string(),
            events,
            bytes,
            one.events.to_string(),
            size(one.bytes),
        ]
    });
    let left = list.total.saturating_sub(list.first.len().min(MAX_TENANTS) as u64);
    table(&head, rows.collect(), 1) + &more(left, "tenants")
}

fn streams(list: &List<Stream>, rates: &Rates) -> String {
    let head = [
        "ID", "TENANT", "SUBJECT", "ADDRESS", "STATE", "TOPICS", "BEHIND", "WAITS", "EVENTS/s", "BYTES/s",
        "EVENTS", "BYTES", "AGE",
    ];
    let now = Timestamp::now();
    let rows = list.first.iter().map(|one| {
        let (events, bytes) = rates.of(&format!("stream {}", one.id), one.events, one.bytes);
        vec![
            name(&one.id),
            name(&one.tenant),
            one.subject.as_deref().map_or("–".to_owned(), name),
            name(&one.address),
            name(&one.state),
            if one.topics.is_empty() { "all".to_owned() } else { name(&one.topics.join(",")) },
            one.behind.to_string(),
            one.waits_ms.map_or("–".to_owned(), |ms| time(Duration::from_millis(ms))),
            events,
            bytes,
            one.events.to_string(),
            size(one.bytes),
            one.since.parse().map_or("–".to_owned(), |since: Timestamp| age(now, since)),
        ]
    });
    let left = list.total.saturating_sub(list.first.len() as u64);
    table(&head, rows.collect(), 6) + &more(left, "streams")
}

fn more(left: u64, what: &str) -> String {
    if left == 0 { String::new() } else { format!("… and {left} {what} more\n") }
}

/// Columns as wide as their contents; the first `names` of them to the left, numbers to the right.
fn table(head: &[&str], rows: Vec<Vec<String>>, names: usize) -> String {
    let length = |text: &str| text.chars().count();
    let width =
        |at: usize| rows.iter().map(|row| length(&row[at])).chain([length(head[at])]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
            if at < names { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    [line(head.to_vec())].into_iter().chain(rows).collect()
}

/// A name that a client, or an issuer of tokens, has chosen, clipped.
fn name(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Without anything that a terminal would obey, or that would turn the order of a line.
pub(super) fn clean(text: &str) -> String {
    let is_harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if is_harmful(c) { '\u{fffd}' } else { c }).collect()
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn age(now: Timestamp, since: Timestamp) -> String {
    time(Duration::try_from(now.duration_since(since)).unwrap_or_default())
}

fn time(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        seconds @ 3600..86_400 => format!("{}:{:02} h", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// What came a second since an earlier report.
struct Rates {
    before: HashMap<String, (u64, u64)>,
    seconds: f64,
}

impl Rates {
    fn between(before: Option<&Report>, report: &Report) -> Self {
        let mut known = HashMap::new();
        for one in before.iter().flat_map(|report| &report.tenants.first) {
            known.insert(format!("tenant {}", one.tenant), (one.events, one.bytes));
        }
        for one in before.iter().flat_map(|report| &report.streams.first) {
            known.insert(format!("stream {}", one.id), (one.events, one.bytes));
        }
        let seconds = before.map_or(0.0, |before| report.at.duration_since(before.at).as_secs_f64());
        Rates { before: known, seconds }
    }

    /// Events and bytes. A tenant's sums also fall, when its streams end: that is no rate.
    fn of(&self, key: &str, events: u64, bytes: u64) -> (String, String) {
        let unknown = || ("–".to_owned(), "–".to_owned());
        let Some((old_events, old_bytes)) = self.before.get(key) else { return unknown() };
        let (Some(events), Some(bytes)) = (events.checked_sub(*old_events), bytes.checked_sub(*old_bytes))
        else {
            return unknown();
        };
        if self.seconds <= 0.0 {
            return unknown();
        }
        let rate = |count: u64| count as f64 / self.seconds;
        (format!("{:.1}", rate(events)), size(rate(bytes) as u64))
    }
}

#[cfg(test)]
mod tests;
