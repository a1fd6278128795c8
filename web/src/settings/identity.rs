//! Settings of who may read: the kind of authentication, keys, and what tokens must say.

use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::Algorithm;

use super::SettingError;
use super::value::{span, span_within, wrong};
use crate::cors::Origins;
use crate::identity::jwks::IssuerKeys;
use crate::identity::key::{self, ALGORITHMS, Key, KeyError, MIN_SECRET_BYTES};
use crate::identity::keys::{FileError, FileKind, KeyFile, Keys, allowed_keys};
use crate::identity::{Auth, ClaimRules, Jwt, ScopeRule, TenantClaim, TokenSources};

/// A larger tolerance than the longest would make `exp` meaningless.
const LEEWAY_BOUNDS: (std::time::Duration, std::time::Duration) =
    (std::time::Duration::ZERO, std::time::Duration::from_secs(600));

const SECRET: &str = "TAILRACE_JWT_SECRET";
const SECRET_FILE: &str = "TAILRACE_JWT_SECRET_FILE";
const PUBLIC_KEY_FILE: &str = "TAILRACE_JWT_PUBLIC_KEY_FILE";
const JWKS_URL: &str = "TAILRACE_JWT_JWKS_URL";
const JWKS_FILE: &str = "TAILRACE_JWT_JWKS_FILE";

#[derive(Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Who may read: `jwt` (a bearer token per tenant) or `none` (everybody reads every tenant)
    #[arg(long = "auth", env = "TAILRACE_AUTH", default_value = "jwt", value_name = "KIND")]
    auth: String,
    /// Shared secret that tokens are signed with (HS256; from 48 bytes on HS384, from 64 on HS512), 32 bytes or more; several, one on each line
    #[arg(long = "jwt-secret", env = "TAILRACE_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    jwt_secret: Option<String>,
    /// File with shared secrets, one on each line; read again on change
    #[arg(long = "jwt-secret-file", env = "TAILRACE_JWT_SECRET_FILE", value_name = "PATH")]
    jwt_secret_file: Option<String>,
    /// PEM file with the public keys that tokens are checked with: RSA, EC (P-256, P-384), Ed25519; read again on change
    #[arg(long = "jwt-public-key-file", env = "TAILRACE_JWT_PUBLIC_KEY_FILE", value_name = "PATH")]
    jwt_public_key_file: Option<String>,
    /// Address of the issuer's key set (JWKS), fetched ahead of its expiry and for a token with a key that is not in it; redirects are not followed
    #[arg(long = "jwt-jwks-url", env = "TAILRACE_JWT_JWKS_URL", value_name = "URL")]
    jwt_jwks_url: Option<String>,
    /// File with a key set (JWKS); read again on change
    #[arg(long = "jwt-jwks-file", env = "TAILRACE_JWT_JWKS_FILE", value_name = "PATH")]
    jwt_jwks_file: Option<String>,
    /// Algorithms that tokens may be signed with, comma-separated, of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA; empty: those of the keys
    #[arg(
        long = "jwt-algorithms",
        env = "TAILRACE_JWT_ALGORITHMS",
        default_value = "",
        value_name = "ALGORITHMS"
    )]
    jwt_algorithms: String,
    /// Issuers, comma-separated, of which a token's `iss` must name one; empty: any
    #[arg(long = "jwt-issuer", env = "TAILRACE_JWT_ISSUER", default_value = "", value_name = "ISSUERS")]
    jwt_issuer: String,
    /// Audiences, comma-separated, of which a token's `aud` must name one; empty: tokens without `aud` only
    #[arg(
        long = "jwt-audience",
        env = "TAILRACE_JWT_AUDIENCE",
        default_value = "",
        value_name = "AUDIENCES"
    )]
    jwt_audience: String,
    /// Tolerance for the difference between the clocks of issuer and server, with a unit (0s to 10m)
    #[arg(long = "jwt-leeway", env = "TAILRACE_JWT_LEEWAY", default_value = "30s", value_name = "TIME")]
    jwt_leeway: String,
    /// Claim that holds the tenant, or a list of tenants: its name, or a JSON pointer such as /org/tenants
    #[arg(
        long = "jwt-tenant-claim",
        env = "TAILRACE_JWT_TENANT_CLAIM",
        default_value = "tenant_id",
        value_name = "CLAIM"
    )]
    jwt_tenant_claim: String,
    /// Scope that a token must have, `{tenant}` standing for the tenant; with `:TOPIC` behind it, it is for that topic alone; `*` is any tenant, or any topic; empty: the claim alone decides
    #[arg(
        long = "jwt-scope",
        env = "TAILRACE_JWT_SCOPE",
        default_value = "event:read:{tenant}",
        value_name = "SCOPE"
    )]
    jwt_scope: String,
    /// Name of the cookie that may hold the token, for pages of the same origin and of TAILRACE_CORS_ORIGINS; empty: none
    #[arg(long = "jwt-cookie", env = "TAILRACE_JWT_COOKIE", default_value = "", value_name = "NAME")]
    jwt_cookie: String,
    /// Whether the parameter `access_token=` may hold the token: `on` or `off`. Proxies may log it
    #[arg(long = "jwt-query", env = "TAILRACE_JWT_QUERY", default_value = "on", value_name = "WHEN")]
    jwt_query: String,
    /// Time before the end of its token at which a stream gets `tailrace.status` `token_expiring`, with a unit; 0s: none
    #[arg(long = "token-notice", env = "TAILRACE_TOKEN_NOTICE", default_value = "30s", value_name = "TIME")]
    token_notice: String,
}

impl Args {
    /// The required variables that are not set, each with an example.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let is_missing = self.auth == "jwt" && self.key_settings().is_empty();
        is_missing
            .then_some(
                "TAILRACE_JWT_SECRET (32 bytes or more; or TAILRACE_JWT_PUBLIC_KEY_FILE, TAILRACE_JWT_JWKS_URL), or \
                 TAILRACE_AUTH=none",
            )
            .into_iter()
            .collect()
    }

    /// The variables with keys that are set.
    pub(super) fn key_settings(&self) -> Vec<&'static str> {
        let all = [
            (SECRET, &self.jwt_secret),
            (SECRET_FILE, &self.jwt_secret_file),
            (PUBLIC_KEY_FILE, &self.jwt_public_key_file),
            (JWKS_URL, &self.jwt_jwks_url),
            (JWKS_FILE, &self.jwt_jwks_file),
        ];
        all.into_iter().filter(|(_, value)| given(value).is_some()).map(|(name, _)| name).collect()
    }

    /// Whether the issuer's keys come over a connection that others may change.
    pub(super) fn has_plain_issuer(&self) -> bool {
        given(&self.jwt_jwks_url).is_some_and(|url| url.starts_with("http://"))
    }

    pub(super) fn token_notice(&self) -> Result<std::time::Duration, SettingError> {
        span("TAILRACE_TOKEN_NOTICE", &self.token_notice)
    }

    pub(super) fn auth(&self, origins: &Origins) -> Result<Auth, SettingError> {
        match self.auth.as_str() {
            "none" => Ok(Auth::None),
            "jwt" => Ok(Auth::Jwt(Arc::new(Jwt {
                sources: self.sources(origins)?,
                keys: self.keys()?,
                rules: self.rules()?,
                scope: self.scope()?,
            }))),
            other => Err(wrong("TAILRACE_AUTH", other, "jwt or none")),
        }
    }

    fn keys(&self) -> Result<Keys, SettingError> {
        let allowed = self.algorithms()?;
        let accepted = "a secret of 32 bytes or more, for tokens signed with HS256; or TAILRACE_JWT_PUBLIC_KEY_FILE or \
                        TAILRACE_JWT_JWKS_URL; or set TAILRACE_AUTH=none";
        if self.key_settings().is_empty() {
            return Err(wrong(SECRET, "", accepted));
        }
        let files = [
            (SECRET_FILE, &self.jwt_secret_file, FileKind::Secrets),
            (PUBLIC_KEY_FILE, &self.jwt_public_key_file, FileKind::PublicKeys),
            (JWKS_FILE, &self.jwt_jwks_file, FileKind::KeySet),
        ];
        let files = files.into_iter().filter_map(|(name, path, kind)| Some((name, given(path)?, kind)));
        Ok(Keys {
            fixed: self.fixed(&allowed, accepted)?,
            files: files
                .map(|(name, path, kind)| open(name, path, kind, &allowed))
                .collect::<Result<_, _>>()?,
            issuer: self.issuer(&allowed)?,
        })
    }

    /// The secrets of the variable.
    fn fixed(&self, allowed: &[Algorithm], accepted: &str) -> Result<Vec<Key>, SettingError> {
        let Some(secret) = given(&self.jwt_secret) else { return Ok(Vec::new()) };
        let keys = key::secrets(secret).map_err(|error| match error {
            KeyError::ShortSecret { bytes, .. } => {
                wrong(SECRET, &format!("({bytes} bytes, not shown)"), accepted)
            }
            error => wrong(SECRET, "(not shown)", format!("{accepted}; {error}")),
        })?;
        match allowed_keys(keys, allowed) {
            keys if keys.is_empty() => Err(wrong(
                "TAILRACE_JWT_ALGORITHMS",
                &self.jwt_algorithms,
                format!(
                    "also one that TAILRACE_JWT_SECRET can check: HS256, from 48 bytes on HS384, from 64 on HS512 (the shortest \
                     secret has {MIN_SECRET_BYTES} bytes)"
                ),
            )),
            keys => Ok(keys),
        }
    }

    fn issuer(&self, allowed: &[Algorithm]) -> Result<Option<Arc<IssuerKeys>>, SettingError> {
        let Some(text) = given(&self.jwt_jwks_url) else { return Ok(None) };
        let accepted =
            "an address such as https://issuer.example/.well-known/jwks.json, without a user or a fragment";
        let url = reqwest::Url::parse(text).map_err(|_| wrong(JWKS_URL, text, accepted))?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user {
            return Err(wrong(JWKS_URL, "(not shown)", accepted));
        }
        if !matches!(url.scheme(), "https" | "http") || url.fragment().is_some() {
            return Err(wrong(JWKS_URL, text, accepted));
        }
        if !allowed.is_empty() && allowed.iter().all(|algorithm| key::is_symmetric(*algorithm)) {
            let accepted =
                "also one with a public key, as those of TAILRACE_JWT_JWKS_URL have, such as RS256 or ES256";
            return Err(wrong("TAILRACE_JWT_ALGORITHMS", &self.jwt_algorithms, accepted));
        }
        Ok(Some(Arc::new(IssuerKeys::new(url, allowed))))
    }

    fn algorithms(&self) -> Result<Vec<Algorithm>, SettingError> {
        let names = ALGORITHMS.map(|(name, _)| name).join(", ");
        let accepted = format!("a comma-separated list of {names}; empty: those of the keys");
        let parse = |name| {
            key::algorithm(name).ok_or_else(|| wrong("TAILRACE_JWT_ALGORITHMS", name, accepted.clone()))
        };
        list(&self.jwt_algorithms).map(parse).collect()
    }

    fn rules(&self) -> Result<ClaimRules, SettingError> {
        let claim = TenantClaim::new(&self.jwt_tenant_claim).ok_or_else(|| {
            let accepted = "the name of a claim, such as tenant_id, or a JSON pointer, such as /org/tenants";
            wrong("TAILRACE_JWT_TENANT_CLAIM", &self.jwt_tenant_claim, accepted)
        })?;
        Ok(ClaimRules {
            issuers: list(&self.jwt_issuer).map(str::to_owned).collect(),
            audiences: list(&self.jwt_audience).map(str::to_owned).collect(),
            leeway: span_within("TAILRACE_JWT_LEEWAY", &self.jwt_leeway, LEEWAY_BOUNDS)?,
            tenant: claim,
        })
    }

    fn scope(&self) -> Result<Option<ScopeRule>, SettingError> {
        let text = self.jwt_scope.trim();
        if text.contains(char::is_whitespace) || text.matches(crate::identity::TENANT).count() > 1 {
            let accepted = "one scope without spaces, in which {tenant} stands once at most; or nothing";
            return Err(wrong("TAILRACE_JWT_SCOPE", text, accepted));
        }
        Ok(ScopeRule::new(text))
    }

    fn sources(&self, origins: &Origins) -> Result<TokenSources, SettingError> {
        let query = match self.jwt_query.as_str() {
            "on" => true,
            "off" => false,
            other => return Err(wrong("TAILRACE_JWT_QUERY", other, "on or off")),
        };
        Ok(TokenSources { query, cookie: self.cookie(origins)?, origins: origins.clone() })
    }

    fn cookie(&self, origins: &Origins) -> Result<Option<String>, SettingError> {
        let name = self.jwt_cookie.trim();
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if !name.chars().all(is_token) {
            let accepted = "the name of a cookie: letters, digits, and !#$%&'*+-.^_`|~";
            return Err(wrong("TAILRACE_JWT_COOKIE", name, accepted));
        }
        if !name.is_empty() && origins.allows_any() {
            let accepted = "the origins whose pages may read with the cookie of their visitor; with TAILRACE_JWT_COOKIE, `*` \
                            would be every page on the web";
            return Err(wrong("TAILRACE_CORS_ORIGINS", "*", accepted));
        }
        Ok(Some(name.to_owned()).filter(|name| !name.is_empty()))
    }
}

/// A variable that is set to nothing is not set.
fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !value.is_empty())
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn open(
    name: &'static str,
    path: &str,
    kind: FileKind,
    allowed: &[Algorithm],
) -> Result<KeyFile, SettingError> {
    let what = match kind {
        FileKind::Secrets => "a file with secrets of 32 bytes or more, one on each line",
        FileKind::PublicKeys => "a PEM file with public keys",
        FileKind::KeySet => "a file with a JSON key set",
    };
    KeyFile::open(Path::new(path), kind, allowed)
        .map_err(|error: FileError| wrong(name, path, format!("{what}; {error}")))
}
