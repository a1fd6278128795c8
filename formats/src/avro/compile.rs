//! From a parsed schema to a program.

use std::collections::HashMap;
use std::sync::Once;

use apache_avro::AvroResult;
use apache_avro::schema::{
    DecimalSchema, InnerDecimalSchema, Name, RecordSchema, Schema, UnionSchema, UuidSchema,
};
use apache_avro::validator::{
    EnumSymbolNameValidator, RecordFieldNameValidator, SchemaNameValidator, SchemaNamespaceValidator,
    set_enum_symbol_name_validator, set_record_field_name_validator, set_schema_name_validator,
    set_schema_namespace_validator,
};
use serde_json::Value;

use crate::json::put_string;
use crate::{AvroJson, BadSchema, Int64, Options};

use super::program::{Id, Node, Part, Program, Run, Unit};

/// The program of a schema that [`prepare`](super::prepare) has made.
pub(super) fn compile(schema: &Value, options: Options) -> Result<Program, BadSchema> {
    accept_all_names();
    let schema = Schema::parse(schema).map_err(|why| BadSchema(why.to_string()))?;
    let mut compiler = Compiler { program: Program::default(), names: HashMap::new(), options };
    compiler.program.root = compiler.node(&schema)?;
    Ok(compiler.program)
}

struct Compiler<'a> {
    program: Program,
    /// The nodes of named types.
    names: HashMap<&'a Name, Id>,
    options: Options,
}

impl<'a> Compiler<'a> {
    fn node(&mut self, schema: &'a Schema) -> Result<Id, BadSchema> {
        if let Schema::Ref { name } = schema {
            let known = self.names.get(name).copied();
            return known.ok_or_else(|| BadSchema(format!("there is no type {name}")));
        }
        // A number before its parts have theirs, since they may name it.
        let id = number(self.program.nodes.len())?;
        self.program.nodes.push(Node::Null);
        if let Some(name) = schema.name()
            && self.names.insert(name, id).is_some()
        {
            return Err(BadSchema(format!("the type {name} is defined twice")));
        }
        self.program.nodes[id as usize] = self.content(schema)?;
        Ok(id)
    }

    fn content(&mut self, schema: &'a Schema) -> Result<Node, BadSchema> {
        let timestamp = |unit, local| Node::Timestamp { unit, local };
        Ok(match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int => Node::Int,
            Schema::Long => match self.options.int64 {
                Int64::Number => Node::Long,
                Int64::String => Node::LongText,
            },
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::String | Schema::Uuid(UuidSchema::String) => Node::String,
            Schema::Bytes | Schema::Uuid(UuidSchema::Bytes) => match self.options.avro_json {
                AvroJson::Plain => Node::Bytes,
                AvroJson::Avro => Node::BytesText,
            },
            Schema::Fixed(fixed) => match self.options.avro_json {
                AvroJson::Plain => Node::Fixed(most(fixed.size)),
                AvroJson::Avro => Node::FixedText(most(fixed.size)),
            },
            Schema::Enum(schema) => Node::Enum(self.symbols(&schema.symbols)?),
            Schema::Array(array) => Node::Array(self.node(&array.items)?),
            Schema::Map(map) => Node::Map(self.node(&map.types)?),
            Schema::Record(record) => Node::Record(self.fields(record)?),
            Schema::Union(union) => self.union(union)?,
            Schema::Decimal(decimal) => scaled(decimal),
            Schema::BigDecimal => Node::BigDecimal,
            Schema::Uuid(UuidSchema::Fixed(_)) => Node::Uuid,
            Schema::Date => Node::Date,
            Schema::TimeMillis => Node::TimeMillis,
            Schema::TimeMicros => Node::TimeMicros,
            Schema::TimestampMillis => timestamp(Unit::Millis, false),
            Schema::TimestampMicros => timestamp(Unit::Micros, false),
            Schema::TimestampNanos => timestamp(Unit::Nanos, false),
            Schema::LocalTimestampMillis => timestamp(Unit::Millis, true),
            Schema::LocalTimestampMicros => timestamp(Unit::Micros, true),
            Schema::LocalTimestampNanos => timestamp(Unit::Nanos, true),
            Schema::Duration(_) => Node::Duration,
            Schema::Ref { name } => return Err(BadSchema(format!("there is no type {name}"))),
        })
    }

    fn fields(&mut self, record: &'a RecordSchema) -> Result<Run, BadSchema> {
        let mut parts = Vec::with_capacity(record.fields.len());
        for (at, field) in record.fields.iter().enumerate() {
            let label = self.label(if at == 0 { b'{' } else { b',' }, &field.name)?;
            parts.push(Part { label, node: self.node(&field.schema)? });
        }
        self.parts(parts)
    }

    fn union(&mut self, union: &'a UnionSchema) -> Result<Node, BadSchema> {
        let mut parts = Vec::with_capacity(union.variants().len());
        for branch in union.variants() {
            let label = self.label(b'{', branch_name(branch))?;
            parts.push(Part { label, node: self.node(branch)? });
        }
        let parts = self.parts(parts)?;
        Ok(match self.options.avro_json {
            AvroJson::Plain => Node::Union(parts),
            AvroJson::Avro => Node::NamedUnion(parts),
        })
    }

    fn parts(&mut self, parts: Vec<Part>) -> Result<Run, BadSchema> {
        let run = Run { first: number(self.program.parts.len())?, len: number(parts.len())? };
        self.program.parts.extend(parts);
        Ok(run)
    }

    fn symbols(&mut self, symbols: &[String]) -> Result<Run, BadSchema> {
        let run = Run { first: number(self.program.symbols.len())?, len: number(symbols.len())? };
        for symbol in symbols {
            let text = self.text(|texts| put_string(texts, symbol))?;
            self.program.symbols.push(text);
        }
        Ok(run)
    }

    fn label(&mut self, before: u8, name: &str) -> Result<Run, BadSchema> {
        self.text(|texts| {
            texts.push(before);
            put_string(texts, name);
            texts.push(b':');
        })
    }

    fn text(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<Run, BadSchema> {
        let texts = &mut self.program.texts;
        let first = texts.len();
        put(texts);
        Ok(Run { first: number(first)?, len: number(texts.len() - first)? })
    }
}

/// What the JSON encoding calls a branch: the name of its type, which is the full one for a named type.
fn branch_name(schema: &Schema) -> &str {
    if let Some(name) = schema.name() {
        return name.as_ref();
    }
    match schema {
        Schema::Null => "null",
        Schema::Boolean => "boolean",
        Schema::Int | Schema::Date | Schema::TimeMillis => "int",
        Schema::Float => "float",
        Schema::Double => "double",
        Schema::String | Schema::Uuid(UuidSchema::String) => "string",
        Schema::Bytes | Schema::Decimal(_) | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => "bytes",
        Schema::Array(_) => "array",
        Schema::Map(_) => "map",
        Schema::Union(_) => "union",
        // What remains are longs, and named types.
        _ => "long",
    }
}

fn scaled(decimal: &DecimalSchema) -> Node {
    let scale = most(decimal.scale);
    match &decimal.inner {
        InnerDecimalSchema::Bytes => Node::Decimal { scale },
        InnerDecimalSchema::Fixed(fixed) => Node::DecimalFixed { scale, size: most(fixed.size) },
    }
}

/// A size or a scale. More than this is more than any value may have, and no value is decoded with it.
fn most(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// A place in a table. Schemas are bounded, so that all fit.
fn number(at: usize) -> Result<u32, BadSchema> {
    u32::try_from(at).map_err(|_| BadSchema("the schema is too large".to_owned()))
}

/// Has the parser take all names. Java's, by which registries check, allows letters that the specification does not; what a
/// registry has accepted is to be read.
fn accept_all_names() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // They fail if there are validators already, which then hold.
        let _ = set_schema_name_validator(Box::new(AllNames));
        let _ = set_schema_namespace_validator(Box::new(AllNames));
        let _ = set_enum_symbol_name_validator(Box::new(AllNames));
        let _ = set_record_field_name_validator(Box::new(AllNames));
    });
}

struct AllNames;

impl SchemaNameValidator for AllNames {
    /// Where the name begins, behind the namespace.
    fn validate(&self, name: &str) -> AvroResult<usize> {
        Ok(name.rfind('.').map_or(0, |dot| dot + 1))
    }
}

impl SchemaNamespaceValidator for AllNames {
    fn validate(&self, _: &str) -> AvroResult<()> {
        Ok(())
    }
}

impl EnumSymbolNameValidator for AllNames {
    fn validate(&self, _: &str) -> AvroResult<()> {
        Ok(())
    }
}

impl RecordFieldNameValidator for AllNames {
    fn validate(&self, _: &str) -> AvroResult<()> {
        Ok(())
    }
}
