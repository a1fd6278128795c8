//! Takes masked fields out of a JSON document. All other bytes stay as they are: numbers, escapes, spaces, the order of names.
//!
//! The document is read twice where it has masked fields: once to find them, as ranges of bytes, and once to copy the rest.
//! serde_json decides where each value ends, and whether all of it is JSON, so that no browser reads the text differently.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::record::masked_paths::{Action, Paths, Reached, action, next};
use crate::record::pseudonym::TenantKey;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as _, Deserializer as _};
use serde_json::Deserializer;
use serde_json::value::RawValue;

/// Stands for a redacted value.
const REDACTED: &[u8] = b"\"***\"";

/// A value after its topic's masks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Masked {
    /// It has no masked field.
    Same,
    /// With the masked fields taken out.
    Changed(Vec<u8>),
    /// It is not JSON: nobody knows where its fields are.
    Withheld,
}

/// A range of the document that is replaced.
#[derive(Debug)]
struct Edit {
    range: Range<usize>,
    /// `Remove`: by nothing.
    action: Action,
}

/// Takes the fields at these paths out of `value`. Without a key, fields to be hashed are redacted.
pub(crate) fn mask(value: &[u8], paths: &Paths, key: Option<&TenantKey>) -> Masked {
    let Ok(text) = std::str::from_utf8(value) else { return Masked::Withheld };
    let mut search = Search { whole: text, edits: Vec::new() };
    match search.whole_document(paths) {
        Err(_) => Masked::Withheld,
        Ok(()) if search.edits.is_empty() => Masked::Same,
        Ok(()) => Masked::Changed(edited(text, &search.edits, key)),
    }
}

fn edited(text: &str, edits: &[Edit], key: Option<&TenantKey>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 24 * edits.len());
    let mut at = 0;
    for Edit { range, action } in edits {
        out.extend_from_slice(&text.as_bytes()[at..range.start]);
        match (action, key) {
            (Action::Remove, _) => {}
            (Action::Hash, Some(key)) => put_hash(&mut out, &text[range.clone()], key),
            (Action::Redact, _) | (Action::Hash, None) => out.extend_from_slice(REDACTED),
        }
        at = range.end;
    }
    out.extend_from_slice(&text.as_bytes()[at..]);
    out
}

/// A string is hashed without its quotes and escapes, so that 17 and "17" are the same, as in filters; all else as it is
/// written.
fn put_hash(out: &mut Vec<u8>, raw: &str, key: &TenantKey) {
    out.push(b'"');
    match raw.starts_with('"').then(|| unquoted(raw)).flatten() {
        Some(text) => key.put_hash(out, text.as_bytes()),
        None => key.put_hash(out, raw.as_bytes()),
    }
    out.push(b'"');
}

/// The content of a string; `None` if it has an escape that is no character: half of a surrogate pair.
fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The search for masked fields. Edits are in the order of the document, and do not overlap.
struct Search<'d> {
    whole: &'d str,
    edits: Vec<Edit>,
}

impl<'d> Search<'d> {
    fn whole_document(&mut self, paths: &Paths) -> serde_json::Result<()> {
        self.within(self.whole, &[paths])
    }

    /// The text of a value that may have masked ones in it. Each step of a path is one more level of calls, and steps are few.
    fn within(&mut self, raw: &'d str, reached: &[&Paths]) -> serde_json::Result<()> {
        let mut json = Deserializer::from_str(raw);
        match raw.trim_ascii_start().as_bytes().first() {
            Some(b'{' | b'[') => json.deserialize_any(Within { search: self, reached })?,
            _ => drop(IgnoredAny::deserialize(&mut json)?),
        }
        json.end()
    }

    /// A value that these nodes lead to; `is_member`: it has a name before it.
    fn value(&mut self, raw: &'d str, reached: &[&Paths], is_member: bool) -> serde_json::Result<()> {
        // Both are parts of one text.
        let start = raw.as_ptr() as usize - self.whole.as_ptr() as usize;
        let range = start..start + raw.len();
        match action(reached) {
            Some(Action::Remove) if is_member => self.remove(name_before(self.whole, range.start)..range.end),
            Some(Action::Remove) => self.remove(range),
            Some(action) => self.edits.push(Edit { range, action }),
            None => self.within(raw, reached)?,
        }
        Ok(())
    }

    /// Removes a member or an element with one of the commas beside it: that after it, or else that before it and before those
    /// that were removed just before it.
    fn remove(&mut self, Range { mut start, mut end }: Range<usize>) {
        let bytes = self.whole.as_bytes();
        let after = past_space(bytes, end);
        if bytes.get(after) == Some(&b',') {
            end = past_space(bytes, after + 1);
        } else {
            let is_beside = |edit: &mut Edit| edit.action == Action::Remove && edit.range.end == start;
            if let Some(before) = self.edits.pop_if(is_beside) {
                start = before.range.start;
            }
            if let Some((b',', before)) = bytes[..start].trim_ascii_end().split_last() {
                start = before.len();
            }
        }
        match self.edits.last_mut() {
            Some(edit) if edit.action == Action::Remove && edit.range.end == start => edit.range.end = end,
            _ => self.edits.push(Edit { range: start..end, action: Action::Remove }),
        }
    }
}

fn past_space(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Where the name of the member begins whose value begins at `value`: the opening quote is the next one before the closing one
/// that no backslash makes a part of the name.
fn name_before(json: &str, value: usize) -> usize {
    let before = json.as_bytes()[..value].trim_ascii_end();
    let before = before.strip_suffix(b":").unwrap_or(before).trim_ascii_end();
    let mut name = before.strip_suffix(b"\"").unwrap_or(before);
    while let Some(quote) = name.iter().rposition(|byte| *byte == b'"') {
        let escapes = name[..quote].iter().rev().take_while(|byte| **byte == b'\\').count();
        if escapes % 2 == 0 {
            return quote;
        }
        name = &name[..quote];
    }
    0
}

/// The visitor of one object or array.
struct Within<'s, 'd, 'p> {
    search: &'s mut Search<'d>,
    reached: &'s [&'p Paths],
}

impl<'d> Visitor<'d> for Within<'_, 'd, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'d>>(self, mut map: A) -> Result<(), A::Error> {
        // Each member is looked at, so a name that is there twice is masked twice.
        while let Some(reached) = map.next_key_seed(Name { reached: self.reached })? {
            if reached.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                let value = map.next_value::<&RawValue>()?.get();
                self.search.value(value, &reached, true).map_err(A::Error::custom)?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut number = 0_usize;
        while let Some(value) = seq.next_element::<&RawValue>()? {
            let reached = next(self.reached, &number.to_string());
            if !reached.is_empty() {
                self.search.value(value.get(), &reached, false).map_err(A::Error::custom)?;
            }
            number += 1;
        }
        Ok(())
    }
}

/// The visitor of a name, without its escapes: it gives the nodes after it.
struct Name<'s, 'p> {
    reached: &'s [&'p Paths],
}

impl<'d, 'p> DeserializeSeed<'d> for Name<'_, 'p> {
    type Value = Reached<'p>;

    fn deserialize<D: serde::Deserializer<'d>>(self, json: D) -> Result<Reached<'p>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Name<'_, 'p> {
    type Value = Reached<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Reached<'p>, E> {
        Ok(next(self.reached, name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::record::mask::Masks;
    use crate::record::pseudonym::MaskKey;

    fn masked_with(masks: &str, json: &[u8]) -> Masked {
        let key = MaskKey::parse("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
        let mut masks: Masks = masks.parse().unwrap();
        masks.set_key(key);
        masks.mask("t", json, masks.key_of("acme").as_ref())
    }

    fn masked(masks: &str, json: &str) -> String {
        match masked_with(masks, json.as_bytes()) {
            Masked::Same => json.to_owned(),
            Masked::Changed(bytes) => String::from_utf8(bytes).unwrap(),
            Masked::Withheld => "withheld".to_owned(),
        }
    }

    #[test]
    fn a_redacted_field_is_replaced_whatever_it_was() {
        for value in
            ["\"a@b\"", "17", "-1.5e300", "true", "null", "[1,{\"a\":2}]", "{\"x\":{}}", "\"\\\"\"", "1e999"]
        {
            let json = format!("{{ \"a\" : {value} , \"b\":1}}");
            assert_eq!(masked("t=/a:redact", &json), "{ \"a\" : \"***\" , \"b\":1}");
        }
    }

    #[test]
    fn all_other_bytes_stay_as_they_are() {
        let json = "\t{\"n\":1.0e+2,\"big\":123456789012345678901234567890,\r\n\"s\":\"\\u00e9\\/\", \"a\":1, \"o\":{ \"z\":0,\"a\":[ ] } }\n";
        assert_eq!(masked("t=/a:redact", json), json.replace("\"a\":1", "\"a\":\"***\""));
        assert_eq!(masked("t=/none:redact", json), json);
    }

    #[test]
    fn a_removed_field_goes_with_one_comma() {
        for (mask, json, left) in [
            ("/a", r#"{"a":1}"#, "{}"),
            ("/a", r#"{ "a" : 1 }"#, "{  }"),
            ("/a", r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
            ("/a", r#"{"b":2,"a":1}"#, r#"{"b":2}"#),
            ("/a", r#"{"b":2, "a":1 ,"c":3}"#, r#"{"b":2, "c":3}"#),
            ("/a", r#"{"a":1,"a":2,"b":2,"a":3,"a":4}"#, r#"{"b":2}"#),
            ("/a", r#"{"a":1,"a":2}"#, "{}"),
            ("/1", "[1,2,3]", "[1,3]"),
            ("/0", "[1,2,3]", "[2,3]"),
            ("/2", "[1,2,3]", "[1,2]"),
            ("/*", "[1,2,3]", "[]"),
            ("/\"", r#"{"b":1,"\"":2}"#, r#"{"b":1}"#),
            ("/\"", r#"{"\u0022" : 2,"b":1}"#, r#"{"b":1}"#),
            ("/\\", r#"{"\\" :1,"\\\\":2}"#, r#"{"\\\\":2}"#),
            ("/x\\\"y", r#"{"b":1,"x\\\"y":2}"#, r#"{"b":1}"#),
            ("/a/*/b", r#"{"a":[{"b":1},{"c":2,"b":3}]}"#, r#"{"a":[{},{"c":2}]}"#),
        ] {
            assert_eq!(masked(&format!("t={mask}:remove"), json), left, "{mask} {json}");
        }
    }

    #[test]
    fn fields_side_by_side_and_within_each_other_are_masked_together() {
        let masks = "t=/a:redact,t=/b:remove,t=/c/d:redact,t=/c/e:remove,t=/c:hash";
        let json = r#"{"b":0,"a":1,"b":2,"c":{"d":3},"b":4}"#;
        let text = masked(masks, json);
        let shown: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(shown["a"], "***");
        assert_eq!(shown["c"].as_str().map(str::len), Some(22));
        assert!(shown.get("b").is_none(), "{text}");
        assert_eq!(
            masked("t=/c/d:redact,t=/c/e:remove", r#"{"c":{"d":3,"e":4,"f":5},"d":6}"#),
            r#"{"c":{"d":"***","f":5},"d":6}"#
        );
    }

    #[test]
    fn equal_values_have_equal_hashes_as_in_filters() {
        let hash = |value: &str| {
            let text = masked("t=/a:hash", &format!("{{\"a\":{value}}}"));
            serde_json::from_str::<Value>(&text).unwrap()["a"].as_str().unwrap().to_owned()
        };
        assert_eq!(hash("17"), hash("\"17\""));
        assert_eq!(hash("\"é\""), hash("\"\\u00e9\""));
        assert_ne!(hash("17"), hash("18"));
        assert_ne!(hash("\"\\ud800\""), hash("\"\\ud801\""));
    }

    #[test]
    fn without_a_key_nothing_is_hashed_and_nothing_is_shown() {
        let masks: Masks = "t=/a:hash".parse().unwrap();
        assert_eq!(masks.mask("t", b"{\"a\":1}", None), Masked::Changed(b"{\"a\":\"***\"}".to_vec()));
    }

    #[test]
    fn an_attack_by_an_escaped_name_is_masked() {
        for name in ["\\u0065mail", "em\\u0061il", "\\u0065\\u006d\\u0061\\u0069\\u006c"] {
            let text = masked("t=/email:redact", &format!("{{\"{name}\":\"x@y\"}}"));
            assert!(!text.contains("x@y") && text.contains(name), "{text}");
        }
        let text = masked("t=/a~1b:redact,t=/😀:redact", r#"{"a\/b":"x@y","\ud83d\ude00":"x@y"}"#);
        assert!(!text.contains("x@y"), "{text}");
    }

    #[test]
    fn an_attack_by_a_doubled_name_is_masked_each_time() {
        let json = r#"{"u":{"e":"x@y"},"u":{"e":"x@y","e":"x@y"},"u":"other"}"#;
        let text = masked("t=/u/e:redact", json);
        assert_eq!(text, r#"{"u":{"e":"***"},"u":{"e":"***","e":"***"},"u":"other"}"#);
    }

    #[test]
    fn an_attack_by_what_is_not_json_is_withheld() {
        for json in [
            "{\"e\":\"x@y\"",
            "{\"e\":\"x@y\"}}",
            "{\"e\":\"x@y\"} {}",
            "{'e':\"x@y\"}",
            "{e:\"x@y\"}",
            "{\"e\":\"x@y\",}",
            "{\"a\":01,\"e\":\"x@y\"}",
            "{\"a\":NaN,\"e\":\"x@y\"}",
            "{\"a\":\"\n\",\"e\":\"x@y\"}",
            "{\"a\":\"\\x\",\"e\":\"x@y\"}",
            "\u{feff}{\"e\":\"x@y\"}",
            "/* */{\"e\":\"x@y\"}",
            "{\"e\":\"x@y\"}\0",
            "e=x@y",
            "",
            " ",
        ] {
            assert_eq!(masked("t=/e:redact", json), "withheld", "{json}");
        }
        assert_eq!(masked_with("t=/e:redact", b"{\"e\":\"x@y\xff\"}"), Masked::Withheld);
        assert_eq!(masked_with("t=/e:redact", b"\0\0\0\0\x11\x02x@y"), Masked::Withheld);
        assert_eq!(masked_with("other=/e:redact", b"\xff"), Masked::Same);
    }

    #[test]
    fn an_attack_by_depth_or_size_takes_no_stack_and_is_masked() {
        let deep = format!("{{\"a\":{}{},\"e\":\"x@y\"}}", "[".repeat(200_000), "]".repeat(200_000));
        let text = masked("t=/e:redact,t=/a/0/0/0/b:redact", &deep);
        assert!(text.ends_with(",\"e\":\"***\"}"), "{}", text.len());
        let wide = format!("[{}{{\"e\":\"x@y\"}}]", "{\"e\":\"x@y\",\"f\":1},".repeat(20_000));
        assert!(!masked("t=/*/e:redact", &wide).contains("x@y"));
        let unclosed = "{\"a\":".repeat(100_000);
        assert_eq!(masked("t=/a/a/a:redact", &unclosed), "withheld");
    }

    fn some_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[abe*\"\\\\/é ]{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abe]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same by a tree of values.
    fn modelled(value: &mut Value, steps: &[&str], remove: bool) {
        let Some((first, rest)) = steps.split_first() else { return };
        match value {
            Value::Object(map) if rest.is_empty() && remove => {
                map.retain(|name, _| *first != "*" && name != first)
            }
            Value::Array(all) if rest.is_empty() && remove => {
                let mut number = 0;
                all.retain(|_| {
                    number += 1;
                    *first != "*" && *first != (number - 1).to_string()
                });
            }
            Value::Object(map) => {
                for (_, value) in map.iter_mut().filter(|(name, _)| *first == "*" || name.as_str() == *first)
                {
                    if rest.is_empty() { *value = json!("***") } else { modelled(value, rest, remove) }
                }
            }
            Value::Array(all) => {
                let numbered = all.iter_mut().enumerate();
                for (_, value) in numbered.filter(|(at, _)| *first == "*" || at.to_string() == *first) {
                    if rest.is_empty() { *value = json!("***") } else { modelled(value, rest, remove) }
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn masking_is_what_a_tree_of_values_gives(
            value in some_json(),
            steps in prop::collection::vec("[abe01*]", 1..4),
            remove: bool,
            pretty: bool,
        ) {
            let json = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let action = if remove { "remove" } else { "redact" };
            let text = masked(&format!("t=/{}:{action}", steps.join("/")), &json);
            let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
            let mut expected = value;
            modelled(&mut expected, &steps, remove);
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected, "{}", json);
        }

        #[test]
        fn any_bytes_are_masked_or_withheld(json in prop::collection::vec(any::<u8>(), 0..80)) {
            match masked_with("t=/a:remove,t=/*/0:redact,t=/b:hash", &json) {
                Masked::Withheld => prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_err() || std::str::from_utf8(&json).is_err()),
                Masked::Changed(bytes) => prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok()),
                Masked::Same => {}
            }
        }
    }
}
