//! Settings of who may read: the kind of authentication, keys, and what tokens must say.

use super::SettingError;
use super::value::wrong;
use crate::auth::{Auth, JwtRules};

/// The shortest HS256 key (RFC 7518, section 3.2: as long as the hash).
const MIN_SECRET_BYTES: usize = 32;

#[derive(Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Who may read: `jwt` (a bearer token per tenant) or `none` (everybody reads every tenant)
    #[arg(long = "auth", env = "TAILRACE_AUTH", default_value = "jwt", value_name = "KIND")]
    auth: String,
    /// Shared secret that tokens are signed with (HS256), 32 bytes or more
    #[arg(long = "jwt-secret", env = "TAILRACE_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    jwt_secret: Option<String>,
    /// PEM file with the public key that tokens are checked with (not available in this version)
    #[arg(long = "jwt-public-key-file", env = "TAILRACE_JWT_PUBLIC_KEY_FILE", value_name = "PATH")]
    jwt_public_key_file: Option<String>,
    /// Address of the key set that tokens are checked with (not available in this version)
    #[arg(long = "jwt-jwks-url", env = "TAILRACE_JWT_JWKS_URL", value_name = "URL")]
    jwt_jwks_url: Option<String>,
    /// Issuer that a token's `iss` must name; empty: any
    #[arg(long = "jwt-issuer", env = "TAILRACE_JWT_ISSUER", default_value = "", value_name = "ISSUER")]
    jwt_issuer: String,
    /// Audience that a token's `aud` must name; empty: tokens without `aud` only
    #[arg(long = "jwt-audience", env = "TAILRACE_JWT_AUDIENCE", default_value = "", value_name = "AUDIENCE")]
    jwt_audience: String,
    /// Claim that holds the tenant, or a list of tenants
    #[arg(
        long = "jwt-tenant-claim",
        env = "TAILRACE_JWT_TENANT_CLAIM",
        default_value = "tenant_id",
        value_name = "CLAIM"
    )]
    jwt_tenant_claim: String,
    /// Scope that a token must have, `{tenant}` standing for the tenant; empty: the claim alone decides
    #[arg(
        long = "jwt-scope",
        env = "TAILRACE_JWT_SCOPE",
        default_value = "event:read:{tenant}",
        value_name = "SCOPE"
    )]
    jwt_scope: String,
}

impl Args {
    /// The required variables that are not set, each with an example.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let is_missing = self.auth == "jwt" && !self.has_secret();
        is_missing
            .then_some("TAILRACE_JWT_SECRET (32 bytes or more), or TAILRACE_AUTH=none")
            .into_iter()
            .collect()
    }

    pub(super) fn has_secret(&self) -> bool {
        self.jwt_secret.as_deref().is_some_and(|secret| !secret.is_empty())
    }

    pub(super) fn auth(&self) -> Result<Auth, SettingError> {
        refuse_for_now("TAILRACE_JWT_PUBLIC_KEY_FILE", self.jwt_public_key_file.as_deref())?;
        refuse_for_now("TAILRACE_JWT_JWKS_URL", self.jwt_jwks_url.as_deref())?;
        match self.auth.as_str() {
            "none" => Ok(Auth::None),
            "jwt" => Ok(Auth::jwt(JwtRules {
                secret: self.secret()?.as_bytes().to_vec(),
                issuer: self.jwt_issuer.clone(),
                audience: self.jwt_audience.clone(),
                tenant_claim: self.tenant_claim()?,
                scope: self.jwt_scope.clone(),
            })),
            other => Err(wrong("TAILRACE_AUTH", other, "jwt or none")),
        }
    }

    fn secret(&self) -> Result<&str, SettingError> {
        let accepted =
            "a secret of 32 bytes or more, for tokens signed with HS256; or set TAILRACE_AUTH=none";
        match self.jwt_secret.as_deref() {
            None | Some("") => Err(wrong("TAILRACE_JWT_SECRET", "", accepted)),
            Some(secret) if secret.len() < MIN_SECRET_BYTES => {
                Err(wrong("TAILRACE_JWT_SECRET", &format!("({} bytes, not shown)", secret.len()), accepted))
            }
            Some(secret) => Ok(secret),
        }
    }

    fn tenant_claim(&self) -> Result<String, SettingError> {
        match self.jwt_tenant_claim.as_str() {
            "" => Err(wrong("TAILRACE_JWT_TENANT_CLAIM", "", "the name of a claim, such as tenant_id")),
            claim => Ok(claim.to_owned()),
        }
    }
}

fn refuse_for_now(variable: &'static str, value: Option<&str>) -> Result<(), SettingError> {
    match value {
        None | Some("") => Ok(()),
        Some(value) => Err(wrong(
            variable,
            value,
            "nothing yet: it is not available in this version, which checks tokens with TAILRACE_JWT_SECRET",
        )),
    }
}
