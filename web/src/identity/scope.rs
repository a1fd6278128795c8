//! Scopes of a token: which tenants and topics it may read.

use percent_encoding::percent_decode_str;
use tailrace_bridge::TenantId;

/// Stands for the tenant in the configured scope.
pub(crate) const TENANT: &str = "{tenant}";
/// Stands for every tenant, or for every topic.
const ANY: &str = "*";

/// The scope that a token needs, as configured: `event:read:{tenant}`. A scope that continues with `:topic` is for that topic
/// alone. `*` stands for any tenant, and for any topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScopeRule {
    before: String,
    after: String,
    names_tenant: bool,
}

/// The topics that a token may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topics {
    All,
    /// Not empty.
    Only(Vec<String>),
}

impl Topics {
    pub(crate) fn contains(&self, topic: &str) -> bool {
        match self {
            Topics::All => true,
            Topics::Only(only) => only.iter().any(|known| known == topic),
        }
    }
}

impl ScopeRule {
    /// `None` for an empty text: no scope is needed.
    pub(crate) fn new(text: &str) -> Option<ScopeRule> {
        let (before, after, names_tenant) = match text.split_once(TENANT) {
            Some((before, after)) => (before, after, true),
            None => (text, "", false),
        };
        let rule = ScopeRule { before: before.to_owned(), after: after.to_owned(), names_tenant };
        (!text.is_empty()).then_some(rule)
    }

    /// The topics that these scopes allow of that tenant; `None`: nothing.
    pub(crate) fn topics(&self, scopes: &[String], tenant: &TenantId) -> Option<Topics> {
        let mut only = Vec::new();
        for scope in scopes {
            match self.topic(scope, tenant) {
                None => {}
                Some(ANY) => return Some(Topics::All),
                Some(topic) if only.iter().any(|known| known == topic) => {}
                Some(topic) => only.push(topic.to_owned()),
            }
        }
        (!only.is_empty()).then_some(Topics::Only(only))
    }

    /// The topic that one scope allows of that tenant, or `*`.
    fn topic<'a>(&self, scope: &'a str, tenant: &TenantId) -> Option<&'a str> {
        let rest = scope.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        if !self.names_tenant {
            return if rest.is_empty() {
                Some(ANY)
            } else {
                rest.strip_prefix(':').filter(|topic| !topic.is_empty())
            };
        }
        let (name, topic) = rest.split_once(':').unwrap_or((rest, ANY));
        // A name with a colon or a space is percent-encoded: `a:b` is the topic b of the tenant a.
        let is_tenant =
            name == ANY || percent_decode_str(name).decode_utf8().is_ok_and(|name| name == tenant.as_str());
        (is_tenant && !topic.is_empty()).then_some(topic)
    }

    /// The scope that would allow all topics of that tenant.
    pub(crate) fn wanted(&self, tenant: &TenantId) -> String {
        if !self.names_tenant {
            return self.before.clone();
        }
        let encoded = percent_encoding::utf8_percent_encode(tenant.as_str(), ENCODED);
        format!("{}{encoded}{}", self.before, self.after)
    }
}

/// Characters of a tenant's name that are percent-encoded in a scope: what RFC 6749, section 3.3, does not allow in one, and
/// what has a meaning here.
const ENCODED: &percent_encoding::AsciiSet =
    &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'\\').add(b':').add(b'%').add(b'*');

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(rule: &str, scopes: &[&str], tenant: &str) -> Option<Topics> {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        ScopeRule::new(rule).unwrap().topics(&scopes, &TenantId::new(tenant).unwrap())
    }

    fn only(topics: &[&str]) -> Option<Topics> {
        Some(Topics::Only(topics.iter().map(|topic| (*topic).to_owned()).collect()))
    }

    const RULE: &str = "event:read:{tenant}";

    #[test]
    fn a_scope_is_of_a_tenant_or_of_one_topic_of_it() {
        assert_eq!(topics(RULE, &["event:read:acme"], "acme"), Some(Topics::All));
        assert_eq!(topics(RULE, &["event:read:acme:*"], "acme"), Some(Topics::All));
        assert_eq!(topics(RULE, &["event:read:*"], "acme"), Some(Topics::All));
        assert_eq!(
            topics(RULE, &["event:read:acme:orders", "event:read:*:logs"], "acme"),
            only(&["orders", "logs"])
        );
        assert_eq!(topics(RULE, &["event:read:acme:orders", "event:read:acme"], "acme"), Some(Topics::All));
    }

    #[test]
    fn what_is_almost_a_scope_allows_nothing() {
        let almost = [
            "event:read:acm",
            "event:read:acmee",
            "event:read:ACME",
            "event:read:acme:",
            "event:read::orders",
            "event:read:",
            "event:read:ac*",
            "event:write:acme",
            "xevent:read:acme",
            "*",
            "",
        ];
        assert_eq!(topics(RULE, &almost, "acme"), None);
    }

    #[test]
    fn a_tenant_with_a_colon_is_encoded_so_that_it_is_no_topic_of_another() {
        assert_eq!(topics(RULE, &["event:read:a:b"], "a:b"), None);
        assert_eq!(topics(RULE, &["event:read:a:b"], "a"), only(&["b"]));
        assert_eq!(topics(RULE, &["event:read:a%3Ab"], "a:b"), Some(Topics::All));
        assert_eq!(topics(RULE, &["event:read:a%3Ab"], "a"), None);
        let tenant = TenantId::new("a:b 50%").unwrap();
        let wanted = ScopeRule::new(RULE).unwrap().wanted(&tenant);
        assert_eq!(wanted, "event:read:a%3Ab%2050%25");
        assert_eq!(topics(RULE, &[&wanted], "a:b 50%"), Some(Topics::All));
    }

    #[test]
    fn the_tenant_may_stand_inside_of_the_rule_or_be_missing() {
        assert_eq!(topics("t/{tenant}/read", &["t/acme/read"], "acme"), Some(Topics::All));
        assert_eq!(topics("t/{tenant}/read", &["t/acme:orders/read"], "acme"), only(&["orders"]));
        assert_eq!(topics("t/{tenant}/read", &["t/acme", "t//read"], "acme"), None);
        assert_eq!(topics("events", &["events"], "acme"), Some(Topics::All));
        assert_eq!(topics("events", &["events:orders", "eventsx", "events:"], "acme"), only(&["orders"]));
        assert_eq!(ScopeRule::new(""), None);
    }
}
