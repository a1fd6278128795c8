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

impl FromStr for Framing {
    type Err = String;

    fn from_str(text: &str) -> Result<Framing, String> {
        match text {
            "sse" => Ok(Framing::Sse),
            "ndjson" => Ok(Framing::Ndjson),
            "json" => Ok(Framing::WebSocket),
            _ => Err(format!("{text:?} is not a format; accepted: sse, ndjson, json")),
        }
    }
}

/// The value of `format=`.
impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Framing::Sse => "sse",
            Framing::Ndjson => "ndjson",
            Framing::WebSocket => "json",
        })
    }
}
