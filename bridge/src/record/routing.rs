//! Which tenant a record belongs to: determined once, when the record comes in.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::record::RawRecord;
use crate::record::form::{Flaw, Half};
use crate::record::json::{Found, Pointer};
use crate::record::tenant::{TenantId, TenantNames};

/// How many header names a message lists, and how many characters of each.
const MAX_TOLD: usize = 16;
const MAX_TOLD_CHARS: usize = 64;
/// The tenant of every record under `none`.
const DEFAULT_TENANT: &str = "default";
const PLACEHOLDER: &str = "{tenant}";
const ACCEPTED: &str = "accepted: none, header:NAME, key, key:SEP, json:/pointer, topic:{tenant}.orders, fixed:NAME; \
     several with commas between them, TOPIC=RULE for one topic";

/// The value of `TAILRACE_TENANT_FROM`: rules in order. The first one that gives a value is used.
///
/// If a topic has rules of its own (`TOPIC=RULE`), only these apply: no record is routed by a rule that was not meant for its
/// topic. If the value that a rule finds cannot be a tenant's name, or the rule looks into a half of the record that cannot be
/// decoded, the search ends: no further rule is tried.
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
    /// The tenant of a record. `names` has the names of earlier records, whichever rules found them.
    ///
    /// # Errors
    /// Why none of the topic's rules gives a tenant.
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
                // A later rule could give it to another tenant than the one that is in the value.
                Err(bad @ (Unroutable::BadName { .. } | Unroutable::Undecodable { .. })) => return Err(bad),
                // The first failure is returned, unless a later one shows what format the value has.
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
                // These rules give a value for each record, so no rule after them is ever tried.
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

    /// The topics that have rules of their own.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|(only, _)| only.as_deref())
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

/// `TOPIC=RULE`: the text before the first `=` is a topic if it is a legal topic name; a rule's colon or slash is not legal there.
pub fn split_topic(item: &str) -> (Option<&str>, &str) {
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

/// The text between prefix and suffix, if it is not empty.
fn between<'a>(text: &'a str, prefix: &str, suffix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix)?.strip_suffix(suffix).filter(|middle| !middle.is_empty())
}

impl Rule {
    /// Whether what it finds is in this half of a record.
    fn looks_into(&self, half: Half) -> bool {
        match self {
            Rule::Key | Rule::KeyPrefix(_) => half.is_key(),
            Rule::Json { .. } => half.is_value(),
            Rule::None(_) | Rule::Header(_) | Rule::Topic { .. } | Rule::Fixed(_) => false,
        }
    }

    fn tenant_of(
        &self,
        topic: &str,
        record: &RawRecord<'_>,
        names: &mut TenantNames,
    ) -> Result<TenantId, Unroutable> {
        if let Some(flaw) = record.flaw.filter(|flaw| self.looks_into(flaw.half)) {
            return Err(Unroutable::Undecodable { flaw });
        }
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

/// `None` and an empty text both give no value.
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

/// Why a record has no tenant. Its text has names, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unroutable {
    /// The header is missing or empty.
    NoHeader {
        /// The header that was looked for.
        name: String,
        /// The names of the first headers that are there.
        present: Vec<String>,
    },
    /// The record has no key, or an empty one.
    NoKey,
    /// The key has no separator, or nothing before it.
    NoSeparator {
        /// The separator that was looked for.
        separator: String,
    },
    /// The value is not JSON, or lacks the field.
    NoField {
        /// The field that was looked for.
        pointer: String,
    },
    /// A JSON field was looked for in a value of Confluent's wire format.
    Avro {
        /// The schema's id in the registry.
        schema_id: u32,
    },
    /// The half of the record that the rule looks into cannot be decoded.
    Undecodable {
        /// Which, and why.
        flaw: Flaw,
    },
    /// The topic's name does not match the pattern.
    NoTopicMatch {
        /// The pattern.
        pattern: String,
    },
    /// No rule applies to the topic.
    NoRule,
    /// There is a value, but it cannot be a tenant's name.
    BadName {
        /// What is wrong with it, after "the tenant's name".
        flaw: &'static str,
    },
}

impl Unroutable {
    /// All values that [`Unroutable::reason`] returns.
    pub const REASONS: [&str; 9] = [
        "no_header",
        "no_key",
        "no_separator",
        "no_field",
        "avro",
        "undecodable",
        "no_topic_match",
        "no_rule",
        "bad_name",
    ];

    /// A label for metrics, one of [`Unroutable::REASONS`].
    pub fn reason(&self) -> &'static str {
        match self {
            Unroutable::NoHeader { .. } => "no_header",
            Unroutable::NoKey => "no_key",
            Unroutable::NoSeparator { .. } => "no_separator",
            Unroutable::NoField { .. } => "no_field",
            Unroutable::Avro { .. } => "avro",
            Unroutable::Undecodable { .. } => "undecodable",
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
            Unroutable::Undecodable { flaw } => {
                let what = match flaw.half {
                    Half::Key => "the key",
                    Half::Value => "the value",
                    Half::Both => "neither key nor value",
                };
                let not = if flaw.half == Half::Both { "can" } else { "cannot" };
                write!(f, "{what} {not} be decoded: {}", flaw.code.as_str())
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::record::form::FlawCode;
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
        flaw: None,
    });

    fn headers(list: &[(&str, Option<&[u8]>)]) -> Headers<'static> {
        Headers::written(Vec::leak(written_headers(list)))
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
    fn a_rule_that_needs_what_cannot_be_decoded_ends_the_search() {
        let flaw = |half| RawRecord { flaw: Some(Flaw { half, code: FlawCode::UnknownSchema }), ..*RECORD };
        let (key, value) = (flaw(Half::Key), flaw(Half::Value));
        let lost = "undecodable: the value cannot be decoded: unknown_schema";
        assert_eq!(routed("json:/org/id,fixed:rest", "orders", &value), lost);
        assert_eq!(routed("header:tenant,json:/org/id", "orders", &value), "globex");
        assert_eq!(routed("key::,json:/org/id", "orders", &value), "acme");
        let lost = "undecodable: the key cannot be decoded: unknown_schema";
        assert_eq!(routed("key::,fixed:rest", "orders", &key), lost);
        assert_eq!(routed("key,fixed:rest", "orders", &key), lost);
        assert_eq!(routed("json:/org/id", "orders", &key), "umbrella");
        let both = flaw(Half::Both);
        for rules in ["key,fixed:rest", "json:/org/id,fixed:rest"] {
            let lost = "undecodable: neither key nor value can be decoded: unknown_schema";
            assert_eq!(routed(rules, "orders", &both), lost);
        }
        assert_eq!(routed("header:tenant", "orders", &both), "globex");
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
}
