//! Single values out of JSON text, without reading the rest of it.

use std::borrow::Cow;

use sonic_rs::PointerNode;

/// How deeply documents may nest to be searched, as in serde_json. The search takes stack for each level; without optimisation
/// that is so much (50 KiB) that a thread's 2 MiB are soon used up.
const MAX_DEPTH: u32 = if cfg!(debug_assertions) { 24 } else { 128 };

/// The path to a value in a document. A number is an index in arrays, and a name in objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    steps: Vec<PointerNode>,
    /// Whether a step is a number: its meaning then depends on the document, so each step is taken by itself.
    has_number: bool,
}

/// The value at a pointer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found<'a> {
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// A number or a boolean, as it is written.
    Literal(Cow<'a, str>),
    Null,
    /// An object or an array.
    Nested,
}

impl Pointer {
    /// A pointer as RFC 6901 writes it: empty, or `/step/step`, with `~1` for a slash and `~0` for a tilde.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Pointer, String> {
        if text.is_empty() {
            return Ok(Pointer::of_steps(std::iter::empty::<String>()));
        }
        let Some(steps) = text.strip_prefix('/') else {
            return Err(format!("the pointer {text:?} does not begin with a slash"));
        };
        Ok(Pointer::of_steps(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"))))
    }

    pub(crate) fn of_steps(steps: impl Iterator<Item = impl AsRef<str>>) -> Pointer {
        let steps: Vec<PointerNode> = steps.map(|step| PointerNode::from(step.as_ref())).collect();
        let has_number = steps.iter().any(|step| index_of(step).is_some());
        Pointer { steps, has_number }
    }

    /// The names and numbers that the path consists of.
    pub(crate) fn steps(&self) -> Vec<&str> {
        fn name(step: &PointerNode) -> &str {
            match step {
                PointerNode::Key(name) => name.as_str(),
                PointerNode::Index(_) => unreachable!("numbers are kept as text"),
            }
        }
        self.steps.iter().map(name).collect()
    }

    /// Whether it leads to the whole document.
    pub(crate) fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    /// The value in `json`; `None` if it is missing, or the text is not JSON as far as it was read, or the text nests deeper
    /// than [`MAX_DEPTH`]. Never panics.
    pub(crate) fn find<'a>(&self, json: &'a [u8]) -> Option<Found<'a>> {
        let raw = self.part(json)?;
        match raw.as_bytes().first()? {
            b'"' => Some(Found::Text(unescape(raw)?)),
            b'{' | b'[' => Some(Found::Nested),
            b'n' => Some(Found::Null),
            _ => Some(Found::Literal(Cow::Borrowed(raw))),
        }
    }

    /// The text of the value in `json`, within the bounds of a search.
    ///
    /// Where the text is not JSON behind the value, that need not be noticed.
    pub fn part<'a>(&self, json: &'a [u8]) -> Option<&'a str> {
        if !is_shallow(json) {
            return None;
        }
        let raw = if self.has_number { self.step_by_step(json)? } else { get(json, &self.steps)? };
        Some(raw.trim_ascii())
    }

    fn step_by_step<'a>(&self, json: &'a [u8]) -> Option<&'a str> {
        let mut raw = std::str::from_utf8(json).ok()?;
        for step in &self.steps {
            let in_array = raw.trim_ascii_start().starts_with('[');
            let step = match index_of(step) {
                Some(index) if in_array => PointerNode::Index(index),
                _ => step.clone(),
            };
            raw = get(raw.as_bytes(), std::slice::from_ref(&step))?;
        }
        Some(raw)
    }
}

/// Whether no part of the text nests deeper than [`MAX_DEPTH`], and brackets match as far as they are checked.
pub(crate) fn is_shallow(json: &[u8]) -> bool {
    // Nearly all documents have fewer brackets than that in all, and counting them costs next to nothing.
    let openers = json.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    openers <= MAX_DEPTH as usize || nesting_is_bounded(json)
}

fn nesting_is_bounded(json: &[u8]) -> bool {
    // One bit for each open bracket: 1 for an array's.
    let (mut open, mut depth) = (0u128, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => while_in_string(&mut bytes),
            b'{' | b'[' if depth == MAX_DEPTH => return false,
            b'{' | b'[' => {
                open = open << 1 | u128::from(*byte == b'[');
                depth += 1;
            }
            b'}' | b']' => {
                if depth == 0 || (open & 1 == 1) != (*byte == b']') {
                    return false;
                }
                open >>= 1;
                depth -= 1;
            }
            _ => {}
        }
    }
    true
}

/// Moves past the end of a string.
fn while_in_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

fn get<'a>(json: &'a [u8], steps: &[PointerNode]) -> Option<&'a str> {
    match sonic_rs::get_from_slice(json, steps).ok()?.as_raw_cow() {
        Cow::Borrowed(raw) => Some(raw),
        // A value of a slice is always a part of the slice.
        Cow::Owned(_) => None,
    }
}

fn index_of(step: &PointerNode) -> Option<usize> {
    match step {
        PointerNode::Key(key) if key == "0" || !key.starts_with('0') => {
            key.bytes().all(|byte| byte.is_ascii_digit()).then(|| key.parse().ok()).flatten()
        }
        _ => None,
    }
}

fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Whether the bytes are one whole JSON document. As the standard says, control characters within strings are refused.
pub(crate) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_at(pointer: &str, json: &str) -> Option<String> {
        match Pointer::parse(pointer).unwrap().find(json.as_bytes())? {
            Found::Text(text) | Found::Literal(text) => Some(text.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_pointer_leads_to_strings_numbers_and_booleans() {
        let json = r#" { "a" : { "b/c" : "x\n\u00e9" , "~" : 17 }, "l":[{"k":true},[5 ]], "7": "seven", "n":null } "#;
        assert_eq!(text_at("/a/b~1c", json).as_deref(), Some("x\né"));
        assert_eq!(text_at("/a/~0", json).as_deref(), Some("17"));
        assert_eq!(text_at("/l/0/k", json).as_deref(), Some("true"));
        assert_eq!(text_at("/l/1/0", json).as_deref(), Some("5"));
        assert_eq!(text_at("/7", json).as_deref(), Some("seven"));
        assert_eq!(text_at("/l/2", json), None);
        assert_eq!(text_at("/l/00", json), None);
        assert_eq!(text_at("/a/x", json), None);
        assert_eq!(text_at("/a/~0/deeper", json), None);
        assert_eq!(text_at("", "17"), Some("17".into()));
        assert_eq!(Pointer::parse("/n").unwrap().find(json.as_bytes()), Some(Found::Null));
        assert_eq!(Pointer::parse("/l").unwrap().find(json.as_bytes()), Some(Found::Nested));
        assert!(Pointer::parse("a").is_err());
    }

    #[test]
    fn deep_nesting_is_no_attack() {
        let deep = "[".repeat(1_000_000);
        assert!(!is_json(deep.as_bytes()));
        for json in [
            deep.clone(),
            format!("{{\"b\":{deep}"),
            "{\"a\":".repeat(1_000_000),
            "{]\"a\":".repeat(100_000),
            "[}".repeat(100_000),
            format!("{}{}", deep, "]".repeat(1_000_000)),
        ] {
            for pointer in ["", "/a", "/0/0/0/a", "/a/a/b"] {
                assert_eq!(text_at(pointer, &json), None);
            }
        }
    }

    #[test]
    fn documents_that_are_wide_and_not_deep_are_looked_into() {
        let wide =
            format!("{{\"l\":[{}{{}}],\"s\":\"{}\\\"\",\"a\":5}}", "[{}],".repeat(1000), "[".repeat(1000));
        assert!(is_json(wide.as_bytes()));
        assert_eq!(text_at("/a", &wide).as_deref(), Some("5"));
        let level =
            |depth: usize| format!("{{\"b\":{}{},\"a\":5}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        let most = MAX_DEPTH as usize;
        assert_eq!(text_at("/a", &level(most)).as_deref(), Some("5"));
        assert_eq!(text_at("/a", &level(most + 1)), None);
    }

    proptest! {
        #[test]
        fn bytes_that_are_not_json_never_panic(json in proptest::collection::vec(any::<u8>(), 0..100), step in "[a0]{0,2}") {
            for pointer in ["", "/a", "/0", &format!("/{step}/0")] {
                let _ = Pointer::parse(pointer).unwrap().find(&json);
            }
        }

        #[test]
        fn damaged_json_never_panics(at in 0usize..40, byte: u8, cut in 0usize..40) {
            let mut json = br#"{"a":{"b":"x\u00e9y"},"0":[1,{"a":null}]}"#.to_vec();
            json[at] = byte;
            json.truncate(cut.max(1));
            for pointer in ["", "/a/b", "/0/1/a", "/z"] {
                let _ = Pointer::parse(pointer).unwrap().find(&json);
            }
        }
    }
}
