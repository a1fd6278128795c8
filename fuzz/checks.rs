//! What must hold for any input: run by the fuzz targets, and over the corpus by a plain test.

use std::borrow::Cow;
use std::sync::LazyLock;

use tailrace_bridge::{EventId, Filter, Form, Headers, IdKeys, MaskKey, Masks, RecordRef, put_header};

/// A key that no input has.
const KEY: &str = "5d1f0e7ac3b29846e0f1a7d2c4b3968578695a4b3c2d1e0f00112233aabbccdd";

static KEYS: LazyLock<IdKeys> = LazyLock::new(|| IdKeys::parse(KEY).expect("a key"));

/// No text makes reading an id panic, and whatever can be read is written the same.
pub(crate) fn event_id(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(id) = text.parse::<EventId>() {
        assert_eq!(id.to_string(), text);
    }
}

/// No text makes reading a filter panic; one that is refused is refused at a place in it. The first line is a type, the
/// second a key, all others are conditions. Records match alternatives if they match one of them, and `field?` or `!field?` at most.
pub(crate) fn filter(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n').map(str::to_owned);
    let types: Vec<String> = lines.next().into_iter().collect();
    let keys: Vec<String> = lines.next().into_iter().collect();
    let wheres: Vec<String> = lines.collect();
    match Filter::parse(&types, &keys, &wheres) {
        Ok(filter) => {
            let backwards: Vec<String> = wheres.iter().rev().cloned().collect();
            assert_eq!(Filter::parse(&types, &keys, &backwards), Ok(filter));
            wheres.iter().for_each(|text| not_both_there_and_lacking(text));
            alternatives_are_one_of_them(&wheres);
        }
        Err(error) if error.index < wheres.len() => {
            let longest = wheres[error.index].chars().count() + 1;
            assert!((1..=longest).contains(&error.column), "{error}");
        }
        Err(_) => {}
    }
}

/// Values of records: JSON, text, bytes, and none.
const VALUES: [Option<&[u8]>; 6] = [
    Some(br#"{"user":17,"total":9007199254740993,"a":{"b":"x|y","list":[1,{"c":null}]},"s":"(a)"}"#),
    Some(br#"{"total":-0,"a":"1e2","x":null}"#),
    Some(b"\"17\""),
    Some(b"plain text"),
    Some(b"{\"a\":1"),
    None,
];

/// Which of the records match.
fn matches(wheres: &[String]) -> Option<Vec<bool>> {
    let filter = Filter::parse(&[], &[], wheres).ok()?;
    let mut headers = Vec::new();
    put_header(&mut headers, "region", Some(b"eu"));
    put_header(&mut headers, "bytes", Some(b"\xff"));
    let of = |value| RecordRef {
        offset: 0,
        epoch: 0,
        timestamp: 0,
        key: Some(b"user-17"),
        value,
        event_type: value.map(|_| "created"),
        headers: Headers::written(&headers),
        form: Form::default(),
    };
    Some(VALUES.iter().map(|value| filter.matches(&of(*value))).collect())
}

fn not_both_there_and_lacking(text: &str) {
    let Some(field) = text.strip_suffix('?').filter(|field| !field.starts_with(['!', '('])) else { return };
    let (there, lacking) = (matches(&[text.to_owned()]), matches(&[format!("!{field}?")]));
    let (Some(there), Some(lacking)) = (there, lacking) else { return };
    assert!(there.iter().zip(&lacking).all(|(there, lacking)| !(*there && *lacking)), "{text}");
}

/// What is in brackets is also read one by one.
fn alternatives_are_one_of_them(wheres: &[String]) {
    let is_plain = |text: &&String| !text.contains(['|', '(', ')', '\\']);
    let plain: Vec<String> = wheres.iter().filter(is_plain).take(32).cloned().collect();
    let Some(together) = matches(&[format!("({})", plain.join("|"))]) else { return };
    let alone: Vec<Vec<bool>> = plain.iter().filter_map(|text| matches(std::slice::from_ref(text))).collect();
    assert_eq!(alone.len(), plain.len(), "{plain:?}");
    for (at, one_of_them) in together.into_iter().enumerate() {
        assert_eq!(one_of_them, alone.iter().any(|matches| matches[at]), "{plain:?}");
    }
}

/// No text is an id of a key that its author has not; no content of an opened id makes reading it panic; and an id that was
/// sealed and changed is none.
pub(crate) fn sealed_id(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        assert!(EventId::read(text, "acme", Some(&KEYS)).is_err(), "forged: {text}");
        let _ = IdKeys::parse(text);
    }
    let (offset, change) = input.split_at(input.len().min(8));
    let offset = offset.iter().fold(0, |offset, byte| offset << 7 | u64::from(byte & 0x7f));
    let text = sealed(offset);
    let id = EventId::read(&text, "acme", Some(&KEYS)).expect("it was sealed for this tenant");
    assert_eq!(id.vector.parts[0].positions[0].offset, offset);
    let mut bytes = text.into_bytes();
    for (at, byte) in change.iter().enumerate().take(bytes.len()) {
        bytes[at] ^= byte & 0x7f;
    }
    let changed = String::from_utf8(bytes).expect("ASCII stays ASCII");
    if changed != sealed(offset) {
        assert!(EventId::read(&changed, "acme", Some(&KEYS)).is_err(), "changed: {changed}");
    }
}

fn sealed(offset: u64) -> String {
    use tailrace_bridge::{Fingerprint, Part, Position, Vector};
    let fingerprint = Fingerprint { name: [1, 2, 3], id: [4, 5, 6] };
    let part = Part { fingerprint, positions: vec![Position { offset, epoch: 0 }] };
    let mut text = String::new();
    EventId::encode(&mut text, 29_000_000, &Vector { parts: vec![part] }, KEYS.seal("acme"));
    text
}

/// The first line are masks of the topic `t`, the rest a value. What is shown is JSON like the value, but for a value that has no
/// masked field; masking it again changes nothing where fields are redacted or removed; and what is no JSON is not shown.
pub(crate) fn mask(input: &[u8]) {
    let split = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (setting, value) = (&input[..split], input.get(split + 1..).unwrap_or_default());
    let Some(mut masks) = std::str::from_utf8(setting).ok().and_then(|text| text.parse::<Masks>().ok())
    else {
        return;
    };
    let has_hash = masks.hashes();
    masks.set_key(MaskKey::parse(KEY).expect("a key"));
    let is_json = |json: &[u8]| {
        serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok() && std::str::from_utf8(json).is_ok()
    };
    match masks.shown("t", "acme", value) {
        None => assert!(!is_json(value) || has_lone_surrogate(value), "withheld: {value:?}"),
        Some(Cow::Borrowed(same)) => assert_eq!(same, value),
        Some(Cow::Owned(shown)) => {
            assert!(is_json(&shown), "{shown:?}");
            if !has_hash && !removes_elements(setting) {
                assert_eq!(masks.shown("t", "acme", &shown).as_deref(), Some(&shown[..]));
            }
        }
    }
}

/// Names with half of a surrogate pair are no text.
fn has_lone_surrogate(json: &[u8]) -> bool {
    json.windows(2).any(|two| two.eq_ignore_ascii_case(b"\\u"))
}

/// Elements move up when one is removed, and the next one is then at the masked place.
fn removes_elements(setting: &[u8]) -> bool {
    setting.windows(7).any(|word| word == b":remove") && setting.iter().any(u8::is_ascii_digit)
}
