//! Whether a request may read a tenant's events.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use tailrace_bridge::TenantId;

use crate::problem::Problem;

/// Tolerance for the difference between an issuer's clock and the server's.
const LEEWAY_SECONDS: u64 = 5;

/// How requests are authenticated.
#[derive(Clone)]
pub(crate) enum Auth {
    /// Not at all.
    None,
    /// By a signed token.
    Jwt(Arc<Jwt>),
}

/// What tokens are checked against, as configured.
pub(crate) struct JwtRules {
    pub(crate) secret: Vec<u8>,
    /// Empty: any.
    pub(crate) issuer: String,
    /// Empty: only tokens without an audience are valid.
    pub(crate) audience: String,
    pub(crate) tenant_claim: String,
    /// `{tenant}` stands for the tenant's name; empty: no scope is needed.
    pub(crate) scope: String,
}

pub(crate) struct Jwt {
    rules: JwtRules,
    key: DecodingKey,
    validation: Validation,
}

/// The caller, as the checked token names it.
#[derive(Debug)]
pub(crate) enum Caller {
    /// No token is required.
    Anyone,
    /// The bearer of a valid token.
    Bearer(Bearer),
}

#[derive(Debug)]
pub(crate) struct Bearer {
    /// The claim `sub`.
    subject: Option<Arc<str>>,
    tenants: Vec<String>,
    scopes: Vec<String>,
    /// When the token expires, leeway included.
    expires: SystemTime,
}

impl Auth {
    pub(crate) fn jwt(rules: JwtRules) -> Auth {
        Auth::Jwt(Arc::new(Jwt::new(rules)))
    }

    /// Checks the token of a request: from the header `Authorization: Bearer`, else from `access_token=`.
    pub(crate) fn caller(&self, headers: &HeaderMap, parameter: Option<&str>) -> Result<Caller, Problem> {
        let Auth::Jwt(jwt) = self else { return Ok(Caller::Anyone) };
        let token = bearer(headers)?.or(parameter);
        let token = token.ok_or_else(|| {
            unauthenticated("send a token: the header `Authorization: Bearer …`, or access_token= where headers cannot be set")
        })?;
        jwt.check(token).map(Caller::Bearer)
    }

    /// Whether that caller may read that tenant.
    pub(crate) fn allow(&self, caller: &Caller, tenant: &TenantId) -> Result<(), Problem> {
        match (self, caller) {
            (Auth::None, _) => Ok(()),
            (Auth::Jwt(jwt), Caller::Bearer(bearer)) => jwt.allow(bearer, tenant),
            (Auth::Jwt(_), Caller::Anyone) => Err(unauthenticated("a token is needed")),
        }
    }
}

impl Caller {
    /// The token's tenant, if the token names exactly one.
    pub(crate) fn only_tenant(&self) -> Option<&str> {
        match self {
            Caller::Bearer(bearer) if bearer.tenants.len() == 1 => bearer.tenants.first().map(String::as_str),
            _ => None,
        }
    }

    /// Whether the token's scope lets it see the tenant's masked fields as they are.
    pub(crate) fn unmasks(&self, tenant: &TenantId) -> bool {
        let is_of = |scope: &String| {
            let of = scope.strip_prefix("event:unmask:");
            of.is_some_and(|of| of == "*" || of == tenant.as_str())
        };
        matches!(self, Caller::Bearer(bearer) if bearer.scopes.iter().any(is_of))
    }

    /// Who the token was issued to: its claim `sub`, if it has one.
    #[expect(dead_code, reason = "limits and the admin endpoints count by it")]
    pub(crate) fn subject(&self) -> Option<&Arc<str>> {
        match self {
            Caller::Anyone => None,
            Caller::Bearer(bearer) => bearer.subject.as_ref(),
        }
    }

    /// How long the token is still valid; `None`: for ever.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        match self {
            Caller::Anyone => None,
            Caller::Bearer(bearer) => {
                Some(bearer.expires.duration_since(SystemTime::now()).unwrap_or_default())
            }
        }
    }
}

impl Jwt {
    fn new(rules: JwtRules) -> Jwt {
        let mut validation = Validation::new(Algorithm::HS256);
        let mut required = vec!["exp"];
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        // A token with an audience is meant for that audience: without TAILRACE_JWT_AUDIENCE this server rejects it (RFC 7519,
        // 4.1.3).
        if !rules.audience.is_empty() {
            validation.set_audience(&[&rules.audience]);
            required.push("aud");
        }
        if !rules.issuer.is_empty() {
            validation.set_issuer(&[&rules.issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Jwt { key: DecodingKey::from_secret(&rules.secret), validation, rules }
    }

    fn check(&self, token: &str) -> Result<Bearer, Problem> {
        let data = jsonwebtoken::decode::<Map<String, Value>>(token, &self.key, &self.validation);
        let claims = data.map_err(|error| unauthenticated(why(error.kind())))?.claims;
        let seconds =
            claims.get("exp").and_then(Value::as_f64).unwrap_or(0.0).clamp(0.0, u32::MAX as f64 * 8.0);
        Ok(Bearer {
            subject: claims.get("sub").and_then(Value::as_str).map(Arc::from),
            tenants: words(claims.get(&self.rules.tenant_claim), false),
            scopes: scopes(&claims),
            expires: UNIX_EPOCH + Duration::from_secs(seconds as u64 + LEEWAY_SECONDS),
        })
    }

    fn allow(&self, bearer: &Bearer, tenant: &TenantId) -> Result<(), Problem> {
        let claim = &self.rules.tenant_claim;
        if !bearer.tenants.iter().any(|name| name == tenant.as_str()) {
            return Err(forbidden(format!("the token's claim {claim:?} does not name this tenant")));
        }
        let scope = self.rules.scope.replace("{tenant}", tenant.as_str());
        if !scope.is_empty() && !bearer.scopes.contains(&scope) {
            return Err(forbidden(format!("the token's scope lacks {scope:?}")));
        }
        Ok(())
    }
}

/// The scopes of `scope` (RFC 8693) and of `scp`, the name that some issuers use: each is a string with spaces between, or an
/// array.
fn scopes(claims: &Map<String, Value>) -> Vec<String> {
    let of = |name: &str| words(claims.get(name), true);
    [of("scope"), of("scp")].concat()
}

/// The words of a string, or of an array of strings; `split`: a string may be a space-separated list, as in RFC 8693.
fn words(claim: Option<&Value>, split: bool) -> Vec<String> {
    match claim {
        Some(Value::String(text)) if split => {
            text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
        }
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(all)) => {
            all.iter().flat_map(|one| words(one.as_str().map(|_| one), split)).collect()
        }
        _ => Vec::new(),
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| unauthenticated("the header Authorization is not text"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(unauthenticated("the header Authorization must be `Bearer` and a token")),
    }
}

/// The error message that a caller may see; it never contains a part of the token.
fn why(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired".to_owned(),
        ErrorKind::ImmatureSignature => "the token is not valid yet".to_owned(),
        ErrorKind::InvalidSignature => "the token's signature is wrong".to_owned(),
        ErrorKind::InvalidAlgorithm => "the token must be signed with HS256".to_owned(),
        ErrorKind::InvalidIssuer => "the token's issuer is not the expected one".to_owned(),
        ErrorKind::InvalidAudience => "the token is for another audience".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("the token lacks the claim {claim:?}"),
        ErrorKind::InvalidClaimFormat(claim) => format!("the token's claim {claim:?} has the wrong form"),
        _ => "the token cannot be read".to_owned(),
    }
}

fn unauthenticated(detail: impl Into<String>) -> Problem {
    Problem::Unauthenticated { detail: detail.into() }
}

fn forbidden(detail: String) -> Problem {
    Problem::Forbidden { detail }
}
