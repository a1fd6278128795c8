//! The setting that names where CloudEvents come from.

use std::fmt;
use std::str::FromStr;

/// Bytes of a source: it is repeated with every record.
const MAX_SOURCE: usize = 256;
const ACCEPTED: &str = "accepted: a URI or a reference (RFC 3986) of at most 256 characters, such as \
                        https://example.com/kafka/eu or urn:example:kafka";

/// The value of `TAILRACE_CLOUDEVENTS_SOURCE`: the attribute `source` of records that are no CloudEvents already. The ids in it
/// (topic, partition, offset) are unique if it stands for one Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEventsSource(Box<str>);

impl CloudEventsSource {
    /// The default.
    pub const DEFAULT: &str = "/tailrace";

    /// The reference as text. It needs no escapes in JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for CloudEventsSource {
    fn default() -> CloudEventsSource {
        CloudEventsSource(Self::DEFAULT.into())
    }
}

impl fmt::Display for CloudEventsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CloudEventsSource {
    type Err = String;

    fn from_str(text: &str) -> Result<CloudEventsSource, String> {
        if text.is_empty() {
            return Err(format!("it is empty; {ACCEPTED}"));
        }
        if text.len() > MAX_SOURCE {
            return Err(format!("it has {} bytes; {ACCEPTED}", text.len()));
        }
        match text.char_indices().find(|(at, c)| !is_of_reference(text, *at, *c)) {
            Some((_, wrong)) => Err(format!("{wrong:?} cannot stand there as it is; {ACCEPTED}")),
            None if text.matches('#').count() > 1 => Err(format!("it has two fragments; {ACCEPTED}")),
            None => Ok(CloudEventsSource(text.into())),
        }
    }
}

/// Whether the character, which stands at `at`, is one that RFC 3986 has.
fn is_of_reference(text: &str, at: usize, c: char) -> bool {
    match c {
        '%' => text.as_bytes().get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        _ => c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=".contains(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_taken_as_it_is_written() {
        for good in
            [CloudEventsSource::DEFAULT, "https://example.com/kafka/eu?x=1#y", "urn:example:kafka", "a%20b"]
        {
            assert_eq!(
                good.parse::<CloudEventsSource>().map(|source| source.to_string()),
                Ok(good.to_owned())
            );
        }
        assert_eq!(CloudEventsSource::default().as_str(), CloudEventsSource::DEFAULT);
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_character() {
        let long = "a".repeat(257);
        for (bad, why) in [
            ("", "empty"),
            ("a b", "' '"),
            ("a\"", "'\"'"),
            ("caf\u{e9}", "'\u{e9}'"),
            ("50%", "'%'"),
            ("a%2", "'%'"),
            ("#a#b", "two fragments"),
            (&long, "257 bytes"),
        ] {
            let error = bad.parse::<CloudEventsSource>().unwrap_err();
            assert!(error.contains(why) && error.contains("accepted: a URI"), "{bad}: {error}");
        }
    }
}
