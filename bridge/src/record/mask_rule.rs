//! The setting: `TOPIC=/json/pointer:redact|remove|hash`, comma-separated.

use std::collections::HashMap;
use std::str::FromStr;

use crate::record::mask::Masks;
use crate::record::masked_paths::{Action, Paths};

/// Limits of the setting: each masked document is searched for all paths.
const MAX_MASKS: usize = 200;
const MAX_STEPS: usize = 32;
/// Stands for the masks of every topic.
const EVERY: &str = "*";
const ACCEPTED: &str = "accepted: TOPIC=/json/pointer:redact, :remove or :hash, comma-separated, with * for every topic and, in \
                        the pointer, for every name or element; a comma in a name is written \\,";

impl FromStr for Masks {
    type Err = String;

    fn from_str(text: &str) -> Result<Masks, String> {
        let mut own: HashMap<String, Paths> = HashMap::new();
        let mut hashes = false;
        for (index, item) in items(text).iter().enumerate() {
            let at_fault = |why: String| format!("mask {} ({item:?}) {why}; {ACCEPTED}", index + 1);
            if index == MAX_MASKS {
                return Err(at_fault(format!("is one too many: at most {MAX_MASKS} are taken")));
            }
            let (topic, steps, action) = parse(item).map_err(at_fault)?;
            if own.entry(topic.to_owned()).or_default().add(&steps, action).is_some() {
                return Err(at_fault("masks a field that has a mask already".to_owned()));
            }
            hashes |= action == Action::Hash;
        }
        let everywhere = own.remove(EVERY).unwrap_or_default();
        Ok(Masks::new(own, everywhere, hashes))
    }
}

/// The parts between commas; a comma after a backslash belongs to a name.
fn items(text: &str) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let mut items = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let last = items.last_mut().expect("there is always one");
        match c {
            '\\' if chars.next_if_eq(&',').is_some() => last.push(','),
            ',' => items.push(String::new()),
            c => last.push(c),
        }
    }
    items.iter().map(|item| item.trim().to_owned()).collect()
}

fn parse(item: &str) -> Result<(&str, Vec<String>, Action), String> {
    let (topic, mask) = item.split_once('=').ok_or("names no topic before a =")?;
    if topic != EVERY && (topic.is_empty() || !topic.chars().all(is_of_topic)) {
        return Err(format!("has {topic:?}, which cannot be a topic's name"));
    }
    let (pointer, action) = mask.rsplit_once(':').ok_or("has no action after the pointer")?;
    let action = match action {
        "redact" => Action::Redact,
        "remove" => Action::Remove,
        "hash" => Action::Hash,
        other => return Err(format!("has {other:?}, which is no action")),
    };
    Ok((topic, steps(pointer)?, action))
}

fn is_of_topic(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

/// The steps of a pointer (RFC 6901).
pub(crate) fn steps(pointer: &str) -> Result<Vec<String>, String> {
    let rest = pointer
        .strip_prefix('/')
        .ok_or_else(|| format!("has the pointer {pointer:?}, which does not begin with a slash"))?;
    let steps: Vec<&str> = rest.split('/').collect();
    if steps.len() > MAX_STEPS {
        return Err(format!("has a pointer of more than {MAX_STEPS} steps"));
    }
    if let Some(wrong) = steps.iter().find(|step| has_bad_escape(step)) {
        return Err(format!("has {wrong:?} in its pointer: a tilde is written ~0, a slash ~1"));
    }
    Ok(steps.iter().map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

fn has_bad_escape(step: &str) -> bool {
    step.split('~').skip(1).any(|after| !after.starts_with(['0', '1']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(text: &str) -> Masks {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn masks_of_a_topic_and_of_every_topic_are_read() {
        let all =
            masks(r"orders=/user/email:hash, orders=/user/a\,b:redact,*=/ssn:remove,logs-2=/a~1b/~0:redact");
        assert!(all.hashes() && !all.is_empty());
        let mut topics: Vec<&str> = all.topics().collect();
        topics.sort_unstable();
        assert_eq!(topics, ["logs-2", "orders"]);
        assert!(all.touches_in("orders", &["user", "email"]) && all.touches_in("orders", &["user", "a,b"]));
        assert!(all.touches_in("orders", &["ssn"]) && all.touches_in("anything", &["ssn"]));
        assert!(!all.touches_in("anything", &["user", "email"]) && all.touches_in("logs-2", &["a/b", "~"]));
        assert!(all.touches("/user/email/x") && all.touches("/ssn") && !all.touches("/user/name"));
    }

    #[test]
    fn no_masks_are_no_masks() {
        assert!(masks("").is_empty() && masks("  ").is_empty() && !masks("").hashes());
    }

    #[test]
    fn a_bad_mask_is_named_with_its_place_and_what_is_accepted() {
        for (bad, why) in [
            ("orders", "mask 1 (\"orders\") names no topic"),
            ("orders=/a:redact,", "mask 2 (\"\") names no topic"),
            ("orders=/a:redact,/b:redact", "mask 2 (\"/b:redact\") names no topic"),
            ("=/a:redact", "cannot be a topic's name"),
            ("^ord.*=/a:redact", "cannot be a topic's name"),
            ("orders=/a", "no action after the pointer"),
            ("orders=/a:", "\"\", which is no action"),
            ("orders=/a:delete", "\"delete\", which is no action"),
            ("orders=:redact", "does not begin with a slash"),
            ("orders=a:redact", "does not begin with a slash"),
            ("orders=/a~2:redact", "a tilde is written ~0"),
            ("orders=/a~:redact", "a tilde is written ~0"),
            (
                "orders=/a:redact,orders=/a:hash",
                "mask 2 (\"orders=/a:hash\") masks a field that has a mask already",
            ),
            (&format!("orders={}:hash", "/a".repeat(33)), "more than 32 steps"),
        ] {
            let said = bad.parse::<Masks>().unwrap_err();
            assert!(said.contains(why) && said.contains("accepted: TOPIC="), "{bad}: {said}");
        }
        let many: Vec<String> = (0..201).map(|n| format!("t=/f{n}:hash")).collect();
        assert!(many.join(",").parse::<Masks>().unwrap_err().contains("mask 201"));
    }
}
