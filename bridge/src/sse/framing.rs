//! How what a stream says is cut into pieces for the client.

use std::fmt;
use std::str::FromStr;

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Blocks of an event stream (HTML, section 9.2).
    #[default]
    Sse,
    /// JSON objects, one a line.
    Ndjson,
    /// The same objects, each as a text message of a WebSocket (RFC 6455).
    WebSocket,
}

/// What names the event of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EventName {
    /// The type of the record, where it has one.
    #[default]
    Type,
    /// Nothing: an EventSource gets all records as `message`. The type is within the record envelope.
    None,
}

impl EventName {
    /// All of them.
    pub const ALL: [EventName; 2] = [EventName::Type, EventName::None];

    /// The value of `event=`.
    pub fn as_str(self) -> &'static str {
        match self {
            EventName::Type => "type",
            EventName::None => "none",
        }
    }
}

impl FromStr for EventName {
    type Err = String;

    fn from_str(text: &str) -> Result<EventName, String> {
        EventName::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
            format!(
                "{text:?} is nothing to name events by; accepted: type, none (a record's type is asked for by type=)"
            )
        })
    }
}

impl Framing {
    /// All of them.
    pub const ALL: [Framing; 3] = [Framing::Sse, Framing::Ndjson, Framing::WebSocket];

    /// The value of `format=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Framing::Sse => "sse",
            Framing::Ndjson => "ndjson",
            Framing::WebSocket => "json",
        }
    }
}

impl FromStr for Framing {
    type Err = String;

    fn from_str(text: &str) -> Result<Framing, String> {
        let framing = Framing::ALL.into_iter().find(|framing| framing.as_str() == text);
        framing.ok_or_else(|| format!("{text:?} is not a format; accepted: sse, ndjson, json"))
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
