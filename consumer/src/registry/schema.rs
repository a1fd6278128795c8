//! A schema that was parsed.

use tailrace_formats::{BadSchema, Options, avro, protobuf};

use crate::settings::Kind;

/// A schema of a registry, by which bytes can be decoded.
#[derive(Debug)]
pub(crate) enum Schema {
    Avro(avro::Schema),
    Protobuf(protobuf::Schema),
    /// Of JSON documents, which stand as they are: nothing of it is needed.
    Json,
    /// It cannot be used, and why. That is the same for every replica of this version.
    Bad(String),
}

/// A schema as the registry has it, with all that it refers to.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// `AVRO` where the registry does not say.
    pub(crate) kind: Option<String>,
    pub(crate) main: String,
    /// Names, as they are referred to, and texts.
    pub(crate) references: Vec<(String, String)>,
}

impl Text {
    /// The kind, if it is one that can be decoded.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self.kind.as_deref() {
            None | Some("AVRO") => Some(Kind::Avro),
            Some("PROTOBUF") => Some(Kind::Protobuf),
            Some("JSON") => Some(Kind::Json),
            Some(_) => None,
        }
    }

    /// Bytes of all texts.
    pub(crate) fn size(&self) -> usize {
        self.main.len() + self.references.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>()
    }

    pub(crate) fn parse(&self, options: Options) -> Schema {
        let references = self.references.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let parsed = match self.kind() {
            Some(Kind::Avro) => {
                let texts: Vec<&str> = references.map(|(_, text)| text).collect();
                avro::Schema::parse(&self.main, &texts, options).map(Schema::Avro)
            }
            Some(Kind::Protobuf) => {
                let files: Vec<(&str, &str)> = references.collect();
                protobuf::Schema::parse(&self.main, &files, options).map(Schema::Protobuf)
            }
            Some(Kind::Json) => Ok(Schema::Json),
            None => Err(BadSchema(format!(
                "the type {:?} is not known",
                self.kind.as_deref().unwrap_or_default()
            ))),
        };
        parsed.unwrap_or_else(|BadSchema(why)| Schema::Bad(why))
    }
}

impl Schema {
    /// Of what kind it is; `None`: of none that can be decoded.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Schema::Avro(_) => Some(Kind::Avro),
            Schema::Protobuf(_) => Some(Kind::Protobuf),
            Schema::Json => Some(Kind::Json),
            Schema::Bad(_) => None,
        }
    }
}
