//! Which rule was likely meant, where one finds no tenant in a record: names alone are looked at, never values.

use serde_json::Value;
use tailrace_bridge::{RawRecord, Unroutable};

/// What fields that hold a tenant are called.
const USUAL: [&str; 12] = [
    "tenant",
    "tenantid",
    "org",
    "orgid",
    "organization",
    "organizationid",
    "account",
    "accountid",
    "customer",
    "customerid",
    "company",
    "workspace",
];
/// A value that is longer is not looked into, in bytes.
const MAX_VALUE: usize = 1 << 20;

/// A rule as settings have it, such as `header:org`; `None` where nothing looks like a tenant.
pub(crate) fn hint(failure: &Unroutable, record: &RawRecord<'_>) -> Option<String> {
    let wanted = wanted(failure)?;
    let headers = record.headers.iter().map(|(name, _)| (name.to_owned(), format!("header:{name}")));
    let fields = fields(record.value).into_iter().map(|name| (name.clone(), format!("json:/{name}")));
    let candidates: Vec<(String, String)> = headers.chain(fields).collect();
    let near = candidates.iter().find(|(name, _)| is_near(name, &wanted));
    let usual = || candidates.iter().find(|(name, _)| USUAL.contains(&plain(name).as_str()));
    near.or_else(usual).map(|(_, rule)| rule.clone())
}

/// What the rule looked for.
fn wanted(failure: &Unroutable) -> Option<String> {
    match failure {
        Unroutable::NoHeader { name, .. } => Some(plain(name)),
        Unroutable::NoField { pointer } => Some(plain(pointer.rsplit('/').next().unwrap_or_default())),
        Unroutable::NoKey | Unroutable::NoSeparator { .. } => Some("tenant".to_owned()),
        _ => None,
    }
}

/// The names of the fields of an object that hold a text or a number. Names with `/` or `~` are left out: a JSON pointer has to
/// escape them.
fn fields(value: Option<&[u8]>) -> Vec<String> {
    let value = value.filter(|value| value.len() <= MAX_VALUE);
    let Some(Ok(Value::Object(fields))) = value.map(serde_json::from_slice) else { return Vec::new() };
    let of_use = |(name, value): (String, Value)| {
        ((value.is_string() || value.is_number()) && !name.contains(['/', '~'])).then_some(name)
    };
    fields.into_iter().filter_map(of_use).collect()
}

/// Without what differs between spellings of the same name.
fn plain(name: &str) -> String {
    name.to_lowercase().replace(['-', '_', '.', ' '], "")
}

/// Whether one is a misspelling of the other, or a part of it.
fn is_near(name: &str, wanted: &str) -> bool {
    let name = plain(name);
    let (short, long) = if name.len() < wanted.len() { (name.as_str(), wanted) } else { (wanted, &*name) };
    let is_part = short.len() >= 3 && long.contains(short);
    is_part || strsim::damerau_levenshtein(short, long) * 3 <= long.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailrace_bridge::{Headers, put_header};

    fn hinted(failure: Unroutable, headers: &[&str], value: &str) -> Option<String> {
        let mut written = Vec::new();
        headers.iter().for_each(|name| put_header(&mut written, name, Some(b"x")));
        let headers = Headers::written(&written);
        hint(&failure, &RawRecord { key: None, value: Some(value.as_bytes()), headers, flaw: None })
    }

    fn no_header(name: &str) -> Unroutable {
        Unroutable::NoHeader { name: name.to_owned(), present: Vec::new() }
    }

    #[test]
    fn the_rule_that_was_likely_meant_is_named() {
        let said =
            |failure, headers: &[&str], value: &str| hinted(failure, headers, value).unwrap_or_default();
        assert_eq!(said(no_header("tenant"), &["trace", "Tenant"], ""), "header:Tenant");
        assert_eq!(said(no_header("tenant"), &["trace", "tenant-id"], ""), "header:tenant-id");
        assert_eq!(said(no_header("tennant"), &["trace", "tenant"], ""), "header:tenant");
        assert_eq!(said(no_header("tenant"), &["trace", "org"], ""), "header:org");
        assert_eq!(said(no_header("tenant"), &["trace"], r#"{"id":1,"tenant_id":"a"}"#), "json:/tenant_id");
        let no_field = Unroutable::NoField { pointer: "/customer/id".to_owned() };
        assert_eq!(said(no_field, &[], r#"{"account":7,"state":"a"}"#), "json:/account");
        assert_eq!(said(Unroutable::NoKey, &["org"], ""), "header:org");
    }

    #[test]
    fn nothing_is_named_where_nothing_looks_like_it() {
        assert_eq!(hinted(no_header("tenant"), &["trace", "span"], r#"{"state":"a","x":{"org":1}}"#), None);
        assert_eq!(hinted(no_header("tenant"), &[], "no json"), None);
        assert_eq!(hinted(Unroutable::NoRule, &["org"], ""), None);
    }
}
