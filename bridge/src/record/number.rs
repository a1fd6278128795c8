//! Numbers as filters compare them: by value, however they are written.

use std::cmp::Ordering;

/// A number of a record's field or of a condition.
///
/// Whole numbers compare exactly, also above 2^53; a number with a fraction or an exponent, or beyond 2^127 to either side, compares with
/// any other as double. That is no order of all numbers: 2^53 and 2^53 + 1 are different, and both are equal to 9007199254740992.0.
/// So [`Number::compare`] is the comparison, and the derived order is for sorting: by the double, and among the numbers of one
/// double first those that are equal to all of them, then the whole ones by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Number {
    /// Orders as the double does.
    double: u64,
    whole: Option<i128>,
}

impl Number {
    /// `None`: the text is no number as JSON writes it. What looks like a number but is a name (`007`, `+1`, `inf`) is text.
    pub(crate) fn parse(text: &str) -> Option<Number> {
        if !looks_like_a_number(text) {
            return None;
        }
        let double = text.parse().ok()?;
        Some(Number { double: sortable(double), whole: text.parse().ok() })
    }

    pub(crate) fn compare(self, other: Number) -> Ordering {
        match (self.whole, other.whole) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => self.double.cmp(&other.double),
        }
    }

    /// Equal for numbers that are equal, and for few others.
    pub(crate) fn bits(self) -> u64 {
        self.double
    }

    /// Whether it compares exactly with other whole numbers.
    pub(crate) fn is_whole(self) -> bool {
        self.whole.is_some()
    }

    /// Sorts before all other numbers with this double.
    pub(crate) fn first_of_its_double(self) -> Number {
        Number { whole: None, ..self }
    }

    /// Sorts behind all other numbers with this double.
    pub(crate) fn last_of_its_double(self) -> Number {
        Number { whole: Some(i128::MAX), ..self }
    }
}

/// Bits that order as the doubles do; minus zero is zero. No text is read as NaN.
fn sortable(double: f64) -> u64 {
    let bits = (double + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn looks_like_a_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let starts = matches!(digits, [b'0'] | [b'0', b'.' | b'e' | b'E', ..] | [b'1'..=b'9', ..]);
    starts && digits.iter().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(byte))
}

/// Whether a field's text is one of these values.
pub(crate) fn is_any(text: &str, values: &[String]) -> bool {
    let as_number = |number: Number| {
        let equal = |value: &String| Number::parse(value).is_some_and(|value| number.compare(value).is_eq());
        values.iter().any(equal)
    };
    values.iter().any(|value| value == text) || Number::parse(text).is_some_and(as_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn what_json_writes_as_a_number_is_one_and_names_are_not() {
        for text in ["0", "-0", "17", "-1.5", "1e2", "0e0", "0.0", "1E+2", "9007199254740993", "1e400"] {
            assert!(Number::parse(text).is_some(), "{text}");
        }
        for text in
            ["", "-", "007", "+1", "inf", "NaN", "1-2", "2026-01-31", "1e", "0x1", " 1", "1 ", ".5", "e1"]
        {
            assert!(Number::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_compare_exactly_and_others_as_doubles() {
        for (small, large) in [
            ("9007199254740992", "9007199254740993"),
            ("-9007199254740993", "-9007199254740992"),
            ("170141183460469231731687303715884105726", "170141183460469231731687303715884105727"),
            ("-1", "-0.5"),
            ("0.1", "0.2"),
            ("99", "1e2000"),
        ] {
            assert_eq!(number(small).compare(number(large)), Ordering::Less, "{small} {large}");
            assert_eq!(number(large).compare(number(small)), Ordering::Greater, "{large} {small}");
        }
        for (one, same) in [
            ("1", "1.0"),
            ("100", "1e2"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("9007199254740993", "9007199254740992.0"),
            ("9007199254740992", "9007199254740992.0"),
            ("1e400", "1e500"),
        ] {
            assert_eq!(number(one).compare(number(same)), Ordering::Equal, "{one} {same}");
            assert_eq!(number(one).bits(), number(same).bits(), "{one} {same}");
        }
    }

    proptest! {
        #[test]
        fn sorting_never_contradicts_the_comparison(
            one in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,3})?(e-?[0-9]{1,2})?",
            other in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,3})?(e-?[0-9]{1,2})?",
        ) {
            let (one, other) = (number(&one), number(&other));
            prop_assert!(one.compare(other).is_eq() || one.compare(other) == one.cmp(&other));
            prop_assert!(one.first_of_its_double() <= one && one <= one.last_of_its_double());
        }
    }
}
