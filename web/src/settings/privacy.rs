//! Settings of what tenants may see: sealed event ids, masked fields, and the headers of envelopes.

use std::path::Path;

use tailrace_bridge::{CloudEventsSource, IdKeys, MaskKey, Masks, Privacy};

use super::SettingError;
use super::value::{parse, wrong};
use crate::whole_file::{ReadError, read_text};

/// The most bytes that a file of keys may have: a larger one is another file.
const MAX_KEY_FILE: u64 = 64 * 1024;

#[derive(Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// File with the keys that event ids are sealed with, the same at all replicas: one a line, 32 bytes as hex or base64. The first line writes, every line reads; a line `unsealed` stands for ids without a seal
    #[arg(long = "id-key-file", env = "TAILRACE_ID_KEY_FILE", value_name = "PATH")]
    id_key_file: Option<String>,
    /// JSON fields that only tokens with the scope `event:unmask:{tenant}` show: `TOPIC=/json/pointer:redact`, `:remove` or `:hash`, comma-separated; `*` is every topic and, in a pointer, every name or element
    #[arg(long = "mask", env = "TAILRACE_MASK", default_value = "", value_name = "MASKS")]
    mask: String,
    /// File with the key of hashed fields, the same at all replicas: 32 bytes as hex or base64
    #[arg(long = "mask-key-file", env = "TAILRACE_MASK_KEY_FILE", value_name = "PATH")]
    mask_key_file: Option<String>,
    /// Headers that envelopes carry, and that filters may name, comma-separated; `*` is all, empty none
    #[arg(
        long = "envelope-headers",
        env = "TAILRACE_ENVELOPE_HEADERS",
        default_value = "*",
        value_name = "NAMES"
    )]
    envelope_headers: String,
    /// Attribute `source` of CloudEvents (`envelope=cloudevents`): a URI or a reference (RFC 3986) that stands for this Kafka cluster, the same at all replicas
    #[arg(
        long = "cloudevents-source",
        env = "TAILRACE_CLOUDEVENTS_SOURCE",
        default_value = CloudEventsSource::DEFAULT,
        value_name = "URI"
    )]
    cloudevents_source: String,
}

impl Args {
    pub(super) fn privacy(&self) -> Result<Privacy, SettingError> {
        let id_keys = key_file("TAILRACE_ID_KEY_FILE", self.id_key_file.as_deref(), IdKeys::parse)?;
        let headers = parse("TAILRACE_ENVELOPE_HEADERS", &self.envelope_headers)?;
        let source = parse("TAILRACE_CLOUDEVENTS_SOURCE", &self.cloudevents_source)?;
        Ok(Privacy { id_keys, masks: self.masks()?, headers, source })
    }

    fn masks(&self) -> Result<Masks, SettingError> {
        const FILE: &str = "TAILRACE_MASK_KEY_FILE";
        let mut masks: Masks = parse("TAILRACE_MASK", &self.mask)?;
        match key_file(FILE, self.mask_key_file.as_deref(), MaskKey::parse)? {
            Some(key) => masks.set_key(key),
            None if masks.hashes() => {
                let accepted = "a file with a key, since TAILRACE_MASK hashes fields; redact in place of hash needs none";
                return Err(wrong(FILE, "", accepted));
            }
            None => {}
        }
        Ok(masks)
    }

    /// Whether there is a key of hashes, and nothing is hashed.
    pub(super) fn has_idle_mask_key(&self, masks: &Masks) -> bool {
        self.mask_key_file.as_deref().is_some_and(|path| !path.is_empty()) && !masks.hashes()
    }
}

fn key_file<T>(
    variable: &'static str,
    path: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, SettingError> {
    let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(None) };
    let unreadable =
        |error: ReadError| wrong(variable, path, format!("a file of keys that can be read ({error})"));
    let text = read_text(Path::new(path), MAX_KEY_FILE).map_err(unreadable)?;
    parse(&text).map(Some).map_err(|why| wrong(variable, path, why))
}
