//! Dates and times as ISO 8601 has them, in the proleptic Gregorian calendar.
//!
//! A fraction has as many digits as the type counts, always: so texts of one field have one length and sort as the times do. Years
//! outside of 0000 to 9999 have a sign and six digits or more, as in ECMAScript.

use super::fault::Fault;
use super::program::Unit;
use crate::instant::date;

const DAY_SECONDS: i64 = 86_400;

impl Unit {
    fn per_second(self) -> i64 {
        match self {
            Unit::Millis => 1_000,
            Unit::Micros => 1_000_000,
            Unit::Nanos => 1_000_000_000,
        }
    }

    fn digits(self) -> usize {
        match self {
            Unit::Millis => 3,
            Unit::Micros => 6,
            Unit::Nanos => 9,
        }
    }
}

/// Appends the date that is so many days after 1970-01-01, with its quotes.
pub(super) fn put_date(out: &mut Vec<u8>, days: i32) {
    out.push(b'"');
    put_civil(out, i64::from(days));
    out.push(b'"');
}

/// Appends a time of day, with its quotes. The end of the day is 24:00.
pub(super) fn put_time_of_day(out: &mut Vec<u8>, count: i64, unit: Unit) -> Result<(), Fault> {
    if !(0..=DAY_SECONDS * unit.per_second()).contains(&count) {
        return Err(Fault::TimeOfDay);
    }
    out.push(b'"');
    put_clock(out, count, unit);
    out.push(b'"');
    Ok(())
}

/// Appends a date and a time, with its quotes: UTC with a `Z`, local time without.
pub(super) fn put_timestamp(out: &mut Vec<u8>, count: i64, unit: Unit, local: bool) {
    let a_day = DAY_SECONDS * unit.per_second();
    out.push(b'"');
    put_civil(out, count.div_euclid(a_day));
    out.push(b'T');
    put_clock(out, count.rem_euclid(a_day), unit);
    out.extend_from_slice(if local { b"\"" } else { b"Z\"" });
}

/// Appends three counts, as an interval of ISO 8601 has them: `"P1M2DT3.500S"`. They stand for themselves: a month has no fixed
/// number of days.
pub(super) fn put_duration(out: &mut Vec<u8>, [months, days, millis]: [u32; 3]) {
    out.extend_from_slice(b"\"P");
    put_number(out, u64::from(months), 1);
    out.push(b'M');
    put_number(out, u64::from(days), 1);
    out.extend_from_slice(b"DT");
    put_number(out, u64::from(millis / 1000), 1);
    out.push(b'.');
    put_number(out, u64::from(millis % 1000), 3);
    out.extend_from_slice(b"S\"");
}

fn put_civil(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = date(days);
    put_year(out, year);
    out.push(b'-');
    put_number(out, month as u64, 2);
    out.push(b'-');
    put_number(out, day as u64, 2);
}

fn put_year(out: &mut Vec<u8>, year: i64) {
    if (0..=9999).contains(&year) {
        return put_number(out, year as u64, 4);
    }
    out.push(if year < 0 { b'-' } else { b'+' });
    put_number(out, year.unsigned_abs(), 6);
}

/// Appends hours, minutes, seconds and their fraction, of a count that is not negative.
fn put_clock(out: &mut Vec<u8>, count: i64, unit: Unit) {
    let (seconds, fraction) = (count / unit.per_second(), count % unit.per_second());
    put_number(out, (seconds / 3600) as u64, 2);
    out.push(b':');
    put_number(out, (seconds / 60 % 60) as u64, 2);
    out.push(b':');
    put_number(out, (seconds % 60) as u64, 2);
    out.push(b'.');
    put_number(out, fraction as u64, unit.digits());
}

/// Appends a number, with zeros before it up to `digits`, which are 20 at most.
fn put_number(out: &mut Vec<u8>, mut number: u64, digits: usize) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while number > 0 {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&text[at.min(text.len() - digits)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn date(days: i32) -> String {
        text(|out| put_date(out, days))
    }

    #[test]
    fn each_day_follows_the_one_before() {
        // From 1599-12-31 on, by the rules of the calendar alone.
        let (mut year, mut month, mut day) = (1600, 1, 1);
        for days in -135_140..250_000 {
            assert_eq!(date(days), format!("\"{year:04}-{month:02}-{day:02}\""));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let longest = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > longest {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn years_of_more_than_four_digits_have_a_sign() {
        assert_eq!(date(2_932_896), "\"9999-12-31\"");
        assert_eq!(date(2_932_897), "\"+010000-01-01\"");
        assert_eq!(date(-719_528), "\"0000-01-01\"");
        assert_eq!(date(-719_529), "\"-000001-12-31\"");
        // As java.time has them.
        assert_eq!(date(i32::MAX), "\"+5881580-07-11\"");
        assert_eq!(date(i32::MIN), "\"-5877641-06-23\"");
    }

    #[test]
    fn timestamps_reach_as_far_as_their_numbers() {
        let far = |count, unit| text(|out| put_timestamp(out, count, unit, false));
        // As java.time has them.
        assert_eq!(far(i64::MAX, Unit::Millis), "\"+292278994-08-17T07:12:55.807Z\"");
        assert_eq!(far(i64::MIN, Unit::Millis), "\"-292275055-05-16T16:47:04.192Z\"");
        assert_eq!(far(i64::MAX, Unit::Micros), "\"+294247-01-10T04:00:54.775807Z\"");
        assert_eq!(far(i64::MIN, Unit::Micros), "\"-290308-12-21T19:59:05.224192Z\"");
        assert_eq!(far(i64::MAX, Unit::Nanos), "\"2262-04-11T23:47:16.854775807Z\"");
        assert_eq!(far(i64::MIN, Unit::Nanos), "\"1677-09-21T00:12:43.145224192Z\"");
        assert_eq!(far(-1, Unit::Nanos), "\"1969-12-31T23:59:59.999999999Z\"");
        assert_eq!(text(|out| put_timestamp(out, 0, Unit::Millis, true)), "\"1970-01-01T00:00:00.000\"");
    }

    #[test]
    fn a_time_of_day_is_within_a_day() {
        let time = |count, unit| {
            let mut out = Vec::new();
            put_time_of_day(&mut out, count, unit).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(time(0, Unit::Millis).unwrap(), "\"00:00:00.000\"");
        assert_eq!(time(86_399_999, Unit::Millis).unwrap(), "\"23:59:59.999\"");
        assert_eq!(time(86_400_000, Unit::Millis).unwrap(), "\"24:00:00.000\"");
        assert_eq!(time(3_661_000_001, Unit::Micros).unwrap(), "\"01:01:01.000001\"");
        for count in [-1, 86_400_001, i64::MIN, i64::MAX] {
            assert_eq!(time(count, Unit::Millis), Err(Fault::TimeOfDay));
        }
    }

    #[test]
    fn a_duration_has_all_its_parts() {
        assert_eq!(text(|out| put_duration(out, [0, 0, 0])), "\"P0M0DT0.000S\"");
        assert_eq!(text(|out| put_duration(out, [1, 2, 3_500])), "\"P1M2DT3.500S\"");
        let most = "\"P4294967295M4294967295DT4294967.295S\"";
        assert_eq!(text(|out| put_duration(out, [u32::MAX; 3])), most);
    }
}
