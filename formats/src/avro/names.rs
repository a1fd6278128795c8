//! The names of a schema's types, and where they are defined.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::BadSchema;

/// A JSON object of a schema.
pub(super) type Object = Map<String, Value>;

/// The definition of a named type.
#[derive(Clone, Copy)]
pub(super) struct Definition<'a> {
    pub(super) object: &'a Object,
    /// Its kind: `record`, `enum` or `fixed`.
    pub(super) kind: &'static str,
}

/// The definitions in several texts, by the types' full names.
#[derive(Default)]
pub(super) struct Definitions<'a>(HashMap<String, Definition<'a>>);

impl<'a> Definitions<'a> {
    /// Adds all definitions in a text. The same definition may be there several times, as it is when two schemas refer to one.
    pub(super) fn add(&mut self, schema: &'a Value, space: &str) -> Result<(), BadSchema> {
        match schema {
            Value::Array(branches) => branches.iter().try_for_each(|branch| self.add(branch, space)),
            Value::Object(object) => self.add_object(object, space),
            _ => Ok(()),
        }
    }

    fn add_object(&mut self, object: &'a Object, space: &str) -> Result<(), BadSchema> {
        let kind = match object.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(schema) => return self.add(schema, space),
            None => return Ok(()),
        };
        if let Some(inner) = inner(object, kind) {
            return self.add(inner, space);
        }
        let Some(kind) = named_kind(kind) else { return Ok(()) };
        let name = defined_name(object, space)?;
        let space = space_of(&name).to_owned();
        match self.0.get(&name) {
            Some(known) if known.object != object => {
                return Err(BadSchema(format!("the type {name} is defined twice")));
            }
            Some(_) => return Ok(()),
            None => self.0.insert(name, Definition { object, kind }),
        };
        for field in object.get("fields").and_then(Value::as_array).into_iter().flatten() {
            if let Some(schema) = field.get("type") {
                self.add(schema, &space)?;
            }
        }
        Ok(())
    }

    /// The type that a name means in a namespace, with its full name: one of this namespace, or else one of none.
    pub(super) fn find(&self, name: &str, space: &str) -> Option<(String, Definition<'a>)> {
        let found = |name: String| self.0.get(&name).map(|definition| (name, *definition));
        found(full_name(name, space)).or_else(|| found(full_name(name, "")))
    }
}

/// What an array or a map holds.
pub(super) fn inner<'a>(object: &'a Object, kind: &str) -> Option<&'a Value> {
    match kind {
        "array" => object.get("items"),
        "map" => object.get("values"),
        _ => None,
    }
}

/// The kind of a named type. Protocols call records that are thrown errors.
pub(super) fn named_kind(kind: &str) -> Option<&'static str> {
    match kind {
        "record" | "error" => Some("record"),
        "enum" => Some("enum"),
        "fixed" => Some("fixed"),
        _ => None,
    }
}

/// The full name of a type that is defined in a namespace. A name with dots is full; otherwise the type's own namespace counts,
/// and then the one around it.
pub(super) fn defined_name(object: &Object, space: &str) -> Result<String, BadSchema> {
    let name = object.get("name").and_then(Value::as_str);
    let name = name.ok_or_else(|| BadSchema("a record, enum or fixed has no name".to_owned()))?;
    let own = object.get("namespace").and_then(Value::as_str);
    Ok(full_name(name, own.unwrap_or(space)))
}

fn full_name(name: &str, space: &str) -> String {
    match name.strip_prefix('.') {
        Some(name) => name.to_owned(),
        None if name.contains('.') || space.is_empty() => name.to_owned(),
        None => format!("{space}.{name}"),
    }
}

/// The namespace of a full name.
pub(super) fn space_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(space, _)| space)
}
