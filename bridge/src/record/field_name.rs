//! How the field of a condition is written: `key`, `type`, `header.NAME`, `value.path.to.it` or `value/json/pointer`.

use crate::record::field::Field;
use crate::record::json::Pointer;
use crate::record::syntax_error::SyntaxError;

/// Steps of a path.
const MAX_STEPS: usize = 32;
pub(crate) const ACCEPTED_FIELDS: &str = "key, type, header.NAME, value.path.to.it or value/json/pointer";
const BAR: &str = "a | within a path: alternatives stand in brackets, as in (value.a=1|value.b=2); a name with | is reached by \
                   value/json/pointer";

/// Parses a field without space around it.
///
/// # Errors
/// Another text, with the byte at which it is wrong.
pub(crate) fn parse_field(text: &str) -> Result<Field, SyntaxError> {
    check_edges(text)?;
    match text {
        "key" => return Ok(Field::Key),
        "type" => return Ok(Field::Type),
        "value" => return Ok(Field::Value(Pointer::of_steps(std::iter::empty::<&str>()))),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("header.") {
        return match name {
            "" => Err(SyntaxError::new(text.len(), "no name of a header after header.")),
            name => Ok(Field::Header(name.to_owned())),
        };
    }
    let unknown = || SyntaxError::of(0, format_args!("{text:?} is not a field; accepted: {ACCEPTED_FIELDS}"));
    let path = text.strip_prefix("value").ok_or_else(unknown)?;
    match path.as_bytes().first() {
        Some(b'.') => parse_path(&path[1..], "value.".len()),
        Some(b'/') => parse_pointer(path),
        _ => Err(unknown()),
    }
}

/// Refuses space around a field: no field has such a name.
fn check_edges(field: &str) -> Result<(), SyntaxError> {
    let (begin, end) = (field.trim_start(), field.trim_end());
    match (begin.len() < field.len(), end.len() < field.len()) {
        (true, _) => Err(SyntaxError::new(0, "a space before the field")),
        (false, true) => Err(SyntaxError::new(end.len(), "a space between the field and its operator")),
        (false, false) => Ok(()),
    }
}

fn parse_path(path: &str, start: usize) -> Result<Field, SyntaxError> {
    let mut at = start;
    for step in path.split('.') {
        if step.is_empty() {
            return Err(SyntaxError::new(
                at,
                "an empty step; for names that are empty or have dots, use value/json/pointer",
            ));
        }
        if let (Some(bracket), true) = (step.find('['), step.ends_with(']')) {
            let meant = path.replace('[', ".").replace(']', "").replace(['"', '\''], "");
            return Err(SyntaxError::of(
                at + bracket,
                format_args!(
                    "steps have dots before them, not brackets around them: value.{meant}; a name with brackets is reached by value/json/pointer"
                ),
            ));
        }
        if let Some(bar) = step.find('|') {
            return Err(SyntaxError::new(at + bar, BAR));
        }
        at += step.len() + 1;
    }
    check_steps(path.split('.').count())?;
    Ok(Field::Value(Pointer::of_steps(path.split('.'))))
}

fn parse_pointer(path: &str) -> Result<Field, SyntaxError> {
    check_steps(path.split('/').count() - 1)?;
    Pointer::parse(path).map(Field::Value).map_err(|why| SyntaxError::of("value".len(), why))
}

fn check_steps(count: usize) -> Result<(), SyntaxError> {
    match count {
        ..=MAX_STEPS => Ok(()),
        _ => Err(SyntaxError::of("value".len(), format_args!("at most {MAX_STEPS} steps are accepted"))),
    }
}
