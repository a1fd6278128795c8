//! Which tenant a record belongs to, and under which SSE event type it goes out: both are told once, when it comes in.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};
use std::str::FromStr;
use std::sync::LazyLock;

use triomphe::ThinArc;

use crate::json::{Found, Pointer};
use crate::record::RawRecord;

/// Bytes of a tenant's name.
const MAX_TENANT: usize = 128;
/// Tenants that a thread remembers the names of: a power of two.
const MAX_NAMES: usize = 4096;
/// Bytes of an event type: it is repeated with every record.
const MAX_EVENT_TYPE: usize = 256;
/// How many names of headers a message tells, and how much of each.
const MAX_TOLD: usize = 16;
const MAX_TOLD_CHARS: usize = 64;
/// The tenant of everything under `none`.
const DEFAULT_TENANT: &str = "default";
const PLACEHOLDER: &str = "{tenant}";
const ACCEPTED: &str = "accepted: none, header:NAME, key, key:SEP, json:/pointer, topic:{tenant}.orders, fixed:NAME; \
     several with commas between them, TOPIC=RULE for one topic";
const ACCEPTED_TYPES: &str = "accepted: none, header:NAME, json:/pointer, topic, fixed:NAME";

/// The name of a tenant: UTF-8, 1 to 128 bytes, no control characters, not `*`.
///
/// It bears its hash: tenants are looked up with every record, by names that seldom change. As small as a pointer: each
/// segment has one for each tenant in it.
#[derive(Clone)]
pub struct TenantId(ThinArc<u64, u8>);

impl TenantId {
    /// Checks a name.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn new(name: &str) -> Result<TenantId, String> {
        match flaw(name) {
            Some(flaw) => Err(format!("a tenant's name {flaw}")),
            None => Ok(TenantId::of(name)),
        }
    }

    fn of(name: &str) -> TenantId {
        /// One for all, drawn by each process: nobody can choose names that collide.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        TenantId(ThinArc::from_header_and_slice(KEY.hash_one(name), name.as_bytes()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        // It was made of text.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// The hash of the name. It is another one in each process.
    pub(crate) fn hash_value(&self) -> u64 {
        self.0.header.header
    }
}

impl PartialEq for TenantId {
    fn eq(&self, other: &TenantId) -> bool {
        // Nearly always it is the very same text, or another tenant.
        self.0.as_ptr() == other.0.as_ptr()
            || (self.hash_value() == other.hash_value() && self.as_bytes() == other.as_bytes())
    }
}

impl Eq for TenantId {}

impl PartialOrd for TenantId {
    fn partial_cmp(&self, other: &TenantId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TenantId {
    fn cmp(&self, other: &TenantId) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for TenantId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash_value());
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({:?})", self.as_str())
    }
}

/// A map by tenant that takes the hash which the name bears.
pub(crate) type TenantMap<V> = HashMap<TenantId, V, BuildHasherDefault<BorneHash>>;

/// The hash of something that bears one.
#[derive(Debug, Default)]
pub(crate) struct BorneHash(u64);

impl Hasher for BorneHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The tenants that came last, so that the name of a next record is neither checked nor copied. For one thread.
#[derive(Debug)]
pub struct TenantNames {
    /// By a few bits of the name. Two that meet in one take turns; that costs time, nothing else.
    slots: Box<[Option<TenantId>]>,
}

impl Default for TenantNames {
    fn default() -> TenantNames {
        TenantNames { slots: vec![None; MAX_NAMES].into() }
    }
}

impl TenantNames {
    /// The tenant of that name, or what is wrong with it.
    fn tenant(&mut self, name: &[u8]) -> Result<TenantId, &'static str> {
        let slot = &mut self.slots[slot_of(name)];
        if let Some(tenant) = slot
            && tenant.as_bytes() == name
        {
            return Ok(tenant.clone());
        }
        let text = std::str::from_utf8(name).map_err(|_| "is not UTF-8")?;
        match flaw(text) {
            Some(flaw) => Err(flaw),
            None => Ok(slot.insert(TenantId::of(text)).clone()),
        }
    }
}

/// Cheap, and good enough for names that differ in a few digits.
fn slot_of(name: &[u8]) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, bytes: u64| (hash.rotate_left(5) ^ bytes).wrapping_mul(SPREAD);
    let (words, rest) = name.as_chunks::<8>();
    let hash = words.iter().fold(name.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let rest = rest.iter().fold(0, |rest, byte| rest << 8 | u64::from(*byte));
    (mix(hash, rest) >> (u64::BITS - MAX_NAMES.ilog2())) as usize
}

fn flaw(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        "*" => Some("is *, which is reserved"),
        _ if name.len() > MAX_TENANT => Some("is longer than 128 bytes"),
        _ if name.chars().any(char::is_control) => Some("has control characters"),
        _ => None,
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The value of `TAILRACE_TENANT_FROM`: rules in order, of which the first that gives a value wins.
///
/// A topic that has rules of its own (`TOPIC=RULE`) goes by these alone: no record is ever routed by a rule that was not
/// meant for its topic. A value that is there but cannot be a tenant's name ends the search: it is not passed over for
/// another rule's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRules {
    rules: Vec<(Option<String>, Rule)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    None(TenantId),
    Header(String),
    Key,
    KeyPrefix(String),
    Json { pointer: Pointer, text: String },
    Topic { prefix: String, suffix: String },
    Fixed(TenantId),
}

impl TenantRules {
    /// The tenant of a record. `names` are those of earlier records, whatever rules they came by.
    ///
    /// # Errors
    /// Why none of the topic's rules gives one.
    pub fn tenant_of(
        &self,
        topic: &str,
        record: &RawRecord<'_>,
        names: &mut TenantNames,
    ) -> Result<TenantId, Unroutable> {
        let mut failure = None;
        for rule in self.of_topic(topic) {
            match rule.tenant_of(topic, record, names) {
                Ok(tenant) => return Ok(tenant),
                Err(bad @ Unroutable::BadName { .. }) => return Err(bad),
                // The first failure is told, unless a later one knows better what the value is.
                Err(avro @ Unroutable::Avro { .. }) => failure = Some(avro),
                Err(other) => failure = failure.or(Some(other)),
            }
        }
        Err(failure.unwrap_or(Unroutable::NoRule))
    }

    /// Whether a record of the topic can belong to the tenant at all.
    pub fn can_yield(&self, topic: &str, tenant: &TenantId) -> bool {
        for rule in self.of_topic(topic) {
            match rule {
                // These give a value for each record, so no rule after them is ever asked.
                Rule::None(name) | Rule::Fixed(name) => return name == tenant,
                Rule::Topic { prefix, suffix } => {
                    if let Some(name) = between(topic, prefix, suffix) {
                        return name == tenant.as_str();
                    }
                }
                _ => return true,
            }
        }
        false
    }

    /// Whether there is only the one tenant, `default`.
    pub fn is_none(&self) -> bool {
        matches!(self.rules[..], [(None, Rule::None(_))])
    }

    fn of_topic<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Rule> {
        let of_it = move |only: &Option<String>| only.as_deref() == Some(topic);
        let own = self.rules.iter().any(|(only, _)| of_it(only));
        let counts = move |only: &Option<String>| if own { of_it(only) } else { only.is_none() };
        self.rules.iter().filter(move |(only, _)| counts(only)).map(|(_, rule)| rule)
    }
}

impl FromStr for TenantRules {
    type Err = String;

    fn from_str(text: &str) -> Result<TenantRules, String> {
        let mut rules = Vec::new();
        for item in text.split(',') {
            let (topic, rule) = split_topic(item.trim());
            let rule = rule.parse::<Rule>().map_err(|why| format!("{why}; {ACCEPTED}"))?;
            rules.push((topic.map(str::to_owned), rule));
        }
        let has_none = rules.iter().any(|(_, rule)| matches!(rule, Rule::None(_)));
        if has_none && (rules.len() > 1 || rules[0].0.is_some()) {
            return Err("none is for all records; accepted: none alone, or fixed:NAME for one topic or as the last rule".to_owned());
        }
        Ok(TenantRules { rules })
    }
}

/// `TOPIC=RULE`: what is left of the first `=` is a topic if it can be the name of one; a rule's colon cannot.
fn split_topic(item: &str) -> (Option<&str>, &str) {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match item.split_once('=') {
        Some((topic, rule)) if !topic.is_empty() && topic.bytes().all(legal) => (Some(topic), rule),
        _ => (None, item),
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Rule, String> {
        let (kind, argument) = match text.split_once(':') {
            Some((kind, argument)) => (kind, Some(argument)),
            None => (text, None),
        };
        match (kind, argument) {
            ("none", None) => Ok(Rule::None(TenantId::of(DEFAULT_TENANT))),
            ("key", None) => Ok(Rule::Key),
            (_, Some("")) => Err(format!("{text:?} lacks what comes after the colon")),
            ("header", Some(name)) => Ok(Rule::Header(name.to_owned())),
            ("key", Some(separator)) => Ok(Rule::KeyPrefix(separator.to_owned())),
            ("json", Some(pointer)) => {
                Ok(Rule::Json { pointer: Pointer::parse(pointer)?, text: pointer.to_owned() })
            }
            ("topic", Some(pattern)) => topic_pattern(pattern),
            ("fixed", Some(name)) => TenantId::new(name).map(Rule::Fixed),
            _ => Err(format!("{text:?} is not a rule")),
        }
    }
}

fn topic_pattern(pattern: &str) -> Result<Rule, String> {
    match pattern.split_once(PLACEHOLDER) {
        Some((prefix, suffix)) if !suffix.contains(PLACEHOLDER) => {
            Ok(Rule::Topic { prefix: prefix.to_owned(), suffix: suffix.to_owned() })
        }
        _ => Err(format!("{pattern:?} must have {PLACEHOLDER} in it once")),
    }
}

/// What stands between prefix and suffix, if it is not empty.
fn between<'a>(text: &'a str, prefix: &str, suffix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix)?.strip_suffix(suffix).filter(|middle| !middle.is_empty())
}

impl Rule {
    fn tenant_of(
        &self,
        topic: &str,
        record: &RawRecord<'_>,
        names: &mut TenantNames,
    ) -> Result<TenantId, Unroutable> {
        let found;
        let name = match self {
            Rule::None(tenant) | Rule::Fixed(tenant) => return Ok(tenant.clone()),
            Rule::Header(name) => present(record.headers.get(name)).ok_or_else(|| no_header(name, record))?,
            Rule::Key => present(record.key).ok_or(Unroutable::NoKey)?,
            Rule::KeyPrefix(separator) => {
                let prefix = key_prefix(record.key.ok_or(Unroutable::NoKey)?, separator.as_bytes());
                present(prefix).ok_or_else(|| Unroutable::NoSeparator { separator: separator.clone() })?
            }
            Rule::Json { pointer, text } => {
                found = json_name(pointer, text, record)?;
                found.as_bytes()
            }
            Rule::Topic { prefix, suffix } => {
                let no_match =
                    || Unroutable::NoTopicMatch { pattern: format!("{prefix}{PLACEHOLDER}{suffix}") };
                between(topic, prefix, suffix).ok_or_else(no_match)?.as_bytes()
            }
        };
        names.tenant(name).map_err(|flaw| Unroutable::BadName { flaw })
    }
}

/// Nothing, and an empty text, give no value.
fn present(bytes: Option<&[u8]>) -> Option<&[u8]> {
    bytes.filter(|bytes| !bytes.is_empty())
}

fn key_prefix<'a>(key: &'a [u8], separator: &[u8]) -> Option<&'a [u8]> {
    let at = key.windows(separator.len()).position(|window| window == separator)?;
    Some(&key[..at])
}

fn json_name<'a>(pointer: &Pointer, text: &str, record: &RawRecord<'a>) -> Result<Cow<'a, str>, Unroutable> {
    let no_field = || Unroutable::NoField { pointer: text.to_owned() };
    let value = record.value.ok_or_else(no_field)?;
    if let [0, a, b, c, d, ..] = *value {
        return Err(Unroutable::Avro { schema_id: u32::from_be_bytes([a, b, c, d]) });
    }
    match pointer.find(value) {
        Some(Found::Text(name)) if !name.is_empty() => Ok(name),
        Some(Found::Literal(name)) if name != "true" && name != "false" => Ok(name),
        Some(Found::Literal(_) | Found::Nested) => {
            Err(Unroutable::BadName { flaw: "is neither a string nor a number" })
        }
        _ => Err(no_field()),
    }
}

fn no_header(name: &str, record: &RawRecord<'_>) -> Unroutable {
    let told = |name: &str| name.chars().take(MAX_TOLD_CHARS).flat_map(char::escape_debug).collect();
    let mut names = record.headers.iter().map(|(name, _)| name);
    let mut present: Vec<String> = names.by_ref().take(MAX_TOLD).map(told).collect();
    if names.next().is_some() {
        present.push("…".to_owned());
    }
    Unroutable::NoHeader { name: name.to_owned(), present }
}

/// Why a record goes to nobody. Its text has names, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unroutable {
    /// The header is not there, or empty.
    NoHeader {
        /// The header that was looked for.
        name: String,
        /// The first of those that are there.
        present: Vec<String>,
    },
    /// The record has no key, or an empty one.
    NoKey,
    /// The key has nothing before a separator.
    NoSeparator {
        /// The separator that was looked for.
        separator: String,
    },
    /// The value is no JSON, or lacks the field.
    NoField {
        /// The field that was looked for.
        pointer: String,
    },
    /// A JSON field was looked for in a value of Confluent's wire format.
    Avro {
        /// The schema's id in the registry.
        schema_id: u32,
    },
    /// The topic's name is not of the pattern.
    NoTopicMatch {
        /// The pattern.
        pattern: String,
    },
    /// No rule is for the topic.
    NoRule,
    /// There is a value, but no tenant can have that name.
    BadName {
        /// What is wrong with it, after "the tenant's name".
        flaw: &'static str,
    },
}

impl Unroutable {
    /// All that [`Unroutable::reason`] gives.
    pub const REASONS: [&str; 8] =
        ["no_header", "no_key", "no_separator", "no_field", "avro", "no_topic_match", "no_rule", "bad_name"];

    /// A label for metrics, one of [`Unroutable::REASONS`].
    pub fn reason(&self) -> &'static str {
        match self {
            Unroutable::NoHeader { .. } => "no_header",
            Unroutable::NoKey => "no_key",
            Unroutable::NoSeparator { .. } => "no_separator",
            Unroutable::NoField { .. } => "no_field",
            Unroutable::Avro { .. } => "avro",
            Unroutable::NoTopicMatch { .. } => "no_topic_match",
            Unroutable::NoRule => "no_rule",
            Unroutable::BadName { .. } => "bad_name",
        }
    }
}

impl fmt::Display for Unroutable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unroutable::NoHeader { name, present } if present.is_empty() => {
                write!(f, "no header {name:?}; no headers present")
            }
            Unroutable::NoHeader { name, present } => {
                write!(f, "no header {name:?}; headers present: {}", present.join(", "))
            }
            Unroutable::NoKey => f.write_str("no key"),
            Unroutable::NoSeparator { separator } => write!(f, "nothing before {separator:?} in the key"),
            Unroutable::NoField { pointer } => write!(f, "no JSON field {pointer:?} in the value"),
            Unroutable::Avro { schema_id } => {
                write!(f, "the value is no JSON: looks like Avro, schema id {schema_id}")
            }
            Unroutable::NoTopicMatch { pattern } => {
                write!(f, "the topic's name is not of the pattern {pattern}")
            }
            Unroutable::NoRule => f.write_str("no rule for this topic"),
            Unroutable::BadName { flaw } => write!(f, "the tenant's name {flaw}"),
        }
    }
}

impl std::error::Error for Unroutable {}

/// The value of `TAILRACE_EVENT_TYPE_FROM`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventTypeRule(TypeRule);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum TypeRule {
    #[default]
    None,
    Header(String),
    Json(Pointer),
    Topic,
    Fixed(String),
}

impl EventTypeRule {
    /// Why a type that was found is not used.
    pub const REASONS: [&str; 4] = ["reserved", "line_end", "not_utf8", "too_long"];

    /// The SSE event type of a record; `None` where the rule finds nothing.
    ///
    /// # Errors
    /// Why what it finds is not used: one of [`EventTypeRule::REASONS`].
    pub fn event_type_of(&self, topic: &str, record: &RawRecord<'_>) -> Result<Option<String>, &'static str> {
        let found = match &self.0 {
            TypeRule::None => None,
            TypeRule::Header(name) => match record.headers.get(name).map(std::str::from_utf8) {
                Some(Err(_)) => return Err("not_utf8"),
                found => found.and_then(Result::ok).map(Cow::Borrowed),
            },
            TypeRule::Json(pointer) => match record.value.and_then(|value| pointer.find(value)) {
                Some(Found::Text(text) | Found::Literal(text)) => Some(text),
                _ => None,
            },
            TypeRule::Topic => Some(Cow::Borrowed(topic)),
            TypeRule::Fixed(name) => return Ok(Some(name.clone())),
        };
        match found.filter(|found| !found.is_empty()) {
            Some(found) => check_event_type(&found).map(|()| Some(found.into_owned())),
            None => Ok(None),
        }
    }
}

/// Whether the name means something already: to SSE, or as a control event.
pub(crate) fn is_reserved(event_type: &str) -> bool {
    event_type.starts_with("tailrace.") || matches!(event_type, "message" | "open" | "error")
}

/// An event type that can go on the wire: one line, and no name that means something already.
fn check_event_type(text: &str) -> Result<(), &'static str> {
    if text.contains(['\r', '\n']) {
        return Err("line_end");
    }
    if is_reserved(text) {
        return Err("reserved");
    }
    if text.len() > MAX_EVENT_TYPE { Err("too_long") } else { Ok(()) }
}

impl FromStr for EventTypeRule {
    type Err = String;

    fn from_str(text: &str) -> Result<EventTypeRule, String> {
        let (kind, argument) = text.split_once(':').unwrap_or((text, ""));
        let rule = match (kind, argument) {
            ("none", "") => TypeRule::None,
            ("topic", "") => TypeRule::Topic,
            ("header", name) if !name.is_empty() => TypeRule::Header(name.to_owned()),
            ("json", pointer) if !pointer.is_empty() => {
                TypeRule::Json(Pointer::parse(pointer).map_err(|why| format!("{why}; {ACCEPTED_TYPES}"))?)
            }
            ("fixed", name) if !name.is_empty() => match check_event_type(name) {
                Ok(()) => TypeRule::Fixed(name.to_owned()),
                Err(why) => {
                    return Err(format!("the event type {name:?} cannot be used: {why}; {ACCEPTED_TYPES}"));
                }
            },
            _ => return Err(format!("{text:?} is not a rule; {ACCEPTED_TYPES}")),
        };
        Ok(EventTypeRule(rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Headers, written_headers};

    fn rules(text: &str) -> TenantRules {
        text.parse().unwrap()
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn routed(text: &str, topic: &str, record: &RawRecord<'_>) -> String {
        match rules(text).tenant_of(topic, record, &mut TenantNames::default()) {
            Ok(tenant) => tenant.to_string(),
            Err(why) => format!("{}: {why}", why.reason()),
        }
    }

    static RECORD: LazyLock<RawRecord<'static>> = LazyLock::new(|| RawRecord {
        key: Some(b"acme:17"),
        value: Some(br#"{"org":{"id":"umbrella","n":17,"b":true,"z":null},"e":"created"}"#),
        headers: headers(&[("tenant", Some(b"first")), ("trace", None), ("tenant", Some(b"globex"))]),
    });

    fn headers(list: &[(&str, Option<&[u8]>)]) -> Headers<'static> {
        Headers::written(Vec::leak(written_headers(list)))
    }

    #[test]
    fn names_of_tenants_are_checked() {
        for good in ["a", "Ünïcode ✓", "a/b", &"x".repeat(128)] {
            assert_eq!(TenantId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "*", "a\nb", "\u{85}", &"x".repeat(129)] {
            assert!(TenantId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_meet_in_one_slot_are_told_apart() {
        let mut names = TenantNames::default();
        for round in 0..2 {
            for number in 0..3 * MAX_NAMES {
                let name = format!("tenant-{number}");
                let found = names.tenant(name.as_bytes()).unwrap();
                assert_eq!((found.as_str(), &found), (&*name, &tenant(&name)), "round {round}");
            }
        }
        assert!(names.tenant(b"*").is_err() && names.tenant(b"a\xff").is_err());
    }

    #[test]
    fn a_name_that_came_before_is_not_copied() {
        let mut names = TenantNames::default();
        let (first, second) = (names.tenant(b"acme").unwrap(), names.tenant(b"acme").unwrap());
        assert!(first.0.as_ptr() == second.0.as_ptr());
    }

    #[test]
    fn every_rule_finds_its_tenant() {
        assert_eq!(routed("none", "orders", &RECORD), "default");
        assert_eq!(routed("header:tenant", "orders", &RECORD), "globex");
        assert_eq!(routed("key", "orders", &RECORD), "acme:17");
        assert_eq!(routed("key::", "orders", &RECORD), "acme");
        assert_eq!(routed("json:/org/id", "orders", &RECORD), "umbrella");
        assert_eq!(routed("json:/org/n", "orders", &RECORD), "17");
        assert_eq!(routed("topic:{tenant}.orders", "acme.orders", &RECORD), "acme");
        assert_eq!(routed("fixed:everybody", "orders", &RECORD), "everybody");
    }

    #[test]
    fn the_first_rule_that_gives_a_value_wins() {
        assert_eq!(routed("header:org, json:/org/id,fixed:rest", "orders", &RECORD), "umbrella");
        assert_eq!(routed("header:org,json:/org/z,fixed:rest", "orders", &RECORD), "rest");
        assert_eq!(routed("header:trace,fixed:rest", "orders", &RECORD), "rest");
    }

    #[test]
    fn a_topic_with_its_own_rules_goes_by_them_alone() {
        let text = "header:tenant,audit=fixed:ops,audit-2=header:org,audit-2=key::";
        assert_eq!(routed(text, "orders", &RECORD), "globex");
        assert_eq!(routed(text, "audit", &RECORD), "ops");
        assert_eq!(routed(text, "audit-2", &RECORD), "acme");
        assert_eq!(routed("audit=key", "orders", &RECORD), "no_rule: no rule for this topic");
    }

    #[test]
    fn what_cannot_be_routed_is_said_with_names_and_never_values() {
        assert_eq!(
            routed("header:org", "orders", &RECORD),
            r#"no_header: no header "org"; headers present: tenant, trace, tenant"#
        );
        let empty = RawRecord::default();
        assert_eq!(
            routed("header:org", "orders", &empty),
            r#"no_header: no header "org"; no headers present"#
        );
        assert_eq!(routed("key", "orders", &empty), "no_key: no key");
        assert_eq!(routed("key:/", "orders", &RECORD), r#"no_separator: nothing before "/" in the key"#);
        assert_eq!(routed("json:/x", "orders", &RECORD), r#"no_field: no JSON field "/x" in the value"#);
        assert_eq!(
            routed("topic:{tenant}.x", "orders", &RECORD),
            "no_topic_match: the topic's name is not of the pattern {tenant}.x"
        );
        let avro = RawRecord { value: Some(b"\0\0\0\0\x11\x02a"), ..*RECORD };
        assert_eq!(
            routed("header:org,json:/x", "orders", &avro),
            "avro: the value is no JSON: looks like Avro, schema id 17"
        );
    }

    #[test]
    fn a_value_that_is_no_name_is_not_passed_over() {
        let bad = RawRecord { key: Some(b"\xff"), headers: headers(&[("t", Some(b"*"))]), ..*RECORD };
        assert_eq!(routed("key,fixed:x", "orders", &bad), "bad_name: the tenant's name is not UTF-8");
        assert_eq!(
            routed("header:t,fixed:x", "orders", &bad),
            "bad_name: the tenant's name is *, which is reserved"
        );
        for pointer in ["/org", "/org/b"] {
            assert_eq!(
                routed(&format!("json:{pointer},fixed:x"), "orders", &RECORD),
                "bad_name: the tenant's name is neither a string nor a number"
            );
        }
    }

    #[test]
    fn a_flood_of_headers_does_not_flood_the_log() {
        let name = "x\n".repeat(1000);
        let record = RawRecord { headers: headers(&vec![(name.as_str(), None); 10_000]), ..*RECORD };
        let said = routed("header:t", "orders", &record);
        assert!(said.len() < 4096 && !said.contains('\n') && said.ends_with('…'));
    }

    #[test]
    fn topics_that_cannot_give_a_tenant_are_known() {
        let can = |text: &str, topic: &str, name: &str| rules(text).can_yield(topic, &tenant(name));
        assert!(can("none", "orders", "default") && !can("none", "orders", "acme"));
        assert!(can("fixed:ops", "orders", "ops") && !can("fixed:ops,key", "orders", "acme"));
        assert!(can("topic:{tenant}.orders", "acme.orders", "acme"));
        assert!(!can("topic:{tenant}.orders", "acme.orders", "globex"));
        assert!(!can("topic:{tenant}.orders", "refunds", "refunds"));
        assert!(can("topic:{tenant}.orders,fixed:rest", "refunds", "rest"));
        assert!(can("header:tenant", "orders", "acme"));
        assert!(!can("header:tenant,audit=fixed:ops", "audit", "acme"));
        assert!(rules("none").is_none() && !rules("fixed:default").is_none());
    }

    #[test]
    fn bad_rules_are_refused_with_what_is_accepted() {
        for bad in [
            "",
            "nothing",
            "header",
            "header:",
            "key:",
            "json",
            "json:org",
            "topic:orders",
            "topic:{tenant}{tenant}",
            "fixed:*",
            "fixed:",
            "none,",
            "orders=",
            "orders=nothing",
            "header:a,,key",
            "none:x",
        ] {
            let why = bad.parse::<TenantRules>().unwrap_err();
            assert!(why.contains("accepted: none, header:NAME"), "{bad}: {why}");
        }
        for bad in ["none,key", "orders=none"] {
            assert!(bad.parse::<TenantRules>().unwrap_err().contains("none alone"));
        }
    }

    fn typed(rule: &str, record: &RawRecord<'_>) -> Result<Option<String>, &'static str> {
        rule.parse::<EventTypeRule>().unwrap().event_type_of("orders", record)
    }

    #[test]
    fn every_rule_finds_its_event_type() {
        assert_eq!(typed("none", &RECORD), Ok(None));
        assert_eq!(typed("topic", &RECORD), Ok(Some("orders".into())));
        assert_eq!(typed("fixed:tick", &RECORD), Ok(Some("tick".into())));
        assert_eq!(typed("header:tenant", &RECORD), Ok(Some("globex".into())));
        assert_eq!(typed("header:trace", &RECORD), Ok(None));
        assert_eq!(typed("json:/e", &RECORD), Ok(Some("created".into())));
        assert_eq!(typed("json:/x", &RECORD), Ok(None));
    }

    #[test]
    fn event_types_that_would_break_or_fake_something_are_refused() {
        let long = "x".repeat(257);
        for (text, why) in [
            (&b"a\nb"[..], "line_end"),
            (b"a\rb", "line_end"),
            (b"tailrace.gap", "reserved"),
            (b"message", "reserved"),
            (b"open", "reserved"),
            (b"error", "reserved"),
            (b"\xff", "not_utf8"),
            (long.as_bytes(), "too_long"),
        ] {
            let record = RawRecord { headers: headers(&[("type", Some(text))]), ..*RECORD };
            assert_eq!(typed("header:type", &record), Err(why));
        }
    }

    #[test]
    fn bad_event_type_rules_are_refused_with_what_is_accepted() {
        for bad in
            ["", "header:", "json:x", "topic:x", "fixed:", "fixed:tailrace.gap", "fixed:message", "key"]
        {
            let why = bad.parse::<EventTypeRule>().unwrap_err();
            assert!(why.contains(ACCEPTED_TYPES), "{bad}: {why}");
        }
    }
}
