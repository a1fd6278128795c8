//! From librdkafka's messages to records of the bridge: key and value by their formats, then tenant and event type by the rules.
//!
//! It is done once, at the append, alike for the tail and for reads of history. What is decoded depends on the record, the
//! settings and the schema alone. A record whose schema is not known yet ends a batch before it: whoever reads holds it back.

mod half;
mod limiter;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tailrace_bridge::{
    EventTypeRule, Flaw, Form, Half, Headers, JsonPointer, NewRecord, RawRecord, TenantNames, TenantRules,
    ValueForm,
};
use tailrace_formats::confluent::SchemaId;

use half::{Bytes, Decoded, Halves, Miss, Recent, Source};
use limiter::Limiter;

use crate::metrics;
use crate::native::Message;
use crate::registry::{Look, Registry};
use crate::settings::{DataSettings, Format};

/// Decoded text that is appended at once, in bytes: a few bytes can stand for many, and a batch has hundreds of records.
const MAX_TEXT: usize = 1 << 20;
/// Records behind one that is held back whose schemas are asked for together with its own.
const AHEAD: usize = 16;
/// How often one record's schema is looked for that somebody waits for.
const LOOK: Duration = Duration::from_millis(200);

/// Whether records that the rules cannot use are counted and logged. The tail does; a read of history does not do it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    Loudly,
    Silently,
}

/// What one thread keeps from batch to batch: names of tenants, and allocated memory. To allocate that much for each batch
/// makes glibc's allocator consolidate its free memory first, after which librdkafka's many small allocations cost more.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    names: TenantNames,
    recent: Recent,
    headers: Vec<u8>,
    text: Vec<u8>,
    parts: Vec<Parts>,
    records: Vec<NewRecord<'static>>,
}

/// One record's parts, as ranges: the memory that they are in grows until all records of a batch are decoded.
#[derive(Clone, Debug)]
struct Parts {
    headers: Range<usize>,
    key: Bytes,
    value: Bytes,
    form: Form,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Messages that were taken, from the first on.
    pub(crate) count: usize,
    /// Why the next one was not; `None`: whoever took them wanted no more.
    pub(crate) held: Option<Awaited>,
}

/// The schema that a record waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Awaited {
    pub(crate) schema: SchemaId,
    /// The record's, in milliseconds; -1: none.
    pub(crate) timestamp: i64,
}

/// What is known of one record beside its parts.
pub(crate) struct Examined<'a> {
    /// The schemas that key and value name.
    pub(crate) key_schema: Option<SchemaId>,
    pub(crate) value_schema: Option<SchemaId>,
    pub(crate) form: Form,
    /// Why a half cannot be decoded, in words.
    pub(crate) why: &'a str,
}

/// How key and value of one topic are decoded.
#[derive(Clone, Copy)]
struct Plan<'a> {
    key: &'a Format,
    value: &'a Format,
    pointer: Option<&'a JsonPointer>,
    /// Whether everything stands as it is.
    is_plain: bool,
}

/// The same vector with nothing in it, for things of another lifetime. The library collects in place where the layouts are
/// the same; where it did not, this would only cost an allocation.
fn emptied<T, U>(mut vector: Vec<T>) -> Vec<U> {
    vector.clear();
    vector.into_iter().map_while(|_| None).collect()
}

/// Applies formats and rules. Shared by the tail and by the readers of history, which must agree.
pub(crate) struct Decoder {
    rules: Arc<TenantRules>,
    event_type: EventTypeRule,
    data: DataSettings,
    registry: Option<Registry>,
    said: Limiter,
}

impl Decoder {
    pub(crate) fn new(
        rules: Arc<TenantRules>,
        event_type: EventTypeRule,
        data: DataSettings,
        registry: Option<Registry>,
    ) -> Decoder {
        Decoder { rules, event_type, data, registry, said: Limiter::default() }
    }

    pub(crate) fn registry(&self) -> Option<&Registry> {
        self.registry.as_ref()
    }

    /// Whether the record still waits. Its schema is asked for on.
    pub(crate) fn is_awaited(&self, awaited: Awaited) -> bool {
        let look = |registry: &Registry| registry.look(awaited.schema, awaited.timestamp);
        self.registry.as_ref().is_some_and(|registry| matches!(look(registry), Look::Pending))
    }

    /// Why it waits, for people.
    pub(crate) fn why(&self, awaited: Awaited) -> String {
        self.registry.as_ref().map(|registry| registry.why(awaited.schema)).unwrap_or_default()
    }

    /// What rules get of one record, and why it cannot be decoded, for people. Waits for its schema for so long; what it waits for
    /// then is in its place. Nothing is counted.
    pub(crate) fn examine<T>(
        &self,
        topic: &str,
        message: &mut Message,
        patience: Duration,
        look: impl FnOnce(&RawRecord<'_>, &Examined<'_>) -> T,
    ) -> Result<T, Awaited> {
        let (plan, until) = (self.plan(topic), Instant::now() + patience);
        let (mut own, mut recent, mut text) = (Vec::new(), Recent::default(), Vec::new());
        message.read_headers(&mut own);
        let headers = Headers::written(&own);
        let (key, value, form, why) = loop {
            let answers = self.registry.as_ref().map_or(0, Registry::answers);
            let registry = self.registry.as_ref();
            text.clear();
            let mut halves =
                Halves { registry, options: self.data.options, recent: &mut recent, text: &mut text };
            let schema = match decoded(&mut halves, plan, message, headers) {
                Ok(decoded) => break decoded,
                Err(schema) => schema,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Awaited { schema, timestamp: message.timestamp() });
            }
            registry.inspect(|registry| registry.wait(answers, left.min(LOOK)));
        };
        let schema_of = |half, format: &Format| {
            let source = source(half, message, headers).filter(|_| format.may_be_registered());
            source.filter(|_| self.registry.is_some()).and_then(half::schema_of)
        };
        let examined = Examined {
            key_schema: schema_of(Half::Key, plan.key),
            value_schema: schema_of(Half::Value, plan.value),
            form,
            why: &why,
        };
        let raw = RawRecord {
            key: piece(&key, message.key(), &text),
            value: piece(&value, message.value(), &text),
            headers,
            flaw: form.flaw,
        };
        Ok(look(&raw, &examined))
    }

    /// The formats that the settings have for keys and values of a topic; `None`: both stand as they are.
    pub(crate) fn formats(&self, topic: &str) -> Option<[&'static str; 2]> {
        let plan = self.plan(topic);
        (!plan.is_plain).then(|| [plan.key.name(), plan.value.name()])
    }

    /// The records of messages of one topic, in their order; those of no tenant are left out. `take` gets them in one or several
    /// runs, each with its last message, and says whether it wants more.
    ///
    /// The headers of messages that were taken are gone from these.
    pub(crate) fn batch(
        &self,
        topic: &str,
        messages: &mut [Message],
        scratch: &mut Scratch,
        tell: Tell,
        mut take: impl FnMut(&[NewRecord<'_>], &Message) -> bool,
    ) -> Taken {
        let (plan, mut count) = (self.plan(topic), 0);
        while count < messages.len() {
            let rest = &mut messages[count..];
            let (ready, held) = if plan.is_plain {
                (plain(rest, scratch), None)
            } else {
                self.decode(topic, plan, rest, scratch, tell)
            };
            count += ready;
            if let Some(last) = rest[..ready].last() {
                let wants_more =
                    self.route(topic, &rest[..ready], scratch, tell, |records| take(records, last));
                if !wants_more {
                    return Taken { count, held: None };
                }
            }
            if held.is_some() {
                return Taken { count, held };
            }
        }
        Taken { count, held: None }
    }

    fn plan(&self, topic: &str) -> Plan<'_> {
        let (key, value) = (self.data.key.of(topic), self.data.value.of(topic));
        let pointer = self.data.pointer.of(topic).as_ref();
        let is_plain = |format| matches!(format, &Format::Auto) && self.registry.is_none();
        Plan { key, value, pointer, is_plain: is_plain(key) && is_plain(value) && pointer.is_none() }
    }

    /// Decodes messages up to the first that has to wait, or until there is enough text. Gives their number.
    fn decode(
        &self,
        topic: &str,
        plan: Plan<'_>,
        messages: &mut [Message],
        scratch: &mut Scratch,
        tell: Tell,
    ) -> (usize, Option<Awaited>) {
        let Scratch { recent, headers, text, parts, .. } = scratch;
        headers.clear();
        text.clear();
        text.shrink_to(MAX_TEXT);
        parts.clear();
        for index in 0..messages.len() {
            if text.len() >= MAX_TEXT {
                return (index, None);
            }
            let message = &mut messages[index];
            let begin = headers.len();
            message.read_headers(headers);
            let mut halves =
                Halves { registry: self.registry.as_ref(), options: self.data.options, recent, text };
            let own = Headers::written(&headers[begin..]);
            match decoded(&mut halves, plan, message, own) {
                Ok((key, value, form, why)) => {
                    if let (Some(flaw), Tell::Loudly) = (form.flaw, tell) {
                        self.say_flaw(topic, flaw, message, &why);
                    }
                    message.drop_headers();
                    parts.push(Parts { headers: begin..headers.len(), key, value, form });
                }
                Err(schema) => {
                    let awaited = Awaited { schema, timestamp: message.timestamp() };
                    self.ask_ahead(plan, &mut messages[index + 1..], headers);
                    return (index, Some(awaited));
                }
            }
        }
        (messages.len(), None)
    }

    /// The schemas of the next records are wanted soon, too.
    fn ask_ahead(&self, plan: Plan<'_>, messages: &mut [Message], headers: &mut Vec<u8>) {
        let Some(registry) = &self.registry else { return };
        for message in messages.iter_mut().take(AHEAD) {
            let begin = headers.len();
            message.read_headers(headers);
            let own = Headers::written(&headers[begin..]);
            for (half, format) in [(Half::Key, plan.key), (Half::Value, plan.value)] {
                let source = source(half, message, own).filter(|_| format.may_be_registered());
                if let Some(id) = source.and_then(half::schema_of) {
                    registry.look(id, message.timestamp());
                }
            }
        }
    }

    /// Gives records their tenants and event types, and hands them on.
    fn route<T>(
        &self,
        topic: &str,
        messages: &[Message],
        scratch: &mut Scratch,
        tell: Tell,
        take: impl FnOnce(&[NewRecord<'_>]) -> T,
    ) -> T {
        let Scratch { names, headers, text, parts, records: kept_records, .. } = scratch;
        let mut records = emptied(std::mem::take(kept_records));
        for (message, parts) in messages.iter().zip(&*parts) {
            let raw = RawRecord {
                key: piece(&parts.key, message.key(), text),
                value: piece(&parts.value, message.value(), text),
                headers: Headers::written(&headers[parts.headers.clone()]),
                flaw: parts.form.flaw,
            };
            records.extend(self.record(topic, message, raw, parts.form, names, tell));
        }
        let result = take(&records);
        *kept_records = emptied(records);
        result
    }
    fn record<'a>(
        &self,
        topic: &str,
        message: &Message,
        raw: RawRecord<'a>,
        form: Form,
        names: &mut TenantNames,
        tell: Tell,
    ) -> Option<NewRecord<'a>> {
        let tenant = match self.rules.tenant_of(topic, &raw, names) {
            Ok(tenant) => tenant,
            Err(error) => {
                if tell == Tell::Loudly {
                    metrics::unroutable(topic, error.reason());
                    self.say(topic, error.reason(), message, &error.to_string());
                }
                return None;
            }
        };
        let event_type = self.event_type.event_type_of(topic, &raw).unwrap_or_else(|reason| {
            if tell == Tell::Loudly {
                metrics::undecodable(topic, reason);
                self.say(topic, reason, message, &format!("its event type is not used: {}", words(reason)));
            }
            None
        });
        Some(NewRecord {
            offset: message.offset(),
            epoch: message.leader_epoch(),
            timestamp: message.timestamp(),
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
            tenant,
            event_type: event_type.map(Cow::Owned),
            form,
        })
    }

    fn say_flaw(&self, topic: &str, flaw: Flaw, message: &Message, why: &str) {
        let code = flaw.code.as_str();
        metrics::undecodable(topic, code);
        let half = if flaw.half == Half::Key { "key" } else { "value" };
        self.say(topic, code, message, &format!("its {half} cannot be decoded ({code}): {why}"));
    }

    fn say(&self, topic: &str, reason: &'static str, message: &Message, text: &str) {
        if self.said.allows(topic, reason, Instant::now()) {
            tracing::warn!("{}", line(topic, message.partition(), message.offset(), text));
        }
    }
}

/// Messages of which everything stands as it is. Gives their number.
fn plain(messages: &mut [Message], scratch: &mut Scratch) -> usize {
    let Scratch { headers, parts, .. } = scratch;
    // All headers first, in one piece of memory: records hold slices of it.
    headers.clear();
    parts.clear();
    for message in &mut *messages {
        let begin = headers.len();
        message.take_headers(headers);
        let all = |bytes: Option<&[u8]>| bytes.map_or(Bytes::None, |bytes| Bytes::Raw(0..bytes.len()));
        let (key, value) = (all(message.key()), all(message.value()));
        parts.push(Parts { headers: begin..headers.len(), key, value, form: Form::default() });
    }
    messages.len()
}

/// A half of a message, if it has it.
fn source<'a>(half: Half, message: &'a Message, headers: Headers<'a>) -> Option<Source<'a>> {
    let bytes = if half == Half::Key { message.key() } else { message.value() };
    bytes.map(|bytes| Source { half, bytes, headers, timestamp: message.timestamp() })
}

/// Both halves of a message, with what is said of them; or the schema that they wait for. A half that cannot be decoded keeps its
/// bytes; the last text says why.
fn decoded(
    halves: &mut Halves<'_>,
    plan: Plan<'_>,
    message: &Message,
    headers: Headers<'_>,
) -> Result<(Bytes, Bytes, Form, String), SchemaId> {
    let (mut form, mut words) = (Form::default(), String::new());
    let mut settled = |half, bytes: &[u8], result| match result {
        Ok(decoded) => Ok(decoded),
        Err(Miss::Pending(schema)) => Err(schema),
        Err(Miss::Flaw(code, why)) => {
            // The value comes last: of two, it is told of.
            let half = if form.flaw.is_some() { Half::Both } else { half };
            (form.flaw, words) = (Some(Flaw { half, code }), why);
            Ok(Decoded { bytes: Bytes::Raw(0..bytes.len()), form: ValueForm::Unknown })
        }
    };
    let (mut key, mut value) = (Decoded::default(), Decoded::default());
    if let Some(source) = source(Half::Key, message, headers) {
        let result = halves.key(plan.key, source);
        key = settled(Half::Key, source.bytes, result)?;
    }
    if let Some(source) = source(Half::Value, message, headers) {
        let result = halves.value(plan.value, plan.pointer, source);
        value = settled(Half::Value, source.bytes, result)?;
    }
    form.value = value.form;
    form.binary_key = key.form == ValueForm::Binary;
    Ok((key.bytes, value.bytes, form, words))
}

/// The bytes of a half.
fn piece<'a>(bytes: &Bytes, raw: Option<&'a [u8]>, text: &'a [u8]) -> Option<&'a [u8]> {
    match bytes {
        Bytes::None => None,
        Bytes::Raw(range) => raw.and_then(|raw| raw.get(range.clone())),
        Bytes::Text(range) => text.get(range.clone()),
    }
}

/// `orders[3]@1042: no header "tenant"; headers present: org, trace`
fn line(topic: &str, partition: i32, offset: u64, text: &str) -> String {
    format!("{topic}[{partition}]@{offset}: {text}")
}

fn words(reason: &str) -> &str {
    match reason {
        "reserved" => "the name is reserved",
        "line_end" => "it holds a line end",
        "not_utf8" => "it is not UTF-8",
        "too_long" => "it is too long",
        other => other,
    }
}

#[cfg(test)]
mod tests;
