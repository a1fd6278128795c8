//! The habit of a client that asks for pages: each over a connection of its own, some of which are cut at random bytes. What a
//! page has counts once the client has all of it, with the id of its end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{CALM, GLANCE, Phase, Reader, Seen, cut_after};
use crate::access::{self, Counted};
use crate::ledger::tenant_name;
use crate::sse::Event;
use crate::way::Way;
use crate::wire::{Cut, Wire};

/// A page is answered within five seconds and its wait; a stopped replica never answers.
const PATIENCE: Duration = Duration::from_secs(8);

/// What a page has.
struct Page {
    /// Its gaps and its records, in order, as a stream would have had them.
    events: Vec<Event>,
    next: String,
    has_more: bool,
}

impl Reader {
    /// Asks for one page.
    pub(super) async fn page(&mut self) {
        let Some(port) = self.any_port() else { return tokio::time::sleep(GLANCE).await };
        self.renew_token();
        self.got.connections += 1;
        let began = Instant::now();
        match tokio::time::timeout(PATIENCE, self.ask(port)).await {
            Ok(Some((200, body))) => {
                // If there is none, it was cut.
                if let Some(page) = page(&body) {
                    self.take(page, began);
                }
            }
            Ok(Some((401, _))) => {
                Counted::add(&self.shared.access.counted.unauthorized);
                self.token = None;
            }
            // A replica that cannot serve now says so, and says when to ask again; the suite is less patient.
            Ok(Some((429 | 503, _)) | None) | Err(_) => tokio::time::sleep(GLANCE).await,
            Ok(Some((status, body))) => {
                self.got.seen.push(Seen::Strange(format!("a page is answered with {status} {body:.200}")));
                tokio::time::sleep(GLANCE).await;
            }
        }
    }

    fn take(&mut self, page: Page, began: Instant) {
        let is_empty = page.events.is_empty();
        if !is_empty {
            self.got.seen.push(Seen::Began(began));
        }
        self.note(page.events);
        self.source.last_event_id = page.next;
        // This check reads all records, so it is made only when nothing was received.
        if !is_empty || page.has_more {
            self.calm_since = None;
        } else if self.calm_since.is_some() || self.has_all() {
            let since = *self.calm_since.get_or_insert_with(Instant::now);
            self.got.is_complete = since.elapsed() >= CALM;
        }
    }

    /// The status and as much of the body as came; `None`: there is no answer.
    async fn ask(&mut self, port: u16) -> Option<(u16, String)> {
        let is_cut =
            self.random.random_range(0..4) == 0 && !matches!(&*self.phase.borrow(), Phase::Finish(..));
        let (limit, cut) = match (is_cut, &self.door) {
            (false, _) => (usize::MAX, Cut::NEVER),
            (true, None) => (cut_after(&mut self.random), Cut::NEVER),
            (true, Some(_)) => (usize::MAX, access::cut(&mut self.random)),
        };
        let request = self.page_request();
        let socket = self.socket(port).await?;
        let access = self.shared.access.clone();
        let wire = access.enter(socket, self.door.as_ref(), Way::Sse, cut).await?;
        answer(wire, &request, limit).await
    }

    /// Sizes, ways to say where to go on, and forms differ by chance.
    fn page_request(&mut self) -> String {
        let envelope = if self.which.is_multiple_of(2) { "record" } else { "none" };
        let limit = [1, 10, 100, 1000][self.random.random_range(0..4)];
        let (tenant, query) = (tenant_name(self.got.tenant), &self.shared.query);
        let mut target = format!("/t/{tenant}/records?envelope={envelope}&limit={limit}&wait=500ms{query}");
        let mut headers = "Connection: close\r\n".to_owned();
        match (self.source.last_event_id.as_str(), self.random.random_range(0..3)) {
            ("", _) => target.push_str("&from=earliest"),
            (id, 0) => target.push_str(&format!("&last_event_id={id}")),
            (id, 1) => target.push_str(&format!("&from={id}")),
            (id, _) => headers.push_str(&format!("Last-Event-ID: {id}\r\n")),
        }
        if self.random.random_range(0..2) == 0 {
            headers.push_str("Accept: application/x-ndjson\r\n");
        }
        if let Some(token) = &self.source.token {
            headers.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
    }
}

/// Reads until the connection ends, or until so many bytes have come.
async fn answer(mut wire: Wire, request: &str, limit: usize) -> Option<(u16, String)> {
    wire.write_all(request.as_bytes()).await.ok()?;
    let (mut raw, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    while raw.len() < limit {
        match wire.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => raw.extend_from_slice(&buffer[..count]),
        }
    }
    raw.truncate(limit);
    let text = String::from_utf8_lossy(&raw).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Some((status, if is_chunked { unchunked(body) } else { body.to_owned() }))
}

/// The chunks that are whole.
fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        let Some(chunk) = rest.get(..size) else { break };
        out.push_str(chunk);
        body = rest[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    out
}

type Members = HashMap<String, Box<RawValue>>;

/// `None`: it is not whole.
fn page(body: &str) -> Option<Page> {
    let lines: Vec<&str> = body.strip_suffix('\n')?.lines().collect();
    let (last, lines) = lines.split_last()?;
    let end: Members = serde_json::from_str(last).ok()?;
    let next = serde_json::from_str(end.get("next")?.get()).ok()?;
    // As one document, or a line for each record.
    let records: Vec<Box<RawValue>> = match end.get("records") {
        Some(records) => serde_json::from_str(records.get()).ok()?,
        None => lines.iter().map(|line| serde_json::from_str(line).ok()).collect::<Option<_>>()?,
    };
    let gaps: Vec<Box<RawValue>> = match end.get("gaps") {
        Some(gaps) => serde_json::from_str(gaps.get()).ok()?,
        None => Vec::new(),
    };
    let mut events: Vec<(usize, Event)> = Vec::new();
    for gap in gaps {
        let members: Members = serde_json::from_str(gap.get()).ok()?;
        let at = members.get("at")?.get().parse().ok()?;
        events.push((at, event("tailrace.gap", gap.get())));
    }
    events.extend(records.iter().map(|record| event("", record.get())).enumerate());
    // A gap stands before the record of its number, and the sort keeps that order.
    events.sort_by_key(|(at, _)| *at);
    let has_more = end.get("more").is_some_and(|more| more.get() == "true");
    Some(Page { events: events.into_iter().map(|(_, event)| event).collect(), next, has_more })
}

fn event(name: &str, data: &str) -> Event {
    Event { name: name.to_owned(), data: data.to_owned(), id: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_page_are_the_same_and_a_part_is_none() {
        let document = "{\"records\":[{\"a\":1},{\"a\":2}],\"gaps\":[{\"at\":1,\"to\":5}],\"more\":true,\"next\":\"N\"}\n";
        let lines = "{\"a\":1}\n{\"a\":2}\n{\"gaps\":[{\"at\":1,\"to\":5}],\"more\":true,\"next\":\"N\"}\n";
        for text in [document, lines] {
            let page = page(text).unwrap();
            let events: Vec<&str> = page.events.iter().map(|event| event.data.as_str()).collect();
            assert_eq!(events, ["{\"a\":1}", "{\"at\":1,\"to\":5}", "{\"a\":2}"]);
            assert_eq!((page.next.as_str(), page.has_more), ("N", true));
        }
        for part in ["", "{\"a\":1}\n", "{\"a\":1}", &document[..40], "{\"a\":1}\n{\"next\":\"N\"}"] {
            assert!(page(part).is_none(), "{part:?}");
        }
    }

    #[test]
    fn chunks_are_taken_apart_and_a_part_of_one_is_left_out() {
        assert_eq!(unchunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "abcde");
        assert_eq!(unchunked("3\r\nabc\r\n2\r\nd"), "abc");
    }
}
