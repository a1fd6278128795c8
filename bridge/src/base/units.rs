//! Values with units, as they are written in settings.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const SPANS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];
const ACCEPTED_SPANS: &str = "accepted: a whole number and ms, s, m, h or d, such as 500ms, 15s, 10m, 2h, 1d";
const ACCEPTED_SIZES: &str =
    "accepted: a whole number of bytes, or with KiB, MiB, GiB, kB, MB, GB, such as 64MiB, 1GiB, 10MB";
const ACCEPTED_RATES: &str = "accepted: a number a second, a minute or an hour, such as 100, 100/s, 6000/m, \
     1MiB/s; 0 is no limit";

/// A length of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// A span of that length, to the millisecond.
    pub fn new(duration: Duration) -> Span {
        Span(Duration::from_millis(duration.as_millis().try_into().unwrap_or(u64::MAX)))
    }

    /// The length.
    pub fn get(&self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let no_span = || format!("{text:?} is not a length of time; {ACCEPTED_SPANS}");
        if text == "0" {
            return Ok(Span::default());
        }
        let (number, unit) = split_number(text).ok_or_else(no_span)?;
        let (_, millis) = SPANS.iter().find(|(name, _)| *name == unit).ok_or_else(no_span)?;
        number.checked_mul(*millis).map(|millis| Span(Duration::from_millis(millis))).ok_or_else(no_span)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis() as u64;
        let fits = |(_, unit): &&(&str, u64)| millis > 0 && millis.is_multiple_of(*unit);
        let (name, unit) = SPANS.iter().find(fits).unwrap_or(&("ms", 1));
        write!(f, "{}{name}", millis / unit)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    pub fn new(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// The number of bytes.
    pub fn get(&self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<ByteSize, String> {
        let no_size = || format!("{text:?} is not a size; {ACCEPTED_SIZES}");
        let (number, unit) = split_number(text).ok_or_else(no_size)?;
        let bytes = match unit {
            "" => 1,
            unit => SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(no_size)?.1,
        };
        number.checked_mul(bytes).map(ByteSize).ok_or_else(no_size)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit): &&(&str, u64)| *unit > 1 && self.0 > 0 && self.0.is_multiple_of(*unit);
        match SIZES.iter().find(fits) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// An amount of events or bytes per time. Zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    amount: u64,
    /// The time in seconds for the amount; zero only in `Default`, where nothing is limited.
    seconds: u32,
}

impl Rate {
    /// How many a second; 0: no limit.
    pub fn per_second(&self) -> f64 {
        self.amount as f64 / f64::from(self.seconds.max(1))
    }

    /// Whether there is no limit.
    pub fn is_none(&self) -> bool {
        self.amount == 0
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let no_rate = || format!("{text:?} is not a rate; {ACCEPTED_RATES}");
        let (amount, time) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match time {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(no_rate()),
        };
        let amount = amount.parse::<ByteSize>().map_err(|_| no_rate())?.get();
        Ok(Rate { amount, seconds })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = match self.seconds {
            3600 => "h",
            60 => "m",
            _ => "s",
        };
        match self.amount {
            0 => f.write_str("0"),
            amount => write!(f, "{amount}/{time}"),
        }
    }
}

/// The leading digits, and the text after them.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_read_with_their_units() {
        for (text, millis) in [
            ("0ms", 0),
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("15s", 15_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().get(), Duration::from_millis(millis), "{text}");
        }
        for bad in [
            "",
            "15",
            "s",
            "-1s",
            "1.5s",
            "15 s",
            "15S",
            "1w",
            "99999999999999999999s",
            "999999999999999d",
            "٣s",
        ] {
            assert!(bad.parse::<Span>().unwrap_err().contains(ACCEPTED_SPANS), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("512B", 512),
            ("256KiB", 256 << 10),
            ("64MiB", 64 << 20),
            ("1GiB", 1 << 30),
            ("10MB", 10_000_000),
            ("5kB", 5_000),
            ("64mib", 64 << 20),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().get(), bytes, "{text}");
        }
        for bad in ["", "MiB", "1.5GiB", "-1", "64M", "64 MiB", "99999999TiB"] {
            assert!(bad.parse::<ByteSize>().unwrap_err().contains(ACCEPTED_SIZES), "{bad}");
        }
    }

    #[test]
    fn rates_are_read_by_the_second() {
        for (text, per_second) in [
            ("0", 0.0),
            ("100", 100.0),
            ("100/s", 100.0),
            ("6000/m", 100.0),
            ("90/h", 0.025),
            ("1MiB/s", 1048576.0),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap().per_second(), per_second, "{text}");
        }
        for bad in ["", "/s", "100/", "100/d", "-1/s", "1.5", "100/s/s", "inf"] {
            assert!(bad.parse::<Rate>().unwrap_err().contains(ACCEPTED_RATES), "{bad}");
        }
        assert!(Rate::default().is_none() && "0/m".parse::<Rate>().unwrap().is_none());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(number in prop_oneof![any::<u32>().prop_map(u64::from), 0..5000u64], unit in 0usize..9) {
            let size = ByteSize(number * SIZES[unit].1.min(1 << 30));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
            let span = Span(Duration::from_millis(number * SPANS[unit % 5].1));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            let rate = Rate { amount: number, seconds: [1, 60, 3600][unit % 3] };
            prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap().per_second(), rate.per_second());
        }
    }
}
