//! The format of keys or values: what is to be made of their bytes.

use std::fmt;
use std::sync::Arc;

use tailrace_formats::{BadSchema, Options, avro, protobuf};

pub(super) const ACCEPTED: &str = "accepted: auto, json, text, bytes, avro, protobuf, json_schema, msgpack, avro:FILE, \
     protobuf:DESCRIPTOR_SET#Message; several with commas between them, TOPIC=FORMAT for one topic";

/// What is to be made of bytes.
#[derive(Clone, Default)]
pub(crate) enum Format {
    /// With a registry, what says by which schema it was written is decoded; the rest stands as it is.
    #[default]
    Auto,
    /// It is a JSON document.
    Json,
    /// It is text, whatever it looks like.
    Text,
    /// It is binary, whatever it looks like.
    Bytes,
    /// It says by which schema of the registry it was written, and that is of this kind.
    Registered(Kind),
    /// It is a bare datum of this schema.
    Avro(Arc<avro::Schema>),
    /// It is a bare message of this type.
    Protobuf(protobuf::Message),
    Msgpack,
}

/// The kinds of schemas that a registry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Avro,
    Protobuf,
    Json,
}

impl Kind {
    /// The format's name in the settings.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Avro => "avro",
            Kind::Protobuf => "protobuf",
            Kind::Json => "json_schema",
        }
    }
}

impl Format {
    /// Reads one value of the setting, with the files that it names.
    pub(super) fn parse(text: &str, options: Options) -> Result<Format, String> {
        match text.split_once(':') {
            None => Format::named(text).ok_or_else(|| format!("{text:?} is no format; {ACCEPTED}")),
            Some(("avro", path)) => avro_file(path, options),
            Some(("protobuf", place)) => message(place, options),
            Some((name, _)) if Format::named(name).is_some() => {
                Err(format!("{name} has no file; {ACCEPTED}"))
            }
            Some(_) => Err(format!("{text:?} is no format; {ACCEPTED}")),
        }
    }

    fn named(name: &str) -> Option<Format> {
        Some(match name {
            "auto" => Format::Auto,
            "json" => Format::Json,
            "text" => Format::Text,
            "bytes" => Format::Bytes,
            "avro" => Format::Registered(Kind::Avro),
            "protobuf" => Format::Registered(Kind::Protobuf),
            "json_schema" => Format::Registered(Kind::Json),
            "msgpack" => Format::Msgpack,
            _ => return None,
        })
    }

    /// The name that the settings have for it, without a file.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Format::Auto => "auto",
            Format::Json => "json",
            Format::Text => "text",
            Format::Bytes => "bytes",
            Format::Registered(kind) => kind.as_str(),
            Format::Avro(_) => Kind::Avro.as_str(),
            Format::Protobuf(_) => Kind::Protobuf.as_str(),
            Format::Msgpack => "msgpack",
        }
    }

    /// Whether nothing can be decoded without a registry.
    pub(super) fn needs_registry(&self) -> bool {
        matches!(self, Format::Registered(_))
    }

    /// Whether bytes may say by which schema of a registry they were written.
    pub(crate) fn may_be_registered(&self) -> bool {
        matches!(self, Format::Auto | Format::Registered(_))
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn avro_file(path: &str, options: Options) -> Result<Format, String> {
    let accepted = "accepted: avro:FILE, a file with an Avro schema";
    let unread = |error: std::io::Error| format!("the file cannot be read: {error}; {accepted}");
    let text = std::fs::read_to_string(path).map_err(unread)?;
    let schema = avro::Schema::parse(&text, &[], options);
    let schema = schema
        .map_err(|BadSchema(why)| format!("the file has no schema that can be used: {why}; {accepted}"))?;
    Ok(Format::Avro(Arc::new(schema)))
}

fn message(place: &str, options: Options) -> Result<Format, String> {
    let accepted = "accepted: protobuf:FILE#Message, a descriptor set (protoc --include_imports --descriptor_set_out=FILE) and \
                    the full name of a message in it";
    let Some((path, name)) = place.rsplit_once('#') else {
        return Err(format!("no message is named; {accepted}"));
    };
    let unread = |error: std::io::Error| format!("the file cannot be read: {error}; {accepted}");
    let bytes = std::fs::read(path).map_err(unread)?;
    let schema = protobuf::Schema::from_descriptor_set(&bytes, options);
    let schema = schema.map_err(|BadSchema(why)| {
        format!("the file is no descriptor set that can be used: {why}; {accepted}")
    })?;
    let message = schema.message_by_name(name);
    message.map(Format::Protobuf).map_err(|BadSchema(why)| format!("{why} in the file; {accepted}"))
}
