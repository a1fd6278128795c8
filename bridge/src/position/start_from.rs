//! Where a stream starts: the parameter `from`.

use std::str::FromStr;
use std::time::Duration;

use crate::base::units::Span;
use crate::position::event_id::{EventId, is_sealed};

const ACCEPTED: &str = "accepted: latest, earliest, snapshot, -15m (also s, h, d), -100 (records), 2026-01-31T12:00:00Z, or an event id";

/// Where a stream starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// With the records that come from now on.
    #[default]
    Latest,
    /// With the first records that Kafka has.
    Earliest,
    /// With the newest record of each key, up to now.
    Snapshot,
    /// With the first records since so long ago.
    Ago(Duration),
    /// With the last so many matching records in all.
    Last(u32),
    /// With the first records since that time, in milliseconds since the Unix epoch, never negative.
    Time(i64),
    /// At the positions of the id.
    Id(EventId),
    /// At those of a sealed id, which is opened with the tenant's name.
    SealedId(String),
}

impl StartFrom {
    /// The most records that `from=-N` can request: the search for them holds their offsets in memory.
    pub const MAX_LAST: u32 = 100_000;
}

impl FromStr for StartFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<StartFrom, String> {
        let begins_with_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        match text {
            "latest" => return Ok(StartFrom::Latest),
            "earliest" => return Ok(StartFrom::Earliest),
            "snapshot" => return Ok(StartFrom::Snapshot),
            _ => {}
        }
        if let Some(back) = text.strip_prefix('-') {
            return parse_back(back).ok_or_else(|| {
                format!("{text:?} is neither a length of time nor a number of records; {ACCEPTED}")
            })?;
        }
        // An id begins with its version, in base64: for a hundred versions that is a capital letter.
        if begins_with_digit(text) {
            return parse_time(text).ok_or_else(|| match parse_back(text) {
                Some(Ok(_)) => format!("{text:?} wants a minus to lie in the past: -{text}; {ACCEPTED}"),
                _ => format!("{text:?} is not a time of RFC 3339: date, time of day and zone; {ACCEPTED}"),
            });
        }
        if !text.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Err(format!("{text:?} is not a place to begin at; {ACCEPTED}"));
        }
        if is_sealed(text) {
            return Ok(StartFrom::SealedId(text.to_owned()));
        }
        text.parse().map(StartFrom::Id).map_err(|why| format!("{why}; {ACCEPTED}"))
    }
}

fn parse_back(text: &str) -> Option<Result<StartFrom, String>> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let within = text.parse().ok().filter(|count| (1..=StartFrom::MAX_LAST).contains(count));
        let why = || format!("the last 1 to {} records can be asked for; {ACCEPTED}", StartFrom::MAX_LAST);
        return Some(within.map(StartFrom::Last).ok_or_else(why));
    }
    let ago = text.parse::<Span>().ok()?;
    Some(Ok(StartFrom::Ago(ago.get())))
}

/// RFC 3339. In a query string a `+` arrives as a space.
fn parse_time(text: &str) -> Option<StartFrom> {
    let parsed = text.parse::<jiff::Timestamp>().or_else(|why| match text.rsplit_once(' ') {
        Some((time, zone)) => format!("{time}+{zone}").parse(),
        None => Err(why),
    });
    // In Kafka's protocol, negative times have special meanings.
    parsed.ok().map(|time| StartFrom::Time(time.as_millisecond().max(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Vector;
    use proptest::prelude::*;

    fn from(text: &str) -> StartFrom {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(from("latest"), StartFrom::Latest);
        assert_eq!(from("earliest"), StartFrom::Earliest);
        assert_eq!(from("snapshot"), StartFrom::Snapshot);
        assert_eq!(from("-15m"), StartFrom::Ago(Duration::from_secs(900)));
        assert_eq!(from("-90s"), StartFrom::Ago(Duration::from_secs(90)));
        assert_eq!(from("-2h"), StartFrom::Ago(Duration::from_secs(7200)));
        assert_eq!(from("-1d"), StartFrom::Ago(Duration::from_secs(86_400)));
        assert_eq!(from("-100"), StartFrom::Last(100));
        let id = EventId { minutes: 29_000_000, vector: Vector::default() };
        assert_eq!(from(&id.to_string()), StartFrom::Id(id));
    }

    #[test]
    fn times_are_read_with_any_offset_and_with_a_plus_that_became_a_space() {
        let noon = StartFrom::Time(1_769_860_800_000);
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00.000Z",
            "2026-01-31T14:00:00+02:00",
            "2026-01-31T14:00:00 02:00",
            "2026-01-31T10:00:00-02:00",
        ] {
            assert_eq!(from(text), noon, "{text}");
        }
        assert_eq!(from("1950-01-01T00:00:00Z"), StartFrom::Time(0));
    }

    #[test]
    fn anything_else_is_refused_with_what_is_accepted() {
        for bad in [
            "",
            "now",
            "-",
            "-0",
            "-100001",
            "-15x",
            "--5",
            "-1.5h",
            "15m",
            "100",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-13-01T00:00:00Z",
            "AAAA",
            "+5",
        ] {
            assert!(bad.parse::<StartFrom>().unwrap_err().contains(ACCEPTED), "{bad}");
        }
        for (bad, says) in [
            ("15m", "-15m"),
            ("100", "-100"),
            ("yesterday", "not a place to begin at"),
            ("2026-01-31T12:00:00", "time of day and zone"),
            ("AQAAAAAAAAAAAAAA", "the id"),
        ] {
            let why = bad.parse::<StartFrom>().unwrap_err();
            assert!(why.contains(says), "{bad}: {why}");
        }
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in "[-0-9TZ:+ a-z]{0,30}|.{0,20}") {
            let _ = text.parse::<StartFrom>();
        }
    }
}
