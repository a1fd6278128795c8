//! A page as JSON: one document, or a line for each record and a last line for the rest.

use bytes::Bytes;
use tailrace_bridge::Envelope;

use super::objects::{Object, events};

/// Control events of a stream that say nothing about records.
const NOT_OF_RECORDS: [&str; 2] = ["tailrace.synced", "tailrace.status"];
/// The begin of a page that is one document.
const BEGIN: &str = "{\"records\":[";

/// A page that is being written.
#[derive(Debug)]
pub(super) struct PageText {
    as_lines: bool,
    envelope: Envelope,
    /// What was not taken yet.
    out: Vec<u8>,
    /// Bytes of records, gaps and the like that were written.
    size: usize,
    records: usize,
    /// Gaps, each an object as text.
    gaps: Vec<String>,
    /// Records that have no bare value, each an object as text.
    enveloped: Vec<String>,
}

impl PageText {
    pub(super) fn new(as_lines: bool, envelope: Envelope) -> PageText {
        let out = if as_lines { Vec::new() } else { BEGIN.into() };
        PageText { as_lines, envelope, out, size: 0, records: 0, gaps: Vec::new(), enveloped: Vec::new() }
    }

    /// Bytes of records, gaps and the like that were written; zero: the page is empty.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// How many records it has.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    pub(super) fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// The memory that it takes.
    pub(super) fn memory(&self) -> usize {
        let of_texts = |texts: &[String]| texts.iter().map(String::capacity).sum::<usize>();
        self.out.capacity() + of_texts(&self.gaps) + of_texts(&self.enveloped)
    }

    /// What is written and was not taken.
    pub(super) fn written(&self) -> &[u8] {
        &self.out
    }

    /// All that it has but its end, of a page that was not taken from and has no gaps.
    pub(super) fn content(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&*self.out).chain(self.enveloped.iter().map(String::as_bytes))
    }

    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }

    /// Adds what these lines of a stream have for a page.
    pub(super) fn add(&mut self, lines: &[u8]) {
        for object in events(lines) {
            match object.event.as_deref() {
                Some(event) if NOT_OF_RECORDS.contains(&event) => {}
                Some("tailrace.gap") => {
                    let gap = with_first("at", &self.records.to_string(), object.data());
                    self.size += gap.len();
                    self.gaps.push(gap);
                }
                _ => self.add_record(&object),
            }
        }
    }

    fn add_record(&mut self, object: &Object<'_>) {
        if self.records > 0 && !self.as_lines {
            self.out.push(b',');
        }
        let before = self.out.len();
        match self.envelope {
            Envelope::None => self.add_bare(object),
            // An event has its type among its own attributes; what cannot be decoded is no event.
            Envelope::CloudEvents if object.event.as_deref() != Some("tailrace.undecodable") => {
                self.out.extend_from_slice(object.data().as_bytes())
            }
            Envelope::Record | Envelope::CloudEvents => match &object.event {
                Some(event) => {
                    self.out.extend_from_slice(with_first("type", &quoted(event), object.data()).as_bytes());
                }
                None => self.out.extend_from_slice(object.data().as_bytes()),
            },
        }
        self.size += self.out.len() - before;
        if self.as_lines {
            self.out.push(b'\n');
        }
        self.records += 1;
    }

    /// The value, as a stream of lines has it. What has no bare value there has none here.
    fn add_bare(&mut self, object: &Object<'_>) {
        let data = object.data();
        if let Some(event) = object.event.as_deref().filter(|event| event.starts_with("tailrace.")) {
            self.out.extend_from_slice(b"null");
            let at = self.records;
            let enveloped = format!("{{\"at\":{at},\"event\":{},\"data\":{data}}}", quoted(event));
            self.size += enveloped.len();
            self.enveloped.push(enveloped);
        } else {
            self.out.extend_from_slice(data.as_bytes());
        }
    }

    /// Ends the page. `next`: the id where it ends; `more`: whether it ends before the records do, as far as is known.
    pub(super) fn end(&mut self, next: &str, more: bool) {
        let mut end = if self.as_lines { "{" } else { "]," }.to_owned();
        for (name, list) in [("gaps", &mut self.gaps), ("enveloped", &mut self.enveloped)] {
            if !list.is_empty() {
                end.push_str(&format!("\"{name}\":[{}],", std::mem::take(list).join(",")));
            }
        }
        if more {
            end.push_str("\"more\":true,");
        }
        end.push_str(&format!("\"next\":{}}}\n", quoted(next)));
        // Exactly, since nothing follows: a page may wait for a slow client.
        self.out.reserve_exact(end.len());
        self.out.extend_from_slice(end.as_bytes());
    }
}

/// An object, which has members, with one more before them.
fn with_first(name: &str, value: &str, object: &str) -> String {
    let members = object.strip_prefix('{').unwrap_or(object);
    format!("{{\"{name}\":{value},{members}")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FRAMES: &str = r#"{"event":"tailrace.gap","id":"A","data":{"code":"retention","from":1,"to":3}}
{"event":"pa\"id","id":"B","data":{"offset":3,"value":1}}
{"id":"C","data":{"offset":4,"value":2}}
{"event":"tailrace.synced","data":{"replayed":2}}
"#;
    const BARE: &str = r#"{"id":"A","data":{"a": 1}}
{"id":"B","data":"no \"JSON\"\nat all"}
{"event":"tailrace.tombstone","id":"C","data":{"offset":5,"value":null}}
{"id":"D","data":""}
{"id":"E","data":null}
{"id":"F","data":"17"}
"#;

    fn page(as_lines: bool, envelope: Envelope, frames: &str, more: bool) -> String {
        let mut page = PageText::new(as_lines, envelope);
        page.add(frames.as_bytes());
        page.end("NEXT", more);
        String::from_utf8(page.take().to_vec()).unwrap()
    }

    #[test]
    fn an_empty_page_has_its_records_and_its_end_and_nothing_else() {
        assert_eq!(page(false, Envelope::Record, "", false), "{\"records\":[],\"next\":\"NEXT\"}\n");
        assert_eq!(page(true, Envelope::Record, "\n{\"id\":\"A\"}\n", false), "{\"next\":\"NEXT\"}\n");
    }

    #[test]
    fn records_have_their_type_and_gaps_their_place() {
        let text = page(false, Envelope::Record, FRAMES, true);
        let expected = json!({
            "records": [{"type": "pa\"id", "offset": 3, "value": 1}, {"offset": 4, "value": 2}],
            "gaps": [{"at": 0, "code": "retention", "from": 1, "to": 3}],
            "more": true,
            "next": "NEXT",
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn a_page_of_cloudevents_is_a_list_of_events_with_nothing_added() {
        let frames = r#"{"event":"paid","id":"A","data":{"id":"orders/0/3","type":"own"}}
{"id":"B","data":{"id":"orders/0/4","type":"tailrace.record"}}
"#;
        let events =
            r#"{"id":"orders/0/3","type":"own"},{"id":"orders/0/4","type":"tailrace.record"}"#.to_owned();
        assert_eq!(
            page(false, Envelope::CloudEvents, frames, false),
            format!("{{\"records\":[{events}],\"next\":\"NEXT\"}}\n")
        );
        assert_eq!(
            page(true, Envelope::CloudEvents, frames, false),
            format!("{}\n{{\"next\":\"NEXT\"}}\n", events.replace("},{", "}\n{"))
        );
    }

    #[test]
    fn each_line_but_the_last_is_a_record() {
        let text = page(true, Envelope::Record, FRAMES, false);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0], json!({"type": "pa\"id", "offset": 3, "value": 1}));
        assert_eq!(lines[1], json!({"offset": 4, "value": 2}));
        let gaps = json!([{"at": 0, "code": "retention", "from": 1, "to": 3}]);
        assert_eq!(lines[2..], [json!({"gaps": gaps, "next": "NEXT"})]);
    }

    #[test]
    fn bare_values_are_json_or_text_and_what_has_none_stands_beside_them() {
        let enveloped =
            json!([{"at": 2, "event": "tailrace.tombstone", "data": {"offset": 5, "value": null}}]);
        let values = json!([{"a": 1}, "no \"JSON\"\nat all", null, "", null, "17"]);
        let text = page(false, Envelope::None, BARE, false);
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({"records": values, "enveloped": enveloped, "next": "NEXT"})
        );
        let text = page(true, Envelope::None, BARE, false);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(json!(lines[..6]), values);
        assert_eq!(lines[6], json!({"enveloped": enveloped, "next": "NEXT"}));
    }

    #[test]
    fn what_stands_beside_the_records_is_part_of_the_content() {
        let content = |data: &str| {
            let mut page = PageText::new(false, Envelope::None);
            page.add(format!("{{\"event\":\"tailrace.masked\",\"id\":\"A\",\"data\":{data}}}\n").as_bytes());
            page.content().collect::<Vec<_>>().concat()
        };
        assert_ne!(content("{\"key\":1}"), content("{\"key\":2}"));
    }

    #[test]
    fn a_page_that_has_only_a_gap_is_not_empty() {
        let mut page = PageText::new(false, Envelope::Record);
        page.add(b"{\"event\":\"tailrace.gap\",\"id\":\"A\",\"data\":{\"code\":\"unknown_id\"}}\n");
        assert!(page.size() > 0 && page.has_gaps() && page.records() == 0);
    }
}
