//! The SSE event type of a record: determined once, when the record comes in.

use std::borrow::Cow;
use std::str::FromStr;

use crate::record::RawRecord;
use crate::record::json::{Found, Pointer};

/// Bytes of an event type: it is repeated with every record.
const MAX_EVENT_TYPE: usize = 256;
const ACCEPTED_TYPES: &str = "accepted: none, header:NAME, json:/pointer, topic, fixed:NAME";

/// The value of `TAILRACE_EVENT_TYPE_FROM`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventTypeRule(TypeRule);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum TypeRule {
    #[default]
    None,
    Header(String),
    Json(Pointer),
    Topic,
    Fixed(String),
}

impl EventTypeRule {
    /// Why a type that was found is not used.
    pub const REASONS: [&str; 4] = ["reserved", "line_end", "not_utf8", "too_long"];

    /// The SSE event type of a record; `None` if the rule finds nothing, or would have to look into a value that cannot be decoded.
    ///
    /// # Errors
    /// Why the type that it finds is not used: one of [`EventTypeRule::REASONS`].
    pub fn event_type_of(&self, topic: &str, record: &RawRecord<'_>) -> Result<Option<String>, &'static str> {
        let found = match &self.0 {
            TypeRule::None => None,
            TypeRule::Header(name) => match record.headers.get(name).map(std::str::from_utf8) {
                Some(Err(_)) => return Err("not_utf8"),
                found => found.and_then(Result::ok).map(Cow::Borrowed),
            },
            TypeRule::Json(_) if record.flaw.is_some_and(|flaw| flaw.half.is_value()) => None,
            TypeRule::Json(pointer) => match record.value.and_then(|value| pointer.find(value)) {
                Some(Found::Text(text) | Found::Literal(text)) => Some(text),
                _ => None,
            },
            TypeRule::Topic => Some(Cow::Borrowed(topic)),
            TypeRule::Fixed(name) => return Ok(Some(name.clone())),
        };
        match found.filter(|found| !found.is_empty()) {
            Some(found) => check_event_type(&found).map(|()| Some(found.into_owned())),
            None => Ok(None),
        }
    }
}

/// Whether the name has a meaning already: to SSE, or as a control event.
pub(crate) fn is_reserved(event_type: &str) -> bool {
    event_type.starts_with("tailrace.") || matches!(event_type, "message" | "open" | "error")
}

/// Checks an event type before it is sent: it has one line, and is not a name that has a meaning already.
fn check_event_type(text: &str) -> Result<(), &'static str> {
    if text.contains(['\r', '\n']) {
        return Err("line_end");
    }
    if is_reserved(text) {
        return Err("reserved");
    }
    if text.len() > MAX_EVENT_TYPE { Err("too_long") } else { Ok(()) }
}

impl FromStr for EventTypeRule {
    type Err = String;

    fn from_str(text: &str) -> Result<EventTypeRule, String> {
        let (kind, argument) = text.split_once(':').unwrap_or((text, ""));
        let rule = match (kind, argument) {
            ("none", "") => TypeRule::None,
            ("topic", "") => TypeRule::Topic,
            ("header", name) if !name.is_empty() => TypeRule::Header(name.to_owned()),
            ("json", pointer) if !pointer.is_empty() => {
                TypeRule::Json(Pointer::parse(pointer).map_err(|why| format!("{why}; {ACCEPTED_TYPES}"))?)
            }
            ("fixed", name) if !name.is_empty() => match check_event_type(name) {
                Ok(()) => TypeRule::Fixed(name.to_owned()),
                Err(why) => {
                    return Err(format!("the event type {name:?} cannot be used: {why}; {ACCEPTED_TYPES}"));
                }
            },
            _ => return Err(format!("{text:?} is not a rule; {ACCEPTED_TYPES}")),
        };
        Ok(EventTypeRule(rule))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::record::form::{Flaw, FlawCode, Half};
    use crate::record::{Headers, written_headers};

    static RECORD: LazyLock<RawRecord<'static>> = LazyLock::new(|| RawRecord {
        key: Some(b"acme:17"),
        value: Some(br#"{"org":{"id":"umbrella","n":17,"b":true,"z":null},"e":"created"}"#),
        headers: headers(&[("tenant", Some(b"first")), ("trace", None), ("tenant", Some(b"globex"))]),
        flaw: None,
    });

    fn headers(list: &[(&str, Option<&[u8]>)]) -> Headers<'static> {
        Headers::written(Vec::leak(written_headers(list)))
    }

    fn typed(rule: &str, record: &RawRecord<'_>) -> Result<Option<String>, &'static str> {
        rule.parse::<EventTypeRule>().unwrap().event_type_of("orders", record)
    }

    #[test]
    fn every_rule_finds_its_event_type() {
        assert_eq!(typed("none", &RECORD), Ok(None));
        assert_eq!(typed("topic", &RECORD), Ok(Some("orders".into())));
        assert_eq!(typed("fixed:tick", &RECORD), Ok(Some("tick".into())));
        assert_eq!(typed("header:tenant", &RECORD), Ok(Some("globex".into())));
        assert_eq!(typed("header:trace", &RECORD), Ok(None));
        assert_eq!(typed("json:/e", &RECORD), Ok(Some("created".into())));
        assert_eq!(typed("json:/x", &RECORD), Ok(None));
    }

    #[test]
    fn no_rule_looks_into_a_value_that_cannot_be_decoded() {
        let flaw = |half| RawRecord { flaw: Some(Flaw { half, code: FlawCode::Mismatch }), ..*RECORD };
        assert_eq!(typed("json:/e", &flaw(Half::Value)), Ok(None));
        assert_eq!(typed("json:/e", &flaw(Half::Both)), Ok(None));
        assert_eq!(typed("json:/e", &flaw(Half::Key)), Ok(Some("created".into())));
        assert_eq!(typed("header:tenant", &flaw(Half::Value)), Ok(Some("globex".into())));
    }

    #[test]
    fn event_types_that_would_break_or_fake_something_are_refused() {
        let long = "x".repeat(257);
        for (text, why) in [
            (&b"a\nb"[..], "line_end"),
            (b"a\rb", "line_end"),
            (b"tailrace.gap", "reserved"),
            (b"message", "reserved"),
            (b"open", "reserved"),
            (b"error", "reserved"),
            (b"\xff", "not_utf8"),
            (long.as_bytes(), "too_long"),
        ] {
            let record = RawRecord { headers: headers(&[("type", Some(text))]), ..*RECORD };
            assert_eq!(typed("header:type", &record), Err(why));
        }
    }

    #[test]
    fn bad_event_type_rules_are_refused_with_what_is_accepted() {
        for bad in
            ["", "header:", "json:x", "topic:x", "fixed:", "fixed:tailrace.gap", "fixed:message", "key"]
        {
            let why = bad.parse::<EventTypeRule>().unwrap_err();
            assert!(why.contains(ACCEPTED_TYPES), "{bad}: {why}");
        }
    }
}
