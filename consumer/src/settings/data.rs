//! What becomes of keys and values: formats, and the registry that has their schemas.

use tailrace_bridge::JsonPointer;
use tailrace_formats::{AvroJson, Int64, Options};

use super::error::{SettingsError, refusal};
use super::format::Format;
use super::per_topic::PerTopic;
use super::registry::{self, RegistrySettings};
use crate::selection::TopicSelection;

const VALUE_FORMAT: &str = "TAILRACE_VALUE_FORMAT";
const KEY_FORMAT: &str = "TAILRACE_KEY_FORMAT";
const VALUE_POINTER: &str = "TAILRACE_VALUE_POINTER";
const POINTERS: &str =
    "accepted: a JSON pointer to the part that becomes the value, such as /after; TOPIC=/after for one topic";

/// The settings of formats, as flags and variables.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Data")]
#[group(skip)]
pub(super) struct DataArgs {
    /// What values are: `auto`, `json`, `text`, `bytes`, `avro`, `protobuf`, `json_schema`, `msgpack`, `avro:FILE`,
    /// `protobuf:DESCRIPTOR_SET#Message`; `TOPIC=FORMAT` for one topic, comma-separated. `auto` decodes what names a schema of
    /// the registry, and leaves the rest as it is
    #[arg(long, env = "TAILRACE_VALUE_FORMAT", default_value = "auto", value_name = "FORMATS")]
    value_format: String,
    /// What keys are, likewise. A key that is decoded is shown as text
    #[arg(long, env = "TAILRACE_KEY_FORMAT", default_value = "auto", value_name = "FORMATS")]
    key_format: String,
    /// The part of a decoded value that becomes the value, as a JSON pointer: `/after`; `TOPIC=/after` for one topic,
    /// comma-separated. null there is a tombstone
    #[arg(long, env = "TAILRACE_VALUE_POINTER", default_value = "", value_name = "POINTERS")]
    value_pointer: String,
    /// How Avro is written as JSON: `plain` (union branches bare, bytes as base64, decimals as strings, dates and times by
    /// ISO 8601), or `avro` (the encoding of Avro's specification)
    #[arg(long, env = "TAILRACE_AVRO_JSON", default_value = "plain", value_name = "WAY")]
    avro_json: String,
    /// How 64-bit integers are written as JSON: `number`, of which JavaScript rounds those above 2^53, or `string`
    #[arg(long, env = "TAILRACE_INT64", default_value = "number", value_name = "WAY")]
    int64: String,
    #[command(flatten)]
    registry: registry::Args,
}

/// What becomes of keys and values. The default: they stand as they are.
#[derive(Clone, Debug, Default)]
pub struct DataSettings {
    pub(crate) value: PerTopic<Format>,
    pub(crate) key: PerTopic<Format>,
    pub(crate) pointer: PerTopic<Option<JsonPointer>>,
    pub(crate) options: Options,
    pub(crate) registry: Option<RegistrySettings>,
}

impl DataArgs {
    pub(super) fn settings(&self, topics: &TopicSelection) -> Result<DataSettings, SettingsError> {
        let options = Options { int64: int64(&self.int64)?, avro_json: avro_json(&self.avro_json)? };
        let registry = self.registry.settings()?;
        let formats = |variable: &str, text: &str| {
            let read = PerTopic::parse(text, Format::Auto, |text| Format::parse(text, options));
            let formats =
                read.map_err(|why| refusal(variable, text, accepted(&why, super::format::ACCEPTED)))?;
            check_topics(variable, text, formats.topics(), topics)?;
            let idle = formats.values().find(|format| format.needs_registry() && registry.is_none());
            let refused = idle.map(|format| refusal(variable, text, without_registry(format)));
            refused.map_or(Ok(formats), Err)
        };
        let (value, key) =
            (formats(VALUE_FORMAT, &self.value_format)?, formats(KEY_FORMAT, &self.key_format)?);
        let pointer = pointers(&self.value_pointer)?;
        check_topics(VALUE_POINTER, &self.value_pointer, pointer.topics(), topics)?;
        Ok(DataSettings { value, key, pointer, options, registry })
    }
}

fn without_registry(format: &Format) -> String {
    let name = format.name();
    let file = match name {
        "avro" => ", or avro:FILE",
        "protobuf" => ", or protobuf:DESCRIPTOR_SET#Message",
        _ => "",
    };
    format!("{name} needs a registry; accepted: {name} with TAILRACE_SCHEMA_REGISTRY_URL{file}")
}

/// A reason with what is accepted, unless the reason says so itself.
fn accepted(why: &str, accepted: &str) -> String {
    if why.contains("accepted: ") { why.to_owned() } else { format!("{why}; {accepted}") }
}

/// A topic that is not served is most likely misspelt.
pub(super) fn check_topics<'a>(
    variable: &str,
    text: &str,
    mut named: impl Iterator<Item = &'a str>,
    served: &TopicSelection,
) -> Result<(), SettingsError> {
    named.find(|topic| !served.selects(topic)).map_or(Ok(()), |topic| {
        let why = format!("the topic {topic} is not served; accepted: topics of TAILRACE_TOPICS={served}");
        Err(refusal(variable, text, why))
    })
}

fn pointers(text: &str) -> Result<PerTopic<Option<JsonPointer>>, SettingsError> {
    if text.trim().is_empty() {
        return Ok(PerTopic::default());
    }
    let read = |text: &str| match JsonPointer::parse(text) {
        Ok(_) if text.is_empty() => Err("an empty pointer is the whole value".to_owned()),
        Ok(pointer) => Ok(Some(pointer)),
        Err(why) => Err(why),
    };
    PerTopic::parse(text, None, read).map_err(|why| refusal(VALUE_POINTER, text, accepted(&why, POINTERS)))
}

fn int64(text: &str) -> Result<Int64, SettingsError> {
    match text {
        "number" => Ok(Int64::Number),
        "string" => Ok(Int64::String),
        other => Err(refusal("TAILRACE_INT64", other, "number, string")),
    }
}

fn avro_json(text: &str) -> Result<AvroJson, SettingsError> {
    match text {
        "plain" => Ok(AvroJson::Plain),
        "avro" => Ok(AvroJson::Avro),
        other => Err(refusal("TAILRACE_AVRO_JSON", other, "plain, avro")),
    }
}
