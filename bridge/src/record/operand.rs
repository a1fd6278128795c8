//! The right side of a filter's condition: alternatives between commas, escapes, and what is probably a mistake.
//!
//! A condition that is accepted and matches nothing looks like a quiet topic. So text that looks as if it meant something else
//! is refused, and a client that means it literally can escape it.

/// Characters that a backslash makes literal. Before any other character, the backslash itself is literal.
const ESCAPABLE: [char; 9] = [',', '\\', '=', '<', '>', ' ', '"', '\'', '~'];
/// Replaces an escaped character, when a text is searched for characters that are not escaped.
const HIDDEN: char = '\0';
/// The most alternatives of one condition: each may be compared with each record.
const MAX_VALUES: usize = 256;
/// Words that join conditions in other languages.
const JOINERS: [&str; 4] = [" and", " or", " &&", " ||"];

/// What is wrong with an operand, and at which byte.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) message: &'static str,
}

const OPERATOR: &str = "an operator within a value: one where= holds one condition, further ones are a where= each; \
                        in a value it is written \\=, \\< or \\>";
const MATCH: &str = "=~ is not an operator; ^= is begins with; a value that begins with ~ is written \\~";
const SPACE: &str = "a space at the edge of a value: there is none around an operator or a comma; one that belongs to the value \
                     is written as a backslash and a space";
const JOINER: &str = "conditions are not joined by words: each is a where= of its own, and all of them hold";
const VALUES: &str = "at most 256 values are accepted in one condition";
const QUOTES: &str = "values stand without quotes; one that belongs to the value is written \\\" or \\'";

/// One alternative.
struct Alternative {
    /// The byte at which it begins.
    at: usize,
    value: String,
    /// The value with escaped characters hidden.
    plain: String,
}

impl Alternative {
    fn new(at: usize) -> Alternative {
        Alternative { at, value: String::new(), plain: String::new() }
    }

    /// Refuses what is probably a mistake. `end`: the byte at which the alternative ends.
    fn check(&self, end: usize) -> Result<(), Fault> {
        let plain = self.plain.as_str();
        let is_joined = JOINERS.iter().find(|joiner| ends_with_word(plain.trim_end(), joiner));
        let quoted = |quote: char| plain.len() > 1 && plain.starts_with(quote) && plain.ends_with(quote);
        if let Some(joiner) = is_joined {
            let word = joiner.len() + plain.len() - plain.trim_end().len();
            Err(Fault { at: end - word + 1, message: JOINER })
        } else if plain.starts_with(char::is_whitespace) {
            Err(Fault { at: self.at, message: SPACE })
        } else if let Some(last) = plain.chars().next_back().filter(|last| last.is_whitespace()) {
            Err(Fault { at: end - last.len_utf8(), message: SPACE })
        } else if quoted('"') || quoted('\'') {
            Err(Fault { at: self.at, message: QUOTES })
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
/// [`MAX_VALUES`].
pub(crate) fn alternatives(text: &str) -> Result<Vec<String>, Fault> {
    let (mut all, mut one) = (Vec::new(), Alternative::new(0));
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
                one = Alternative::new(at + 1);
                if all.len() == MAX_VALUES {
                    return Err(Fault { at: at + 1, message: VALUES });
                }
            }
            ('=' | '<' | '>', None) => return Err(Fault { at, message: OPERATOR }),
            ('~', None) if at == 0 => return Err(Fault { at, message: MATCH }),
            (c, None) => {
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
        let split = |text: &str| alternatives(text).unwrap();
        assert_eq!(split("a,b"), ["a", "b"]);
        assert_eq!(split(""), [""]);
        assert_eq!(split(r"a\,b,c\\,\d"), ["a,b", r"c\", r"\d"]);
        assert_eq!(split(r"abc\=\=,\<b\>,\ x y\ "), ["abc==", "<b>", " x y "]);
        assert_eq!(split(r#"\"x\",rock and roll,it's,5""#), [r#""x""#, "rock and roll", "it's", "5\""]);
        assert_eq!(split(r"salt\ and,~b,c~,\~"), ["salt and", "~b", "c~", "~"]);
    }

    #[test]
    fn one_condition_has_a_bound_of_values() {
        let most = vec!["1"; MAX_VALUES].join(",");
        assert_eq!(alternatives(&most).unwrap().len(), MAX_VALUES);
        let fault = Fault { at: most.len() + 1, message: VALUES };
        assert_eq!(alternatives(&format!("{most},")), Err(fault));
        assert!(VALUES.contains(&MAX_VALUES.to_string()));
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
        ] {
            assert_eq!(alternatives(text), Err(Fault { at, message }), "{text}");
        }
    }
}
