//! The ways in which a client may read one stream, and change at each connection: an event stream over HTTP/1.1 or HTTP/2, JSON
//! lines, or a WebSocket.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::sse::Event;

/// How a connection is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    #[default]
    Sse,
    Lines,
    WebSocket,
    /// An event stream over HTTP/2.
    Http2,
}

impl Way {
    pub const ALL: [Way; 4] = [Way::Sse, Way::Lines, Way::WebSocket, Way::Http2];

    /// The request's target, of the one of an event stream.
    pub(crate) fn target(self, path: &str) -> String {
        match self {
            Way::Sse | Way::Lines | Way::Http2 => path.to_owned(),
            Way::WebSocket => path.replacen("/events", "/ws", 1),
        }
    }

    /// The headers that ask for it.
    pub(crate) fn headers(self) -> &'static str {
        match self {
            Way::Sse | Way::Http2 => "Accept: text/event-stream\r\n",
            Way::Lines => "Accept: application/x-ndjson\r\n",
            Way::WebSocket => {
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
        }
    }
}

/// What one object says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    event: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
}

/// A `null` that is there is a value.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(value).map(Some)
}

/// What is read of a stream of objects: the last id and the delay before a reconnect, besides the events.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u64>,
    pub(crate) events: Vec<Event>,
}

/// Takes JSON lines, or the messages of a WebSocket, out of bytes that come in any parts.
#[derive(Debug)]
pub(crate) struct Objects {
    way: Way,
    pending: Vec<u8>,
    /// Whether a WebSocket was closed as the protocol has it.
    pub(crate) is_closed: bool,
}

impl Objects {
    pub(crate) fn new(way: Way) -> Objects {
        Objects { way, pending: Vec::new(), is_closed: false }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Said {
        self.pending.extend_from_slice(bytes);
        let (mut said, mut taken) = (Said::default(), 0);
        while let Some((size, text)) = self.next(&self.pending[taken..]) {
            taken += size;
            match text {
                Next::Object(text) => said.take(text),
                Next::Nothing => {}
                Next::Close => self.is_closed = true,
            }
        }
        self.pending.drain(..taken);
        said
    }

    /// The size of what comes next, and its text; `None`: it has not come whole.
    fn next<'a>(&self, bytes: &'a [u8]) -> Option<(usize, Next<'a>)> {
        match self.way {
            Way::WebSocket => message(bytes),
            Way::Lines | Way::Sse | Way::Http2 => line(bytes),
        }
    }
}

enum Next<'a> {
    Object(&'a [u8]),
    /// A heartbeat.
    Nothing,
    Close,
}

fn line(bytes: &[u8]) -> Option<(usize, Next<'_>)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((end + 1, if end == 0 { Next::Nothing } else { Next::Object(&bytes[..end]) }))
}

/// RFC 6455, section 5.2.
fn message(bytes: &[u8]) -> Option<(usize, Next<'_>)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert!(second < 0x80, "a frame of a server is masked");
    let (header, size) = match second {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        size => (2, usize::from(size)),
    };
    let data = bytes.get(header..header + size)?;
    let next = match first {
        0x81 => Next::Object(data),
        0x88 => Next::Close,
        0x89 | 0x8a => Next::Nothing,
        other => panic!("a frame begins with {other:#x}"),
    };
    Some((header + size, next))
}

impl Said {
    fn take(&mut self, text: &[u8]) {
        let object: Object = serde_json::from_slice(text)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(text)));
        self.retry = object.retry.or(self.retry);
        if object.id.is_some() {
            self.id = object.id;
        }
        let Some(data) = object.data else { return };
        // Text is a string; a JSON value stands as it was written.
        let data = serde_json::from_str(data.get()).unwrap_or_else(|_| data.get().to_owned());
        let id = self.id.clone().unwrap_or_default();
        self.events.push(Event { name: object.event.unwrap_or_default(), data, id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(said: &Said) -> Vec<(&str, &str, &str)> {
        said.events.iter().map(|event| (&*event.name, &*event.data, &*event.id)).collect()
    }

    #[test]
    fn objects_come_out_of_any_parts_and_half_of_one_is_none() {
        let lines = b"{\"id\":\"A\",\"retry\":5}\n\n{\"event\":\"e\",\"id\":\"B\",\"data\":{\"n\": 1}}\n{\"id\":\"C\",\"data\":\"x\"}\n{\"id\":\"N\",\"data\":null}\n{\"id\":\"D\"".to_vec();
        let mut framed = Vec::new();
        for line in lines.split(|byte| *byte == b'\n') {
            let is_whole = line.last() == Some(&b'}');
            let frame = match line.len() {
                0 => vec![0x89, 0],
                size => [&[0x81, if is_whole { size as u8 } else { 100 }], line].concat(),
            };
            framed.extend(frame);
        }
        for (way, bytes) in [(Way::Lines, lines), (Way::WebSocket, framed)] {
            for part in [1, 3, bytes.len()] {
                let (mut objects, mut all) = (Objects::new(way), Said::default());
                for bytes in bytes.chunks(part) {
                    let said = objects.feed(bytes);
                    all.id = said.id.or(all.id);
                    all.retry = said.retry.or(all.retry);
                    all.events.extend(said.events);
                }
                assert_eq!(
                    names(&all),
                    [("e", "{\"n\": 1}", "B"), ("", "x", "C"), ("", "null", "N")],
                    "{way:?}"
                );
                assert_eq!((all.id.as_deref(), all.retry), (Some("N"), Some(5)));
            }
        }
    }
}
