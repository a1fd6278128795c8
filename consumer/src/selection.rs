//! Which topics are served: names, and patterns as librdkafka knows them.

use std::fmt;
use std::str::FromStr;

use regex::Regex;

/// Kafka's own bound on the length of a topic's name.
const MAX_NAME: usize = 249;
/// The most characters of a name or a pattern that a message repeats.
const MAX_REPEATED: usize = 100;
/// Topics that belong to Kafka itself, and those of frameworks, begin like this.
const INTERNAL: &str = "__";

/// The value of `TAILRACE_TOPICS`.
#[derive(Clone, Debug)]
pub struct TopicSelection {
    names: Vec<String>,
    patterns: Vec<Regex>,
    text: String,
}

impl TopicSelection {
    /// The topics that were given by their name, in their order, whether they exist or not.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the topics of the cluster must be listed to know which are meant.
    pub fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// The patterns that none of these topics matches.
    pub(crate) fn unmatched<'a>(&self, topics: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
        let matched = |pattern: &Regex| {
            topics.clone().any(|topic| !topic.starts_with(INTERNAL) && pattern.is_match(topic))
        };
        self.patterns.iter().filter(|pattern| !matched(pattern)).map(ToString::to_string).collect()
    }

    /// Whether a topic of that name is meant. A pattern never means an internal topic (`__…`); a name may.
    pub fn selects(&self, topic: &str) -> bool {
        self.names.iter().any(|name| name == topic)
            || (!topic.starts_with(INTERNAL) && self.patterns.iter().any(|pattern| pattern.is_match(topic)))
    }
}

impl fmt::Display for TopicSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that selects no topics; it says what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicSelectionError {
    /// There is neither a name nor a pattern in it.
    #[error("{ACCEPTED}")]
    Empty,
    /// A pattern is no regular expression.
    #[error("a regular expression after the leading ^ ({pattern}: {why})")]
    #[non_exhaustive]
    Pattern {
        /// The pattern, with its `^`.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// Kafka has no such names.
    #[error(
        "{0:?} cannot be a topic's name; accepted: up to {MAX_NAME} letters, digits, '.', '_' and '-'; commas between names; \
         a pattern begins with ^"
    )]
    Name(String),
}

impl FromStr for TopicSelection {
    type Err = TopicSelectionError;

    fn from_str(text: &str) -> Result<TopicSelection, TopicSelectionError> {
        let mut selection = TopicSelection { names: Vec::new(), patterns: Vec::new(), text: text.to_owned() };
        for item in split(text).into_iter().map(str::trim).filter(|item| !item.is_empty()) {
            if item.starts_with('^') {
                selection.patterns.push(pattern(item)?);
            } else {
                check_name(item)?;
                if !selection.names.iter().any(|name| name == item) {
                    selection.names.push(item.to_owned());
                }
            }
        }
        if selection.names.is_empty() && selection.patterns.is_empty() {
            return Err(TopicSelectionError::Empty);
        }
        Ok(selection)
    }
}

pub(crate) const ACCEPTED: &str =
    "names of topics, comma-separated; one with a leading ^ is a regular expression: orders,^metrics[.].*";

fn pattern(text: &str) -> Result<Regex, TopicSelectionError> {
    Regex::new(text).map_err(|error| {
        let why = last_line(&error.to_string()).to_owned();
        TopicSelectionError::Pattern { pattern: clipped(text), why: clipped(&why) }
    })
}

fn check_name(name: &str) -> Result<(), TopicSelectionError> {
    let legal = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !legal || name.len() > MAX_NAME || name == "." || name == ".." {
        return Err(TopicSelectionError::Name(clipped(name)));
    }
    Ok(())
}

/// Splits at commas, but not at those inside of a pattern's brackets: `^a{1,2},b`.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0usize, 0, Vec::new());
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                items.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items
}

/// As much of a text as a message repeats.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(MAX_REPEATED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn selection(text: &str) -> TopicSelection {
        text.parse().expect("parses")
    }

    #[test]
    fn names_and_patterns_stand_side_by_side() {
        let topics = selection("orders, ^metrics[.](a|b){1,2}$ ,orders,logs");
        assert_eq!(topics.names(), ["orders", "logs"]);
        assert!(topics.selects("metrics.ab") && topics.selects("logs"));
        assert!(!topics.selects("metrics.abc") && !topics.selects("order"));
    }

    #[test]
    fn a_pattern_is_searched_from_the_start_and_open_at_the_end_as_in_librdkafka() {
        assert!(selection("^ord").selects("orders"));
        assert!(!selection("^rd").selects("orders"));
    }

    #[test]
    fn a_pattern_never_means_an_internal_topic_but_a_name_may() {
        assert!(!selection("^.*").selects("__consumer_offsets"));
        assert!(selection("__consumer_offsets").selects("__consumer_offsets"));
    }

    #[test]
    fn attack_a_pattern_that_backtracks_or_is_long_takes_no_time() {
        let begin = Instant::now();
        let (name, long) = (format!("{}!", "a".repeat(248)), format!("^(x|{})", "a".repeat(1 << 14)));
        for nested in
            ["^(a+)+$", "^(a|a)*$", "^(a*)*b", "^((a?){200}a{200})$", "^(.*a){50}$", "^(([a-z])+.)+[A-Z]$"]
        {
            assert!(!selection(nested).selects(&name), "{nested}");
        }
        assert!(selection(&long).selects("x") && !selection(&long).selects(&name));
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }

    #[test]
    fn attack_a_pattern_that_would_take_all_memory_or_stack_is_refused_with_its_reason() {
        let begin = Instant::now();
        let counted = format!("^{}a{}", "(".repeat(10), "{1000})".repeat(10));
        for (bad, why) in [
            (counted, "limit"),
            (format!("^{}", "(".repeat(1 << 20)), "unclosed group"),
            (format!("^{}a{}", "(".repeat(1 << 16), ")".repeat(1 << 16)), "nest"),
            (format!("^{}", "a{9}".repeat(1 << 18)), "limit"),
            ("^\\p{Greek}{1000}{1000}".to_owned(), "limit"),
            ("^(?=a)".to_owned(), "look-around"),
            ("^(a)\\1".to_owned(), "backreferences"),
            ("^[z-a]".to_owned(), "range"),
            ("^a{2,1}".to_owned(), "repetition"),
            (format!("^(x|{})", "a".repeat(1 << 20)), "limit"),
        ] {
            let told = bad.parse::<TopicSelection>().unwrap_err().to_string();
            assert!(told.contains(why) && !told.contains('\n'), "{bad:.40}: {told:.300}");
            assert!(told.len() < 500, "{bad:.40}: {}", told.len());
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }

    #[test]
    fn what_cannot_be_a_topic_is_refused() {
        for bad in ["", " , ", "a b", "orders,ü", "..", "^(", &"x".repeat(250)] {
            assert!(bad.parse::<TopicSelection>().is_err(), "{bad}");
        }
    }
}
