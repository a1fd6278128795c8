//! One half of a record, its key or its value, by its format.

use std::ops::Range;
use std::sync::Arc;

use tailrace_bridge::{FlawCode, Half, Headers, JsonPointer, ValueForm};
use tailrace_formats::confluent::{Frame, KEY_HEADER, SchemaId, VALUE_HEADER, take_message_indexes};
use tailrace_formats::{Options, Undecodable, json_schema, msgpack};

use crate::registry::{Found, Look, Registry, Schema};
use crate::settings::{Format, Kind};

/// Schemas that a thread remembers without asking the registry's memory.
const MAX_RECENT: usize = 8;

/// The schemas that came last. For one thread.
#[derive(Debug, Default)]
pub(super) struct Recent {
    schemas: Vec<(SchemaId, Arc<Found>)>,
    next: usize,
}

/// The bytes of a half, and what is known of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Decoded {
    pub(super) bytes: Bytes,
    pub(super) form: ValueForm,
}

/// Where the bytes are.
#[derive(Clone, Debug, Default)]
pub(super) enum Bytes {
    /// There are none: a tombstone, or a record without a key.
    #[default]
    None,
    /// A part of what Kafka has.
    Raw(Range<usize>),
    /// A part of the text that was decoded.
    Text(Range<usize>),
}

/// Why a half is not decoded.
#[derive(Debug)]
pub(super) enum Miss {
    /// It cannot be: a code for clients, and words without values for the log.
    Flaw(FlawCode, String),
    /// Its schema is not known yet.
    Pending(SchemaId),
}

impl From<Undecodable> for Miss {
    fn from(why: Undecodable) -> Miss {
        let code = match why {
            Undecodable::Mismatch(_) => FlawCode::Mismatch,
            Undecodable::TooDeep => FlawCode::TooDeep,
            Undecodable::TooLong => FlawCode::TooLarge,
        };
        Miss::Flaw(code, why.to_string())
    }
}

fn flaw(code: FlawCode, why: impl Into<String>) -> Miss {
    Miss::Flaw(code, why.into())
}

/// A half as Kafka has it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) half: Half,
    pub(super) bytes: &'a [u8],
    pub(super) headers: Headers<'a>,
    /// The record's, in milliseconds; -1: none.
    pub(super) timestamp: i64,
}

/// What decodes halves.
pub(super) struct Halves<'a> {
    pub(super) registry: Option<&'a Registry>,
    pub(super) options: Options,
    pub(super) recent: &'a mut Recent,
    /// Where decoded text is appended. After an error it is as it was before.
    pub(super) text: &'a mut Vec<u8>,
}

impl Halves<'_> {
    /// The value by its format, and the part of it that is wanted.
    pub(super) fn value(
        &mut self,
        format: &Format,
        pointer: Option<&JsonPointer>,
        source: Source<'_>,
    ) -> Result<Decoded, Miss> {
        let decoded = self.decode(format, source)?;
        match pointer {
            Some(pointer) => self.part(pointer, decoded, source),
            None => Ok(decoded),
        }
    }

    /// The key by its format. Of JSON, a string is its text and null is no key: a key is text wherever it is shown.
    pub(super) fn key(&mut self, format: &Format, source: Source<'_>) -> Result<Decoded, Miss> {
        let decoded = self.decode(format, source)?;
        if decoded.form != ValueForm::Json {
            return Ok(decoded);
        }
        let json = self.bytes(&decoded, source).trim_ascii();
        let bytes = match json {
            b"null" => Bytes::None,
            [b'"', ..] => {
                let text = serde_json::from_slice::<String>(json);
                let text =
                    text.map_err(|_| flaw(FlawCode::Mismatch, "a string with half of a surrogate pair"))?;
                self.keep(text.as_bytes())
            }
            _ => return Ok(decoded),
        };
        Ok(Decoded { bytes, form: ValueForm::Unknown })
    }

    fn keep(&mut self, text: &[u8]) -> Bytes {
        let begin = self.text.len();
        self.text.extend_from_slice(text);
        Bytes::Text(begin..self.text.len())
    }

    fn bytes<'b>(&'b self, decoded: &Decoded, source: Source<'b>) -> &'b [u8] {
        match &decoded.bytes {
            Bytes::None => &[],
            Bytes::Raw(range) => source.bytes.get(range.clone()).unwrap_or_default(),
            Bytes::Text(range) => self.text.get(range.clone()).unwrap_or_default(),
        }
    }

    fn decode(&mut self, format: &Format, source: Source<'_>) -> Result<Decoded, Miss> {
        let raw = |form| Decoded { bytes: Bytes::Raw(0..source.bytes.len()), form };
        match format {
            Format::Auto if self.registry.is_none() => Ok(raw(ValueForm::Unknown)),
            Format::Auto => match self.registered(None, source)? {
                Some(decoded) => Ok(decoded),
                None => Ok(raw(ValueForm::Unknown)),
            },
            Format::Registered(kind) => self
                .registered(Some(*kind), source)?
                .ok_or_else(|| flaw(FlawCode::NoSchemaId, "it does not say by which schema it was written")),
            Format::Json => {
                json_schema::check(source.bytes).map(|_| raw(ValueForm::Json)).map_err(Miss::from)
            }
            Format::Text if std::str::from_utf8(source.bytes).is_err() => {
                Err(flaw(FlawCode::Mismatch, "it is not UTF-8"))
            }
            Format::Text => Ok(raw(ValueForm::Text)),
            Format::Bytes => Ok(raw(ValueForm::Binary)),
            Format::Avro(schema) => self.appended(|text| schema.decode(source.bytes, text)),
            Format::Protobuf(message) => self.appended(|text| message.decode(source.bytes, text)),
            Format::Msgpack => {
                let options = self.options;
                self.appended(|text| msgpack::decode(source.bytes, options, text))
            }
        }
    }

    /// What says by which schema of the registry it was written; `None` where it says nothing. `kind`: of what kind the schema has to
    /// be, where that is set.
    fn registered(&mut self, kind: Option<Kind>, source: Source<'_>) -> Result<Option<Decoded>, Miss> {
        let Some(Framed { frame, bare }) = framed(kind.is_some(), source)? else { return Ok(None) };
        let found = self.schema(frame.schema, source.timestamp)?;
        if let Schema::Bad(why) = &found.schema {
            return Err(flaw(FlawCode::BadSchema, format!("schema {} cannot be used: {why}", frame.schema)));
        }
        if kind.is_some_and(|kind| found.schema.kind() != Some(kind)) {
            let is = found.schema.kind().map_or("", Kind::as_str);
            return Err(flaw(FlawCode::OtherFormat, format!("schema {} is of {is}", frame.schema)));
        }
        let mut rest = frame.rest;
        match &found.schema {
            Schema::Avro(schema) => self.appended(|text| schema.decode(bare.unwrap_or(rest), text)),
            Schema::Protobuf(schema) => {
                let indexes = take_message_indexes(&mut rest)?;
                let message = schema.message_by_indexes(&indexes)?;
                self.appended(|text| message.decode(bare.unwrap_or(rest), text))
            }
            Schema::Json | Schema::Bad(_) => {
                let json = bare.unwrap_or(rest);
                json_schema::check(json)?;
                let bytes = Bytes::Raw(source.bytes.len() - json.len()..source.bytes.len());
                Ok(Decoded { bytes, form: ValueForm::Json })
            }
        }
        .map(Some)
    }

    fn schema(&mut self, id: SchemaId, timestamp: i64) -> Result<Arc<Found>, Miss> {
        let unknown = || flaw(FlawCode::UnknownSchema, format!("the registry has no schema {id}"));
        if let Some((_, found)) = self.recent.schemas.iter().find(|(known, _)| *known == id) {
            return if found.is_for(timestamp) { Ok(found.clone()) } else { Err(unknown()) };
        }
        let Some(registry) = self.registry.filter(|_| is_possible(id)) else { return Err(unknown()) };
        match registry.look(id, timestamp) {
            Look::Found(found) => {
                self.recent.note(id, &found);
                Ok(found)
            }
            Look::Unknown => Err(unknown()),
            Look::Pending => Err(Miss::Pending(id)),
        }
    }

    fn appended(
        &mut self,
        decode: impl FnOnce(&mut Vec<u8>) -> Result<(), Undecodable>,
    ) -> Result<Decoded, Miss> {
        let begin = self.text.len();
        match decode(self.text) {
            Ok(()) => Ok(Decoded { bytes: Bytes::Text(begin..self.text.len()), form: ValueForm::Json }),
            Err(why) => {
                self.text.truncate(begin);
                Err(why.into())
            }
        }
    }

    /// The part of a document. null is a tombstone.
    fn part(&self, pointer: &JsonPointer, decoded: Decoded, source: Source<'_>) -> Result<Decoded, Miss> {
        let whole = self.bytes(&decoded, source);
        let is_document = matches!(decoded.form, ValueForm::Unknown | ValueForm::Json);
        let part = pointer.part(whole).filter(|_| is_document);
        let part = part.ok_or_else(|| flaw(FlawCode::NoPart, "it has no part at TAILRACE_VALUE_POINTER"))?;
        if part == "null" {
            return Ok(Decoded::default());
        }
        // Both are parts of the same bytes.
        let begin = part.as_ptr() as usize - whole.as_ptr() as usize;
        let within = |range: &Range<usize>| range.start + begin..range.start + begin + part.len();
        let bytes = match &decoded.bytes {
            Bytes::None => Bytes::None,
            Bytes::Raw(range) => Bytes::Raw(within(range)),
            Bytes::Text(range) => Bytes::Text(within(range)),
        };
        Ok(Decoded { bytes, form: decoded.form })
    }
}

impl Recent {
    fn note(&mut self, id: SchemaId, found: &Arc<Found>) {
        if self.schemas.len() < MAX_RECENT {
            return self.schemas.push((id, found.clone()));
        }
        self.next = (self.next + 1) % MAX_RECENT;
        self.schemas[self.next] = (id, found.clone());
    }
}

/// By which schema something was written, and what.
struct Framed<'a> {
    frame: Frame<'a>,
    /// What was written, where a header has the id; else it is behind the id.
    bare: Option<&'a [u8]>,
}

/// `certainly`: the settings say that there is an id. Where they leave it open, bytes that begin as an id does and cannot be one,
/// such as a number of eight bytes, are something else.
fn framed(certainly: bool, source: Source<'_>) -> Result<Option<Framed<'_>>, Miss> {
    let name = if source.half == Half::Key { KEY_HEADER } else { VALUE_HEADER };
    if let Some(header) = source.headers.get(name) {
        let frame = Frame::of_header(header);
        let frame =
            frame.ok_or_else(|| flaw(FlawCode::Mismatch, format!("the header {name} holds no schema id")))?;
        return Ok(Some(Framed { frame, bare: Some(source.bytes) }));
    }
    let frame = Frame::of(source.bytes).filter(|frame| certainly || is_possible(frame.schema));
    Ok(frame.map(|frame| Framed { frame, bare: None }))
}

/// The schema that a half says it was written by, where that can be told without decoding it.
pub(super) fn schema_of(source: Source<'_>) -> Option<SchemaId> {
    let id = framed(false, source).ok()??.frame.schema;
    is_possible(id).then_some(id)
}

/// Whether a registry may have the id. Its ids begin with one, and are numbers of Java's 32 bits.
fn is_possible(id: SchemaId) -> bool {
    match id {
        SchemaId::Id(number) => (1..=i32::MAX as u32).contains(&number),
        SchemaId::Guid(_) => true,
    }
}
