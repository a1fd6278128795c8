//! The claims of a token whose signature is good: its time, issuer and audience are checked, tenants and scopes are read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

/// The end of the year 9999, in seconds: a later time is an error of the issuer.
const MAX_TIME: f64 = 253_402_300_799.0;

/// What tokens must say, as configured.
#[derive(Clone, Debug)]
pub(crate) struct ClaimRules {
    /// Empty: any.
    pub(crate) issuers: Vec<String>,
    /// Empty: only tokens without an audience.
    pub(crate) audiences: Vec<String>,
    /// Tolerance for the difference between an issuer's clock and the server's.
    pub(crate) leeway: Duration,
    pub(crate) tenant: TenantClaim,
}

/// Where a token names its tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TenantClaim {
    Name(String),
    /// RFC 6901.
    Pointer(String),
}

/// What a valid token says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Claims {
    pub(super) subject: Option<String>,
    pub(super) tenants: Vec<String>,
    pub(super) scopes: Vec<String>,
    /// The claim `exp`: without the leeway.
    pub(super) expires: SystemTime,
}

/// Why a token with a good signature is not valid. The message has no value of a claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClaimError {
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token's issuer is not the expected one")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token lacks the claim {0:?}")]
    Missing(&'static str),
    #[error("the token's claim {0:?} has the wrong form")]
    Form(&'static str),
}

impl TenantClaim {
    /// A text that begins with a slash is a JSON pointer, any other a name. `None`: it is empty, or no pointer.
    pub(crate) fn new(text: &str) -> Option<TenantClaim> {
        if !text.starts_with('/') {
            return (!text.is_empty()).then(|| TenantClaim::Name(text.to_owned()));
        }
        // A tilde is followed by 0 or 1.
        let is_pointer = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        is_pointer.then(|| TenantClaim::Pointer(text.to_owned()))
    }

    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        match self {
            TenantClaim::Name(name) => claims.get(name),
            TenantClaim::Pointer(pointer) => {
                let (first, rest) = match pointer[1..].find('/') {
                    Some(end) => pointer[1..].split_at(end),
                    None => (&pointer[1..], ""),
                };
                claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
            }
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            TenantClaim::Name(text) | TenantClaim::Pointer(text) => text,
        }
    }
}

impl ClaimRules {
    /// Checks the claims at the time `now`.
    pub(super) fn check(&self, claims: &Map<String, Value>, now: SystemTime) -> Result<Claims, ClaimError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = self.leeway.as_secs_f64();
        let expires = time(claims, "exp")?.ok_or(ClaimError::Missing("exp"))?;
        if now >= expires + leeway {
            return Err(ClaimError::Expired);
        }
        if time(claims, "nbf")?.is_some_and(|begins| begins > now + leeway) {
            return Err(ClaimError::NotYet);
        }
        time(claims, "iat")?;
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        Ok(Claims {
            subject: subject(claims)?,
            tenants: words(self.tenant.find(claims), false),
            scopes: [words(claims.get("scope"), true), words(claims.get("scp"), true)].concat(),
            expires: UNIX_EPOCH + Duration::from_secs_f64(expires),
        })
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), ClaimError> {
        if self.issuers.is_empty() {
            return Ok(());
        }
        match claims.get("iss") {
            None => Err(ClaimError::Missing("iss")),
            Some(Value::String(issuer)) if self.issuers.contains(issuer) => Ok(()),
            Some(Value::String(_)) => Err(ClaimError::Issuer),
            Some(_) => Err(ClaimError::Form("iss")),
        }
    }

    /// A token with an audience is meant for that audience: a server without one is not it (RFC 7519, section 4.1.3).
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), ClaimError> {
        let is_own = |audience: &Value| self.audiences.iter().any(|own| audience == own);
        match claims.get("aud") {
            None if self.audiences.is_empty() => Ok(()),
            None => Err(ClaimError::Missing("aud")),
            Some(one @ Value::String(_)) if is_own(one) => Ok(()),
            Some(Value::Array(all)) if all.iter().any(is_own) => Ok(()),
            Some(Value::String(_) | Value::Array(_)) => Err(ClaimError::Audience),
            Some(_) => Err(ClaimError::Form("aud")),
        }
    }
}

/// A NumericDate (RFC 7519, section 2): a number of seconds, with or without a fraction.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, ClaimError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=MAX_TIME).contains(seconds));
    seconds.map(Some).ok_or(ClaimError::Form(name))
}

fn subject(claims: &Map<String, Value>) -> Result<Option<String>, ClaimError> {
    match claims.get("sub") {
        None => Ok(None),
        Some(Value::String(subject)) => Ok(Some(subject.clone())),
        Some(_) => Err(ClaimError::Form("sub")),
    }
}

/// The words of a string, or of an array of strings; `split`: a string is a list with spaces between (RFC 8693, section 4.2).
fn words(claim: Option<&Value>, split: bool) -> Vec<String> {
    match claim {
        Some(Value::String(text)) if split => {
            text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
        }
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(all)) => {
            all.iter().filter(|one| one.is_string()).flat_map(|one| words(Some(one), split)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn rules() -> ClaimRules {
        ClaimRules {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway: Duration::from_secs(30),
            tenant: TenantClaim::new("tenant_id").unwrap(),
        }
    }

    fn check(rules: &ClaimRules, claims: Value) -> Result<Claims, ClaimError> {
        let Value::Object(claims) = claims else { panic!("an object") };
        rules.check(&claims, UNIX_EPOCH + Duration::from_secs(NOW))
    }

    fn checked_time(claims: Value) -> Option<ClaimError> {
        check(&rules(), claims).err()
    }

    #[test]
    fn the_leeway_ends_on_its_second() {
        assert_eq!(checked_time(json!({"exp": NOW + 1})), None);
        assert_eq!(checked_time(json!({"exp": NOW - 29})), None);
        assert_eq!(checked_time(json!({"exp": NOW - 30})), Some(ClaimError::Expired));
        assert_eq!(checked_time(json!({"exp": NOW as f64 - 29.5})), None);
        assert_eq!(checked_time(json!({"exp": NOW + 9, "nbf": NOW + 30})), None);
        assert_eq!(checked_time(json!({"exp": NOW + 9, "nbf": NOW + 31})), Some(ClaimError::NotYet));
        let strict = ClaimRules { leeway: Duration::ZERO, ..rules() };
        assert_eq!(check(&strict, json!({"exp": NOW})).err(), Some(ClaimError::Expired));
    }

    #[test]
    fn a_time_is_a_number_that_a_calendar_has() {
        let big: Value = serde_json::from_str("1180591620717411303424").unwrap();
        for wrong in
            [json!("1800000100"), json!(-1), json!(null), json!([NOW + 9]), json!(true), json!({}), big]
        {
            for name in ["exp", "nbf", "iat"] {
                let mut claims = json!({"exp": NOW + 9});
                claims[name] = wrong.clone();
                assert_eq!(checked_time(claims), Some(ClaimError::Form(name)), "{name} {wrong}");
            }
        }
        assert_eq!(checked_time(json!({"nbf": 1})), Some(ClaimError::Missing("exp")));
    }

    #[test]
    fn issuer_and_audience_are_of_lists() {
        let rules = ClaimRules {
            issuers: vec!["a".to_owned(), "b".to_owned()],
            audiences: vec!["x".to_owned(), "y".to_owned()],
            ..rules()
        };
        let error =
            |iss: Value, aud: Value| check(&rules, json!({"exp": NOW + 9, "iss": iss, "aud": aud})).err();
        assert_eq!(error(json!("b"), json!("x")), None);
        assert_eq!(error(json!("a"), json!(["z", "y"])), None);
        assert_eq!(error(json!("c"), json!("x")), Some(ClaimError::Issuer));
        assert_eq!(error(json!(["a"]), json!("x")), Some(ClaimError::Form("iss")));
        for aud in [json!("z"), json!([]), json!([["x"]]), json!(["X"])] {
            assert_eq!(error(json!("a"), aud.clone()), Some(ClaimError::Audience), "{aud}");
        }
        assert_eq!(error(json!("a"), json!({"x": "x"})), Some(ClaimError::Form("aud")));
        assert_eq!(
            check(&rules, json!({"exp": NOW + 9, "aud": "x"})).err(),
            Some(ClaimError::Missing("iss"))
        );
        assert_eq!(
            check(&rules, json!({"exp": NOW + 9, "iss": "a"})).err(),
            Some(ClaimError::Missing("aud"))
        );
        assert_eq!(checked_time(json!({"exp": NOW + 9, "aud": "x"})), Some(ClaimError::Audience));
    }

    #[test]
    fn tenants_are_found_by_name_and_by_pointer() {
        let tenants = |claim: &str, claims: Value| {
            let rules = ClaimRules { tenant: TenantClaim::new(claim).unwrap(), ..rules() };
            let mut claims = claims;
            claims["exp"] = json!(NOW + 9);
            check(&rules, claims).unwrap().tenants
        };
        assert_eq!(tenants("https://x.example/t", json!({"https://x.example/t": "acme"})), ["acme"]);
        assert_eq!(tenants("/org/tenants", json!({"org": {"tenants": ["a", "b", 1, ["c"]]}})), ["a", "b"]);
        assert_eq!(tenants("/a~1b/0", json!({"a/b": ["x"]})), ["x"]);
        assert_eq!(tenants("/org", json!({"org": "one two"})), ["one two"]);
        let none: [&str; 0] = [];
        for claims in [json!({}), json!({"org": 1}), json!({"org": {"tenants": {}}}), json!({"org": null})] {
            assert_eq!(tenants("/org/tenants", claims), none);
        }
        assert_eq!([TenantClaim::new(""), TenantClaim::new("/a~2")], [None, None]);
    }

    #[test]
    fn scopes_come_as_text_or_as_list_and_from_both_claims() {
        let claims = json!({"exp": NOW + 9, "scope": "a  b", "scp": ["c", 1, "d e"], "sub": "me"});
        let claims = check(&rules(), claims).unwrap();
        assert_eq!(
            (claims.scopes, claims.subject.as_deref()),
            (["a", "b", "c", "d", "e"].map(str::to_owned).into(), Some("me"))
        );
        assert_eq!(checked_time(json!({"exp": NOW + 9, "sub": 7})), Some(ClaimError::Form("sub")));
    }
}
