//! Alternatives: conditions in brackets, of which one must hold, such as `(value.total>100|header.vip=1)`.

use crate::record::operand::ESCAPABLE;
use crate::record::syntax_error::SyntaxError;

const NESTED: &str = "alternatives do not nest; a bracket that belongs to a value is written \\( or \\)";
const BEHIND: &str = "text behind the ), which ends the alternatives: each is a whole condition, as in (value.a=1|value.b=2); \
                      a ) that belongs to a value is written \\)";
const OPEN: &str = "no ) behind the alternatives";

/// Splits a text that begins with `(` into its conditions, each with the byte at which it begins.
///
/// # Errors
/// A bracket within the brackets, no closing one, or text behind it.
pub(crate) fn split(text: &str) -> Result<Vec<(usize, &str)>, SyntaxError> {
    let (mut all, mut start) = (Vec::new(), 1);
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next_if(|(_, next)| ESCAPABLE.contains(next));
            }
            '(' => return Err(SyntaxError::new(at, NESTED)),
            '|' => {
                all.push((start, &text[start..at]));
                start = at + 1;
            }
            ')' if at + 1 < text.len() => return Err(SyntaxError::new(at + 1, BEHIND)),
            ')' => {
                all.push((start, &text[start..at]));
                return Ok(all);
            }
            _ => {}
        }
    }
    Err(SyntaxError::new(text.len(), OPEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_stand_between_bars_and_escaped_ones_belong_to_values() {
        assert_eq!(split("(a=1)"), Ok(vec![(1, "a=1")]));
        assert_eq!(split("(é=1|b?|!c?)"), Ok(vec![(1, "é=1"), (6, "b?"), (9, "!c?")]));
        assert_eq!(
            split(r"(a=\(x\|y\)|b=\\|c=\d)"),
            Ok(vec![(1, r"a=\(x\|y\)"), (12, r"b=\\"), (17, r"c=\d")])
        );
        assert_eq!(split("()"), Ok(vec![(1, "")]));
        assert_eq!(split("(a=1|)"), Ok(vec![(1, "a=1"), (5, "")]));
    }

    #[test]
    fn what_is_not_one_list_in_brackets_is_refused_where_it_stands() {
        for (text, at, message) in [
            ("(", 1, OPEN),
            ("(a=1|b=2", 8, OPEN),
            (r"(a=1\)", 6, OPEN),
            ("((a=1)", 1, NESTED),
            ("(a=1|(b=2|c=3))", 5, NESTED),
            ("(a=f(x))", 4, NESTED),
            ("(a=1)|(b=2)", 5, BEHIND),
            ("(a|b)=1", 5, BEHIND),
            ("(a=1) ", 5, BEHIND),
            ("(a=1))", 5, BEHIND),
        ] {
            assert_eq!(split(text), Err(SyntaxError::new(at, message)), "{text}");
        }
    }
}
