//! What must hold for any input: run by the fuzz targets, and over the corpus by a plain test.

use tailrace_bridge::{EventId, Filter};

/// No text makes reading an id panic, and whatever can be read is written the same.
pub(crate) fn event_id(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(id) = text.parse::<EventId>() {
        assert_eq!(id.to_string(), text);
    }
}

/// No text makes reading a filter panic; one that is refused is refused at a place in it. The first line is a type, the
/// second a key, all others are conditions.
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
        }
        Err(error) if error.index < wheres.len() => {
            let longest = wheres[error.index].chars().count() + 1;
            assert!((1..=longest).contains(&error.column), "{error}");
        }
        Err(_) => {}
    }
}
