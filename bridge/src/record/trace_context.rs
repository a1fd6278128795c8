//! The W3C trace context that a producer has put into a record's headers.

use crate::record::Headers;

/// The most members that a `tracestate` may have, and the most bytes of a key or of a value.
const MAX_MEMBERS: usize = 32;
const MAX_PART: usize = 256;

/// The context of a record whose headers follow the grammar of W3C Trace Context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext<'a> {
    /// The header `traceparent`, as it is written.
    pub traceparent: &'a str,
    /// The header `tracestate`, as it is written; `None` too where it is against the grammar.
    pub tracestate: Option<&'a str>,
}

impl<'a> TraceContext<'a> {
    /// The context in the headers; `None` if there is none, or `traceparent` is against the grammar. Of headers that are
    /// repeated, the last counts.
    pub fn of(headers: Headers<'a>) -> Option<TraceContext<'a>> {
        let text = |name| headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
        TraceContext::parse(text("traceparent")?, text("tracestate"))
    }

    /// The context that two headers give; `None` if `traceparent` is against the grammar.
    pub fn parse(traceparent: &'a str, tracestate: Option<&'a str>) -> Option<TraceContext<'a>> {
        let tracestate = tracestate.filter(|text| is_tracestate(text));
        is_traceparent(traceparent).then_some(TraceContext { traceparent, tracestate })
    }

    /// The trace; never 0.
    pub fn trace_id(&self) -> u128 {
        self.hex(1)
    }

    /// The span that wrote the record; never 0.
    pub fn parent_id(&self) -> u64 {
        self.hex(2) as u64
    }

    /// The flags of the trace.
    pub fn flags(&self) -> u8 {
        self.hex(3) as u8
    }

    /// Whether the trace is recorded where the record comes from.
    pub fn is_sampled(&self) -> bool {
        self.flags() & 1 == 1
    }

    fn hex(&self, part: usize) -> u128 {
        let digits = self.traceparent.split('-').nth(part).unwrap_or_default();
        u128::from_str_radix(digits, 16).unwrap_or_default()
    }
}

/// `version-trace_id-parent_id-flags`. Versions after 00 may have more behind it.
fn is_traceparent(text: &str) -> bool {
    let mut parts = text.splitn(5, '-');
    let mut hex = |digits: usize| parts.next().filter(|part| part.len() == digits && is_lower_hex(part));
    let (Some(version), Some(trace_id), Some(parent_id), Some(_)) = (hex(2), hex(32), hex(16), hex(2)) else {
        return false;
    };
    let has_more = parts.next().is_some();
    let is_version = version != "ff" && (version != "00" || !has_more);
    is_version && !is_zero(trace_id) && !is_zero(parent_id)
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'0')
}

/// A list of `key=value`; members may be empty, and no key comes twice.
fn is_tracestate(text: &str) -> bool {
    let mut keys = Vec::new();
    let mut members = 0;
    for member in text.split(',') {
        members += 1;
        let member = member.trim_matches([' ', '\t']);
        if members > MAX_MEMBERS {
            return false;
        }
        if member.is_empty() {
            continue;
        }
        match member.split_once('=') {
            Some((key, value)) if is_key(key) && is_value(value) && !keys.contains(&key) => keys.push(key),
            _ => return false,
        }
    }
    !keys.is_empty()
}

fn is_key(key: &str) -> bool {
    let is_letter_or_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_inner = |byte: u8| is_letter_or_digit(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@');
    key.len() <= MAX_PART && key.bytes().next().is_some_and(is_letter_or_digit) && key.bytes().all(is_inner)
}

/// Spaces at its end have been taken for those around the member.
fn is_value(value: &str) -> bool {
    let is_inner = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    !value.is_empty() && value.len() <= MAX_PART && value.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::written_headers;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn context(headers: &[(&str, &[u8])]) -> Option<(String, Option<String>)> {
        let list: Vec<_> = headers.iter().map(|(name, value)| (*name, Some(*value))).collect();
        let written = written_headers(&list);
        let context = TraceContext::of(Headers::written(&written))?;
        Some((context.traceparent.to_owned(), context.tracestate.map(str::to_owned)))
    }

    #[test]
    fn a_context_is_what_the_last_headers_say() {
        let old = PARENT.replace("00f0", "11f0");
        assert_eq!(
            context(&[
                ("traceparent", old.as_bytes()),
                ("traceparent", PARENT.as_bytes()),
                ("tracestate", b"a=1")
            ]),
            Some((PARENT.to_owned(), Some("a=1".to_owned())))
        );
        assert_eq!(context(&[("traceparent", PARENT.as_bytes()), ("traceparent", b"x")]), None);
        assert_eq!(context(&[("tracestate", b"a=1")]), None);
    }

    #[test]
    fn the_parts_of_a_parent_are_numbers() {
        let context = TraceContext::parse(PARENT, None).unwrap();
        assert_eq!(context.trace_id(), 0x4bf92f3577b34da6a3ce929d0e0e4736);
        assert_eq!(
            (context.parent_id(), context.flags(), context.is_sampled()),
            (0x00f067aa0ba902b7, 1, true)
        );
        let unsampled = PARENT.replace("-01", "-02");
        assert!(!TraceContext::parse(&unsampled, None).unwrap().is_sampled());
    }

    #[test]
    fn a_parent_against_the_grammar_is_none() {
        for good in [
            PARENT.to_owned(),
            PARENT.replacen("00", "cc", 1),
            format!("{}-more", PARENT.replacen("00", "cc", 1)),
        ] {
            assert!(is_traceparent(&good), "{good}");
        }
        for bad in [
            String::new(),
            "00".to_owned(),
            PARENT.to_uppercase(),
            PARENT.replacen("00", "ff", 1),
            format!("{PARENT}-more"),
            format!("{PARENT} "),
            format!(" {PARENT}"),
            PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            PARENT.replace("4bf9", "4bg9"),
            PARENT.replace("4bf9", "4bf"),
            PARENT.replace("4bf9", "4b\u{e9}"),
            PARENT.replace('-', "_"),
        ] {
            assert!(!is_traceparent(&bad), "{bad}");
        }
        assert_eq!(context(&[("traceparent", b"\xff")]), None);
    }

    #[test]
    fn a_state_against_the_grammar_is_left_out_alone() {
        let most: Vec<String> = (0..32).map(|n| format!("k{n}=v")).collect();
        let too_many: Vec<String> = (0..33).map(|n| format!("k{n}=v")).collect();
        for (state, is_kept) in [
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true),
            ("fw529a3039@dt=FfffffeC; x , 0a=b c,,z_-*/=~", true),
            (&most.join(","), true),
            (&too_many.join(","), false),
            ("", false),
            ("a", false),
            ("=a", false),
            ("a=", false),
            ("A=b", false),
            ("a=b=c", false),
            ("a=\u{e9}", false),
            ("a=1\n", false),
            ("a=1,a=2", false),
            (&format!("{}=1", "k".repeat(257)), false),
            (&format!("k={}", "v".repeat(257)), false),
        ] {
            let found = context(&[("traceparent", PARENT.as_bytes()), ("tracestate", state.as_bytes())]);
            let expected = is_kept.then(|| state.to_owned());
            assert_eq!(found, Some((PARENT.to_owned(), expected)), "{state}");
        }
    }
}
