//! What a parameter takes, as a JSON schema.

use serde_json::{Value, json};
use tailrace_bridge::{Span, StartFrom};

use crate::query::{Defaults, Parameter, Route, Values};

/// A length of time, as all parameters and settings have it.
const TIME: &str = "[0-9]{1,9}(ms|s|m|h|d)";
/// Characters of a condition.
const MAX_CONDITION: usize = 4096;

/// The schema of all values that are given together: a list, if there may be several.
pub(super) fn schema(parameter: &Parameter, route: Route, defaults: &Defaults) -> Value {
    let mut schema = of_one(parameter, route, defaults);
    let default = (parameter.default)(route, defaults).map(|text| as_written(text, &parameter.values));
    if parameter.times == 1 {
        if let Some(default) = default {
            schema["default"] = default;
        }
        return schema;
    }
    let mut list = json!({ "type": "array", "items": schema, "maxItems": parameter.times });
    if let Some(default) = default {
        list["default"] = json!([default]);
    }
    list
}

fn as_written(text: String, values: &Values) -> Value {
    match values {
        Values::Number(..) => text.parse::<u64>().map_or(Value::Null, Value::from),
        _ => Value::from(text),
    }
}

fn of_one(parameter: &Parameter, route: Route, defaults: &Defaults) -> Value {
    match &parameter.values {
        Values::Text => json!({ "type": "string" }),
        Values::Topic => json!({ "type": "string", "pattern": "^[^,]+$", "examples": ["orders"] }),
        Values::Type => json!({
            "type": "string",
            "minLength": 1,
            // Names that have a meaning already.
            "not": { "anyOf": [{ "enum": ["open", "error"] }, { "pattern": "^tailrace\\." }] },
            "examples": ["order.paid"],
        }),
        Values::Condition => json!({
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_CONDITION,
            "examples": ["value.total>100", "(value.total>100|header.vip=1)"],
        }),
        Values::Start => start(route),
        Values::Word(words) => json!({ "type": "string", "enum": words(route) }),
        Values::Number(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Values::Time { bounds, word } => {
            let (low, high) = bounds(defaults);
            let time = json!({
                "type": "string",
                "description": format!("A length of time, {} to {}.", Span::new(low), Span::new(high)),
                "pattern": format!("^(0|{TIME})$"),
                "x-minimum": Span::new(low).to_string(),
                "x-maximum": Span::new(high).to_string(),
            });
            match word {
                None => time,
                Some(word) => json!({ "anyOf": [{ "const": word }, time] }),
            }
        }
    }
}

fn start(route: Route) -> Value {
    let words: &[&str] = match route {
        Route::Records => &["latest", "earliest"],
        _ => &["latest", "earliest", "snapshot"],
    };
    // It is a power of ten: all that is less has fewer digits.
    let most = StartFrom::MAX_LAST;
    let digits = most.ilog10() - 1;
    json!({
        "anyOf": [
            { "title": "Words", "type": "string", "enum": words },
            { "title": "So long ago", "type": "string", "pattern": format!("^-{TIME}$"), "examples": ["-15m"] },
            {
                "title": "So many matching records ago",
                "type": "string",
                "pattern": format!("^-([1-9][0-9]{{0,{digits}}}|{most})$"),
                "examples": ["-100"],
            },
            { "title": "A time that is past", "type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"] },
            { "$ref": "#/components/schemas/EventId" },
        ],
    })
}
