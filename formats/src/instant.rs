//! Points in time as text: RFC 3339 in UTC.

use crate::json::put_int;

/// Seconds since 1970 of the year 1.
const FIRST: i64 = -62_135_596_800;
/// Seconds since 1970 of the end of the year 9999.
const LAST: i64 = 253_402_300_799;

/// Appends `2026-07-01T10:20:30.5Z`, without quotes, the fraction as of [`put_fraction`]. False, and nothing, if the time is of no
/// year from 1 to 9999 or there are more nanoseconds than in a second.
pub(crate) fn put_instant(out: &mut Vec<u8>, seconds: i64, nanos: u32) -> bool {
    if !(FIRST..=LAST).contains(&seconds) || nanos >= 1_000_000_000 {
        return false;
    }
    let (year, month, day) = date(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    put_digits(out, year, 4);
    for (before, number) in [(b'-', month), (b'-', day), (b'T', of_day / 3600)] {
        out.push(before);
        put_digits(out, number, 2);
    }
    for number in [of_day / 60 % 60, of_day % 60] {
        out.push(b':');
        put_digits(out, number, 2);
    }
    put_fraction(out, nanos);
    out.push(b'Z');
    true
}

/// Appends a fraction of a second: nothing, `.5` as `.500`, or 6 or 9 digits, as many as are needed.
pub(crate) fn put_fraction(out: &mut Vec<u8>, nanos: u32) {
    let nanos = i64::from(nanos);
    let (number, digits) = match nanos {
        0 => return,
        _ if nanos % 1_000_000 == 0 => (nanos / 1_000_000, 3),
        _ if nanos % 1_000 == 0 => (nanos / 1_000, 6),
        _ => (nanos, 9),
    };
    out.push(b'.');
    put_digits(out, number, digits);
}

/// Appends a number of at least so many digits, with zeros before it.
fn put_digits(out: &mut Vec<u8>, number: i64, digits: u32) {
    (1..digits).rev().take_while(|place| number < 10_i64.pow(*place)).for_each(|_| out.push(b'0'));
    put_int(out, number);
}

/// Year, month and day of a day since 1970, in the proleptic Gregorian calendar: by years that begin in March, so that a leap day is
/// a year's last, and by eras of 400 years, which all have the same days. For days of 62 bits at most.
pub(crate) fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(seconds: i64, nanos: u32) -> Option<String> {
        let mut out = Vec::new();
        put_instant(&mut out, seconds, nanos).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn instants_are_of_the_gregorian_calendar() {
        let all = [
            (0, 0, "1970-01-01T00:00:00Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (-2_203_891_200, 1_000, "1900-03-01T00:00:00.000001Z"),
            (1_709_210_096, 500_000_000, "2024-02-29T12:34:56.500Z"),
            (FIRST, 0, "0001-01-01T00:00:00Z"),
            (LAST, 10, "9999-12-31T23:59:59.000000010Z"),
        ];
        for (seconds, nanos, text) in all {
            assert_eq!(instant(seconds, nanos).as_deref(), Some(text));
        }
    }

    #[test]
    fn every_day_comes_after_the_one_before() {
        let days = || FIRST / 86_400..=LAST / 86_400;
        let mut before = date(FIRST / 86_400 - 1);
        for day in days() {
            let today = date(day);
            assert!(
                today > before && (1..=12).contains(&today.1) && (1..=31).contains(&today.2),
                "{today:?}"
            );
            before = today;
        }
        assert_eq!((date(FIRST / 86_400), before), ((1, 1, 1), (9999, 12, 31)));
    }

    #[test]
    fn what_is_out_of_range_is_none() {
        for (seconds, nanos) in
            [(FIRST - 1, 0), (LAST + 1, 0), (0, 1_000_000_000), (i64::MIN, 0), (i64::MAX, 0)]
        {
            assert_eq!(instant(seconds, nanos), None);
        }
    }
}
