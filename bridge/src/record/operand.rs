//! The right side of a filter's condition: values between commas, escapes, and what is probably a mistake.
//!
//! A condition that is accepted and matches nothing looks like a quiet topic. So text that looks as if it meant something else
//! is refused, and a client that means it literally can escape it.

use crate::record::syntax_error::SyntaxError;

/// Characters that a backslash makes literal. Before any other character, the backslash itself is literal.
pub(crate) const ESCAPABLE: [char; 12] = [',', '\\', '=', '<', '>', ' ', '"', '\'', '~', '|', '(', ')'];
/// Replaces an escaped character, when a text is searched for characters that are not escaped.
const HIDDEN: char = '\0';
/// The most values of one `where=`, with all its alternatives: each may be compared with each record.
pub(crate) const MAX_VALUES: usize = 256;
/// Words that join conditions in other languages.
const JOINERS: [&str; 4] = [" and", " or", " &&", " ||"];

const OPERATOR: &str = "an operator within a value: one where= holds one condition, further ones are a where= each; \
                        in a value it is written \\=, \\< or \\>";
const MATCH: &str = "=~ is not an operator; ^= is begins with; a value that begins with ~ is written \\~";
const SPACE: &str = "a space at the edge of a value: there is none around an operator or a comma; one that belongs to the value \
                     is written as a backslash and a space";
const JOINER: &str = "conditions are not joined by words: each is a where= of its own, and all of them hold";
const VALUES: &str = "at most 256 values are accepted in one where=";
const BAR: &str = "alternatives stand in brackets, as in (value.a=1|value.b=2)";
const LIST: &str = "the values of a condition are separated by commas, without brackets; brackets that belong to the value are \
                    written \\( and \\)";
const QUOTES: &str = "values stand without quotes; one that belongs to the value is written \\\" or \\'";

/// One value.
struct Value {
    /// The byte at which it begins.
    at: usize,
    value: String,
    /// The value with escaped characters hidden.
    plain: String,
}

impl Value {
    fn new(at: usize) -> Value {
        Value { at, value: String::new(), plain: String::new() }
    }

    /// Refuses what is probably a mistake. `end`: the byte at which the value ends.
    fn check(&self, end: usize) -> Result<(), SyntaxError> {
        let plain = self.plain.as_str();
        let is_joined = JOINERS.iter().find(|joiner| ends_with_word(plain.trim_end(), joiner));
        let quoted = |quote: char| plain.len() > 1 && plain.starts_with(quote) && plain.ends_with(quote);
        if let Some(joiner) = is_joined {
            let word = joiner.len() + plain.len() - plain.trim_end().len();
            Err(SyntaxError::new(end - word + 1, JOINER))
        } else if plain.starts_with(char::is_whitespace) {
            Err(SyntaxError::new(self.at, SPACE))
        } else if let Some(last) = plain.chars().next_back().filter(|last| last.is_whitespace()) {
            Err(SyntaxError::new(end - last.len_utf8(), SPACE))
        } else if quoted('"') || quoted('\'') {
            Err(SyntaxError::new(self.at, QUOTES))
        } else if plain.starts_with('(') && plain.ends_with(')') && plain.contains('|') {
            Err(SyntaxError::new(self.at, LIST))
        } else {
            Ok(())
        }
    }
}

fn ends_with_word(text: &str, word: &str) -> bool {
    let tail = text.len().checked_sub(word.len()).and_then(|at| text.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(word))
}

/// Splits at commas that are not escaped.
///
/// # Errors
/// An operator within a value, space around a value, quotes, or a word that would join conditions, if it is not escaped; more than
/// `most` values.
pub(crate) fn values(text: &str, most: usize) -> Result<Vec<String>, SyntaxError> {
    if most == 0 {
        return Err(SyntaxError::new(0, VALUES));
    }
    let (mut all, mut one) = (Vec::new(), Value::new(0));
    let mut bar = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let escaped = match c {
            '\\' => chars.next_if(|(_, next)| ESCAPABLE.contains(next)),
            _ => None,
        };
        match (c, escaped) {
            (_, Some((_, c))) => {
                one.value.push(c);
                one.plain.push(HIDDEN);
            }
            (',', None) => {
                one.check(at)?;
                all.push(one.value);
                one = Value::new(at + 1);
                if all.len() == most {
                    return Err(SyntaxError::new(at + 1, VALUES));
                }
            }
            ('=' | '<' | '>', None) => {
                return Err(bar.map_or(SyntaxError::new(at, OPERATOR), |at| SyntaxError::new(at, BAR)));
            }
            ('~', None) if at == 0 => return Err(SyntaxError::new(at, MATCH)),
            (c, None) => {
                bar = bar.or((c == '|').then_some(at));
                one.value.push(c);
                one.plain.push(c);
            }
        }
    }
    one.check(text.len())?;
    all.push(one.value);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_and_backslashes_escape() {
        let split = |text: &str| values(text, MAX_VALUES).unwrap();
        assert_eq!(split("a,b"), ["a", "b"]);
        assert_eq!(split(""), [""]);
        assert_eq!(split(r"a\,b,c\\,\d"), ["a,b", r"c\", r"\d"]);
        assert_eq!(split(r"abc\=\=,\<b\>,\ x y\ "), ["abc==", "<b>", " x y "]);
        assert_eq!(split(r#"\"x\",rock and roll,it's,5""#), [r#""x""#, "rock and roll", "it's", "5\""]);
        assert_eq!(split(r"salt\ and,~b,c~,\~"), ["salt and", "~b", "c~", "~"]);
        assert_eq!(split(r"a|b,(x),\(a\|b\),|"), ["a|b", "(x)", "(a|b)", "|"]);
    }

    #[test]
    fn one_condition_has_a_bound_of_values() {
        let most = vec!["1"; MAX_VALUES].join(",");
        assert_eq!(values(&most, MAX_VALUES).unwrap().len(), MAX_VALUES);
        let error = SyntaxError::new(most.len() + 1, VALUES);
        assert_eq!(values(&format!("{most},"), MAX_VALUES), Err(error));
        assert!(VALUES.contains(&MAX_VALUES.to_string()));
        assert_eq!(values("1,2", 1), Err(SyntaxError::new(2, VALUES)));
        assert_eq!(values("", 0), Err(SyntaxError::new(0, VALUES)));
    }

    #[test]
    fn what_nobody_can_mean_is_refused_where_it_stands() {
        for (text, at, message) in [
            ("=100", 0, OPERATOR),
            ("100 and value.state=paid", 19, OPERATOR),
            ("a>b", 1, OPERATOR),
            ("~^a.*", 0, MATCH),
            (" 100", 0, SPACE),
            ("100 ", 3, SPACE),
            ("paid, shipped", 5, SPACE),
            ("paid ,shipped", 4, SPACE),
            ("é\u{a0}", 2, SPACE),
            ("100 and", 4, JOINER),
            ("100 AND ", 4, JOINER),
            ("x ||", 2, JOINER),
            ("\"paid\"", 0, QUOTES),
            ("a,'paid'", 2, QUOTES),
            ("1|value.b=2", 1, BAR),
            ("1|2,x|b>2", 1, BAR),
            ("(1|2)", 0, LIST),
            ("0,(1|2)", 2, LIST),
        ] {
            assert_eq!(values(text, MAX_VALUES), Err(SyntaxError::new(at, message)), "{text}");
        }
    }
}
