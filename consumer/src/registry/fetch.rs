//! One schema with all that it refers to, from whichever address has it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::Url;
use tailrace_formats::Options;
use tailrace_formats::confluent::SchemaId;

use super::client::{Answer, Asker, MAX_ANSWER, Miss};
use super::known::Outcome;
use super::schema::{Schema, Text};
use crate::metrics;
use crate::settings::{Kind, RegistrySettings};

/// The most schemas that one may refer to, itself or through others.
const MAX_REFERENCES: usize = 1_000;
/// An address that failed is asked last for so long.
const AVOID: Duration = Duration::from_secs(30);

/// Fetches schemas.
pub(super) struct Fetcher {
    asker: Asker,
    addresses: Vec<Address>,
    options: Options,
}

struct Address {
    url: Url,
    failed: Mutex<Option<Instant>>,
}

impl Fetcher {
    /// # Errors
    /// Settings that make no client.
    pub(super) fn new(settings: &RegistrySettings, options: Options) -> Result<Fetcher, reqwest::Error> {
        let address = |url: &Url| Address { url: url.clone(), failed: Mutex::new(None) };
        let addresses = settings.urls.iter().map(address).collect();
        Ok(Fetcher { asker: Asker::new(settings)?, addresses, options })
    }

    /// Asks one address after the other until one has the schema. That it is not there is only known where all say so: a follower
    /// may not have it yet.
    pub(super) async fn fetch(&self, id: SchemaId) -> Outcome {
        let mut failure: Option<Arc<str>> = None;
        for address in self.in_order() {
            match self.fetch_from(&address.url, id).await {
                Ok(text) => {
                    metrics::registry_asked("ok");
                    return Outcome::Found(text.parse(self.options), text.size());
                }
                Err(Miss::TooLarge) => {
                    metrics::registry_asked("ok");
                    return Outcome::Found(Schema::Bad(Miss::TooLarge.to_string()), 0);
                }
                Err(Miss::Absent) => metrics::registry_asked("absent"),
                Err(Miss::Failed(why)) => {
                    metrics::registry_asked("failed");
                    *address.failed.lock() = Some(Instant::now());
                    failure.get_or_insert_with(|| format!("{} {why}", address.name()).into());
                }
            }
        }
        failure.map_or(Outcome::Absent, Outcome::Failed)
    }

    /// The subjects and versions of a schema, for people.
    pub(super) async fn names(&self, id: SchemaId) -> Vec<String> {
        for address in self.in_order() {
            let names = self.asker.names(&address.url, id).await;
            if !names.is_empty() {
                return names;
            }
        }
        Vec::new()
    }

    /// Why each address cannot be asked that cannot, in words.
    pub(super) async fn probe(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for address in &self.addresses {
            if let Err(why) = self.asker.probe(&address.url).await {
                problems.push(format!("{} {why}", address.name()));
            }
        }
        problems
    }

    fn in_order(&self) -> Vec<&Address> {
        let mut addresses: Vec<&Address> = self.addresses.iter().collect();
        addresses.sort_by_key(|address| address.failed.lock().is_some_and(|at| at.elapsed() < AVOID));
        addresses
    }

    async fn fetch_from(&self, base: &Url, id: SchemaId) -> Result<Text, Miss> {
        let Answer { schema, schema_type, references } = self.asker.schema(base, id).await?;
        let mut text = Text { kind: schema_type, main: schema, references: Vec::new() };
        // Documents of JSON Schema are not held against their schema.
        if !matches!(text.kind(), Some(Kind::Avro | Kind::Protobuf)) {
            return Ok(text);
        }
        let mut names: HashSet<String> = HashSet::new();
        let mut left = VecDeque::from(references);
        while let Some(reference) = left.pop_front() {
            if !names.insert(reference.name.clone()) {
                continue;
            }
            let answer = self.asker.reference(base, &reference).await?;
            text.references.push((reference.name, answer.schema));
            if names.len() > MAX_REFERENCES || text.size() > MAX_ANSWER {
                return Err(Miss::TooLarge);
            }
            left.extend(answer.references);
        }
        Ok(text)
    }
}

impl Address {
    /// For people. A path may hold a name that is nobody's business.
    fn name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}
