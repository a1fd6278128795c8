//! Whether a request may read a tenant's events.
//!
//! A request's token is found ([`source`]), split and its header read ([`token`]), its signature checked by a key that may use
//! the token's algorithm ([`key`], [`keys`], [`tries`], [`jwks`]), its claims checked ([`claims`]); its scopes say which topics of
//! which tenant it may read ([`scope`]). What the token says is believed only after that, in this order. RFC 8725 is the list of
//! what can go wrong.

mod claims;
mod json;
pub(crate) mod jwks;
pub(crate) mod key;
pub(crate) mod keys;
mod scope;
mod source;
mod token;
mod tries;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::request::Parts;
use rand::Rng;
use tailrace_bridge::TenantId;

pub(crate) use self::claims::{ClaimRules, TenantClaim};
use self::keys::{Keys, Verdict};
pub(crate) use self::scope::{ScopeRule, TENANT, Topics};
pub use self::source::{SourceError, TokenSources};
use self::token::Token;
pub use self::token::TokenError;
pub use self::tries::{KeyRing, Tries};
use crate::problem::{Passing, PassingCode, Problem};
use crate::reload::Reload;

/// The scope that lifts the masks of a tenant's records.
const UNMASK: &str = "event:unmask:{tenant}";
/// The shortest time over which the ends of streams are spread whose tokens expire together.
const LEAST_SPREAD: Duration = Duration::from_secs(1);

/// How requests are authenticated.
#[derive(Clone)]
pub(crate) enum Auth {
    /// Not at all.
    None,
    /// By a signed token.
    Jwt(Arc<Jwt>),
}

/// What tokens are checked against.
pub(crate) struct Jwt {
    pub(crate) sources: TokenSources,
    pub(crate) keys: Keys,
    pub(crate) rules: ClaimRules,
    /// `None`: the tenant's claim alone decides.
    pub(crate) scope: Option<ScopeRule>,
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
    subject: Option<Arc<str>>,
    tenants: Vec<String>,
    scopes: Vec<String>,
    /// The claim `exp`.
    expires: SystemTime,
    /// How long a token is valid beyond that.
    leeway: Duration,
}

impl Auth {
    /// Checks the token of a request; `parameter` is the value of `access_token=`.
    ///
    /// # Errors
    /// [`Problem::Unauthenticated`], or [`Problem::Passing`] while the key that may have signed the token cannot be fetched.
    pub(crate) async fn caller(&self, request: &Parts, parameter: Option<&str>) -> Result<Caller, Problem> {
        match self {
            Auth::None => Ok(Caller::Anyone),
            Auth::Jwt(jwt) => jwt.check(request, parameter).await.map(Caller::Bearer),
        }
    }

    /// The topics of that tenant that the caller may read.
    pub(crate) fn allow(&self, caller: &Caller, tenant: &TenantId) -> Result<Topics, Problem> {
        match (self, caller) {
            (Auth::None, _) => Ok(Topics::All),
            (Auth::Jwt(jwt), Caller::Bearer(bearer)) => jwt.allow(bearer, tenant),
            (Auth::Jwt(_), Caller::Anyone) => Err(missing("a token is needed")),
        }
    }

    /// Whether a page may send a token as a cookie of its visitor.
    pub(crate) fn has_cookie(&self) -> bool {
        matches!(self, Auth::Jwt(jwt) if jwt.sources.cookie.is_some())
    }

    /// Whether keys are read from files.
    pub(crate) fn has_files(&self) -> bool {
        matches!(self, Auth::Jwt(jwt) if !jwt.keys.files.is_empty())
    }

    /// What an operator should know of the keys.
    pub(crate) fn note(&self) -> Option<String> {
        match self {
            Auth::None => None,
            Auth::Jwt(jwt) => jwt.keys.issuer.as_ref()?.note(),
        }
    }

    /// Reads keys again where they may change, for ever.
    pub(crate) async fn watch(&self, reload: &Reload) {
        match self {
            Auth::None => std::future::pending().await,
            Auth::Jwt(jwt) => jwt.keys.watch(reload).await,
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

    /// Who the token was issued to: its claim `sub`, if it has one.
    pub(crate) fn subject(&self) -> Option<&Arc<str>> {
        match self {
            Caller::Anyone => None,
            Caller::Bearer(bearer) => bearer.subject.as_ref(),
        }
    }

    /// Whether the masks of that tenant's records are lifted for the caller.
    pub(crate) fn may_unmask(&self, tenant: &TenantId) -> bool {
        let rule = ScopeRule::new(UNMASK);
        let topics = |bearer: &Bearer| rule.and_then(|rule| rule.topics(&bearer.scopes, tenant));
        matches!(self, Caller::Bearer(bearer) if topics(bearer) == Some(Topics::All))
    }

    /// The time until a stream of this caller ends; `None`: never. A token is valid until its leeway is over; streams end
    /// within it, each at a time of its own, since the tokens of many may have been issued together.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let Caller::Bearer(bearer) = self else { return None };
        let spread = bearer.leeway.max(LEAST_SPREAD).mul_f64(rand::rng().random_range(0.0..1.0));
        let valid = (bearer.expires + bearer.leeway).duration_since(SystemTime::now()).unwrap_or_default();
        Some(valid.saturating_sub(spread))
    }
}

impl Jwt {
    async fn check(&self, request: &Parts, parameter: Option<&str>) -> Result<Bearer, Problem> {
        let text = self.sources.token(request, parameter).map_err(|error| match error {
            SourceError::Missing(_) => missing(error),
            _ => invalid(error),
        })?;
        let token = Token::parse(text).map_err(invalid)?;
        match self.keys.verify(&token).await {
            Verdict::Verified => {}
            Verdict::Refused => return Err(self.refused(&token)),
            Verdict::Unknown(after) => return Err(Problem::Passing(unknown_key(after))),
        }
        let claims = token.claims().map_err(invalid)?;
        let claims = self.rules.check(&claims, SystemTime::now()).map_err(invalid)?;
        Ok(Bearer {
            subject: claims.subject.map(Arc::from),
            tenants: claims.tenants,
            scopes: claims.scopes,
            expires: claims.expires,
            leeway: self.rules.leeway,
        })
    }

    fn refused(&self, token: &Token<'_>) -> Problem {
        let accepted = self.keys.algorithms();
        match accepted.contains(&key::name_of(token.algorithm)) {
            true => invalid("the token's signature is wrong"),
            // The issuer has not been reached since the start.
            false if accepted.is_empty() => Problem::Passing(unknown_key(RETRY_UNKNOWN)),
            false => invalid(format!("the token must be signed with {}", accepted.join(", "))),
        }
    }

    fn allow(&self, bearer: &Bearer, tenant: &TenantId) -> Result<Topics, Problem> {
        if !bearer.tenants.iter().any(|name| name == tenant.as_str()) {
            let detail =
                format!("the token's claim {:?} does not name this tenant", self.rules.tenant.as_str());
            return Err(Problem::Forbidden { detail, scope: None });
        }
        let Some(rule) = &self.scope else { return Ok(Topics::All) };
        rule.topics(&bearer.scopes, tenant).ok_or_else(|| {
            let scope = rule.wanted(tenant);
            Problem::Forbidden { detail: format!("the token's scope lacks {scope:?}"), scope: Some(scope) }
        })
    }
}

fn missing(detail: impl ToString) -> Problem {
    Problem::Unauthenticated { detail: detail.to_string(), is_missing: true }
}

fn invalid(detail: impl ToString) -> Problem {
    Problem::Unauthenticated { detail: detail.to_string(), is_missing: false }
}

/// The time until a client retries while no key is known.
const RETRY_UNKNOWN: Duration = Duration::from_secs(10);

fn unknown_key(after: Duration) -> Passing {
    let detail =
        "the key that signed the token is not known yet, and the issuer cannot be asked now".to_owned();
    Passing { code: PassingCode::NotReady, limit: None, detail, after }
}
