//! A schema's text, and those it refers to, as one schema that the parser can be given.
//!
//! apache-avro parses what it trusts. It keeps a copy of each type within each type around it, copies whole types for some texts
//! (a record called `record`), follows chains of types that refer to each other by recursion, and leaves out fields that are no
//! objects. It refuses defaults that other implementations allow, looks for types of other texts only at their top, and among
//! those in an order that differs from run to run. So what it is given has been bounded, has only what says how bytes are to be
//! read, and has each type where it is first used.

use std::collections::HashSet;

use serde_json::Value;

use crate::{BadSchema, MAX_DEPTH};

use super::logical::{Logical, logical_type};
use super::names::{Definition, Definitions, Object, defined_name, inner, named_kind, space_of};

/// The most bytes of a schema with all that it refers to.
const MAX_BYTES: usize = 1 << 20;
/// The most types, fields and symbols, each counted as often as it lies deep: the parser copies what is in a type with the type.
const MAX_COST: usize = 1 << 18;

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// The schema of `text`, with the types of `references` in it. Without `logical`, all logical types are left out.
pub(super) fn prepare(text: &str, references: &[&str], logical: bool) -> Result<Value, BadSchema> {
    let bytes = references.iter().fold(text.len(), |bytes, text| bytes.saturating_add(text.len()));
    if bytes > MAX_BYTES {
        return Err(BadSchema(format!("the schema has more than {MAX_BYTES} bytes")));
    }
    let schema = parse(text)?;
    let references = references.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
    let mut definitions = Definitions::default();
    for text in references.iter().chain([&schema]) {
        definitions.add(text, "")?;
    }
    let mut placing = Placing { definitions, placed: HashSet::new(), logical, cost: 0 };
    placing.schema(&schema, "", 0)
}

/// JSON of at most 128 levels, which is what serde_json bears.
fn parse(text: &str) -> Result<Value, BadSchema> {
    serde_json::from_str(text).map_err(|why| BadSchema(format!("the schema is not JSON: {why}")))
}

/// The writing of the one schema.
struct Placing<'a> {
    definitions: Definitions<'a>,
    /// The full names of the types that are written, or are being written around the place.
    placed: HashSet<String>,
    logical: bool,
    cost: usize,
}

impl<'a> Placing<'a> {
    /// A schema that stands in a namespace, `depth` levels deep.
    fn schema(&mut self, schema: &'a Value, space: &str, depth: u32) -> Result<Value, BadSchema> {
        self.charge(1, depth)?;
        match schema {
            Value::String(name) => self.named(name, space, depth),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.schema(branch, space, depth + 1));
                Ok(Value::Array(branches.collect::<Result<_, _>>()?))
            }
            Value::Object(object) => self.object(object, space, depth),
            _ => Err(BadSchema("a type is neither a name nor an object nor a union".to_owned())),
        }
    }

    fn charge(&mut self, items: usize, depth: u32) -> Result<(), BadSchema> {
        if depth > MAX_DEPTH {
            return Err(BadSchema(format!("the schema's types nest deeper than {MAX_DEPTH} levels")));
        }
        self.cost = self.cost.saturating_add(items.saturating_mul(depth as usize + 1));
        if self.cost > MAX_COST {
            return Err(BadSchema("the schema has too many types, fields and symbols".to_owned()));
        }
        Ok(())
    }

    fn object(&mut self, object: &'a Object, space: &str, depth: u32) -> Result<Value, BadSchema> {
        let kind = match object.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(schema) => return self.schema(schema, space, depth + 1),
            None => return Err(BadSchema("a type has no \"type\"".to_owned())),
        };
        if let Some(schema) = inner(object, kind) {
            let schema = self.schema(schema, space, depth + 1)?;
            return Ok(match kind {
                "array" => made([("type", kind.into()), ("items", schema)]),
                _ => made([("type", kind.into()), ("values", schema)]),
            });
        }
        if let Some(kind) = named_kind(kind) {
            let name = defined_name(object, space)?;
            return self.definition(name, Definition { object, kind }, depth);
        }
        if PRIMITIVES.contains(&kind) {
            return Ok(match self.logical(object, kind) {
                Some(logical) => logical.put(made([("type", kind.into())])),
                None => kind.into(),
            });
        }
        self.named(kind, space, depth)
    }

    /// What a name stands for: where a type is used first, its definition.
    fn named(&mut self, name: &str, space: &str, depth: u32) -> Result<Value, BadSchema> {
        if PRIMITIVES.contains(&name) {
            return Ok(name.into());
        }
        match self.definitions.find(name, space) {
            Some((name, definition)) => self.definition(name, definition, depth),
            None => Err(BadSchema(format!("there is no type {name}"))),
        }
    }

    fn definition(
        &mut self,
        name: String,
        definition: Definition<'a>,
        depth: u32,
    ) -> Result<Value, BadSchema> {
        if name.split('.').any(str::is_empty) {
            return Err(BadSchema(format!("{name:?} is not the name of a type")));
        }
        if self.placed.contains(&name) {
            return Ok(written(&name).into());
        }
        self.placed.insert(name.clone());
        let Definition { object, kind } = definition;
        match kind {
            "record" => self.record(&name, object, depth),
            "enum" => self.an_enum(&name, object, depth),
            _ => self.fixed(&name, object),
        }
    }

    fn record(&mut self, name: &str, object: &'a Object, depth: u32) -> Result<Value, BadSchema> {
        let fields = object.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| BadSchema(format!("the record {name} has no fields")))?;
        let fields = fields.iter().map(|field| {
            let parts = (field.get("name").and_then(Value::as_str), field.get("type"));
            let (Some(field), Some(schema)) = parts else {
                return Err(BadSchema(format!("a field of {name} has no name or no type")));
            };
            let schema = self.schema(schema, space_of(name), depth + 1)?;
            Ok(made([("name", field.into()), ("type", schema)]))
        });
        let fields = fields.collect::<Result<_, _>>()?;
        let name = written(name).into();
        Ok(made([("type", "record".into()), ("name", name), ("fields", Value::Array(fields))]))
    }

    fn an_enum(&mut self, name: &str, object: &Object, depth: u32) -> Result<Value, BadSchema> {
        let symbols = object.get("symbols").and_then(Value::as_array);
        let symbols = symbols.ok_or_else(|| BadSchema(format!("the enum {name} has no symbols")))?;
        self.charge(symbols.len(), depth)?;
        let symbols = Value::Array(symbols.clone());
        Ok(made([("type", "enum".into()), ("name", written(name).into()), ("symbols", symbols)]))
    }

    fn fixed(&mut self, name: &str, object: &Object) -> Result<Value, BadSchema> {
        let size = object.get("size").and_then(Value::as_u64);
        let size = size.ok_or_else(|| BadSchema(format!("the fixed {name} has no size")))?;
        let fixed = made([("type", "fixed".into()), ("name", written(name).into()), ("size", size.into())]);
        Ok(match self.logical(object, "fixed") {
            Some(logical) => logical.put(fixed),
            None => fixed,
        })
    }

    fn logical<'b>(&self, object: &'b Object, kind: &str) -> Option<Logical<'b>> {
        if self.logical { logical_type(object, kind) } else { None }
    }
}

/// An object of these members. (The macro `json` would copy what is in it, at each level again.)
fn made<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A full name as the parser must be given it: one that has no namespace must not take that around it.
fn written(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!(".{name}") }
}
