//! Every setting of this package: one flag, one variable, one default each, checked before anything binds.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use tailrace_bridge::{ByteSize, Envelope, Rate, Span};

use crate::auth::{Auth, JwtRules};
use crate::cors::Origins;

/// Memory for bytes that clients have not read yet, for all clients together, unless the program sets another limit.
const UNREAD: usize = 32 << 20;
/// The shortest HS256 key (RFC 7518, section 3.2: as long as the hash).
const MIN_SECRET_BYTES: usize = 32;
/// Shorter intervals only waste energy; longer ones exceed the idle timeouts of proxies.
pub(crate) const HEARTBEAT_BOUNDS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(3600));
/// A client that reconnects faster than this runs a busy loop.
pub(crate) const RETRY_BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(3600));

/// At least room for an id of one partition; at most half of what the server accepts as a request's head.
const ID_SIZE_BOUNDS: std::ops::RangeInclusive<usize> = 64..=16 << 10;

/// The command line and environment of the web side.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Web")]
// Clap names a group after the type, and both packages call their type `Args`.
#[group(skip)]
pub struct Args {
    /// Address that streams and the console are served on, as HOST:PORT
    #[arg(long = "listen", env = "TAILRACE_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    listen: String,
    /// Address of /healthz, /readyz and /metrics, as HOST:PORT
    #[arg(
        long = "admin-listen",
        env = "TAILRACE_ADMIN_LISTEN",
        default_value = "127.0.0.1:9464",
        value_name = "ADDRESS"
    )]
    admin_listen: String,
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
    /// Origins whose pages may read streams, comma-separated; `*` is any, `http://localhost:*` any port; empty: none but the server's own
    #[arg(long = "cors-origins", env = "TAILRACE_CORS_ORIGINS", default_value = "", value_name = "ORIGINS")]
    cors_origins: String,
    /// The console page at `/`: `auto` (only with auth `none`), `on` or `off`
    #[arg(long = "console", env = "TAILRACE_CONSOLE", default_value = "auto", value_name = "WHEN")]
    console: String,
    /// Default of the parameter `envelope=`: `none` (the value as it is) or `record` (JSON with key, headers and place)
    #[arg(long = "envelope", env = "TAILRACE_ENVELOPE", default_value = "none", value_name = "ENVELOPE")]
    envelope: String,
    /// Silence after which a stream gets a heartbeat, with a unit (100ms to 1h)
    #[arg(long = "heartbeat", env = "TAILRACE_HEARTBEAT", default_value = "15s", value_name = "TIME")]
    heartbeat: String,
    /// Time after which a client comes back, with a unit (10ms to 1h); jittered by half for each connection
    #[arg(long = "retry", env = "TAILRACE_RETRY", default_value = "2s", value_name = "TIME")]
    retry: String,
    /// Time between the signal to stop and the first close of a stream, with a unit; new streams are still taken in it
    #[arg(long = "drain-delay", env = "TAILRACE_DRAIN_DELAY", default_value = "5s", value_name = "TIME")]
    drain_delay: String,
    /// Time in which all streams are closed after that, with a unit; what is still open then is cut
    #[arg(
        long = "drain-timeout",
        env = "TAILRACE_DRAIN_TIMEOUT",
        default_value = "20s",
        value_name = "TIME"
    )]
    drain_timeout: String,
    /// Least time after which a client comes back that a stopping server has closed, with a unit (10ms to 1h); up to half of it is added for each. As long as a restart takes, or short where another replica answers meanwhile
    #[arg(long = "drain-retry", env = "TAILRACE_DRAIN_RETRY", default_value = "5s", value_name = "TIME")]
    drain_retry: String,
    /// Age at which a stream is closed and comes back, with a unit; 0s: none
    #[arg(
        long = "max-connection-age",
        env = "TAILRACE_MAX_CONNECTION_AGE",
        default_value = "0s",
        value_name = "TIME"
    )]
    max_connection_age: String,
    /// Open streams in all; 0: no limit
    #[arg(
        long = "max-streams",
        env = "TAILRACE_MAX_STREAMS",
        default_value = "100000",
        value_name = "COUNT"
    )]
    max_streams: String,
    /// Open streams of one tenant; 0: no limit
    #[arg(
        long = "max-streams-per-tenant",
        env = "TAILRACE_MAX_STREAMS_PER_TENANT",
        default_value = "10000",
        value_name = "COUNT"
    )]
    max_streams_per_tenant: String,
    /// Open streams of one address (of one /64 for IPv6); 0: no limit
    #[arg(
        long = "max-streams-per-address",
        env = "TAILRACE_MAX_STREAMS_PER_ADDRESS",
        default_value = "0",
        value_name = "COUNT"
    )]
    max_streams_per_address: String,
    /// New streams of one tenant, as in `100/s`; 0: no limit
    #[arg(
        long = "connect-rate-per-tenant",
        env = "TAILRACE_CONNECT_RATE_PER_TENANT",
        default_value = "0",
        value_name = "RATE"
    )]
    connect_rate_per_tenant: String,
    /// New streams of one address, as in `100/s`; 0: no limit
    #[arg(
        long = "connect-rate-per-address",
        env = "TAILRACE_CONNECT_RATE_PER_ADDRESS",
        default_value = "0",
        value_name = "RATE"
    )]
    connect_rate_per_address: String,
    /// Longest event id of a new stream, with a unit: longer ones would not come back through a proxy as a header
    #[arg(long = "max-id-size", env = "TAILRACE_MAX_ID_SIZE", default_value = "7KiB", value_name = "SIZE")]
    max_id_size: String,
    /// Events that one stream gets, as in `100/s`; 0: no limit. A stream over it is read later, nothing is dropped
    #[arg(
        long = "stream-event-rate",
        env = "TAILRACE_STREAM_EVENT_RATE",
        default_value = "0",
        value_name = "RATE"
    )]
    stream_event_rate: String,
    /// Bytes that one stream gets, as in `64KiB/s`; 0: no limit. A stream over it is read later, nothing is dropped
    #[arg(
        long = "stream-byte-rate",
        env = "TAILRACE_STREAM_BYTE_RATE",
        default_value = "0",
        value_name = "RATE"
    )]
    stream_byte_rate: String,
}

/// A value that cannot be used: the variable, its value, and what is accepted there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value:?} cannot be used: accepted is {accepted}")]
pub struct SettingError {
    /// The environment variable.
    pub variable: &'static str,
    /// The rejected value; a secret is not repeated.
    pub value: String,
    /// What is accepted in its place.
    pub accepted: String,
}

/// The checked settings of the web side.
#[derive(Clone)]
pub struct WebSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) auth: Auth,
    /// Whether a secret is set though no token is required.
    pub(crate) has_idle_key: bool,
    pub(crate) origins: Origins,
    pub(crate) console: bool,
    /// Tenants that the console suggests.
    pub(crate) suggested_tenants: Vec<String>,
    pub(crate) envelope: Envelope,
    pub(crate) heartbeat: Duration,
    pub(crate) retry: Duration,
    pub(crate) drain_delay: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) drain_retry: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_streams: usize,
    pub(crate) max_streams_per_tenant: usize,
    pub(crate) max_streams_per_address: usize,
    pub(crate) connect_rate_per_tenant: f64,
    pub(crate) connect_rate_per_address: f64,
    pub(crate) max_id_size: usize,
    pub(crate) stream_event_rate: f64,
    pub(crate) stream_byte_rate: f64,
    pub(crate) unread: usize,
}

impl Args {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn settings(&self) -> Result<WebSettings, SettingError> {
        let auth = self.auth()?;
        let listen = address("TAILRACE_LISTEN", &self.listen)?;
        let admin_listen = address("TAILRACE_ADMIN_LISTEN", &self.admin_listen)?;
        if overlap(listen, admin_listen) {
            let accepted = format!("an address of its own; {listen} is TAILRACE_LISTEN");
            return Err(wrong("TAILRACE_ADMIN_LISTEN", &self.admin_listen, &accepted));
        }
        Ok(WebSettings {
            listen,
            admin_listen,
            has_idle_key: matches!(auth, Auth::None) && self.has_secret(),
            console: self.console(&auth)?,
            suggested_tenants: Vec::new(),
            auth,
            origins: parse("TAILRACE_CORS_ORIGINS", &self.cors_origins)?,
            envelope: parse("TAILRACE_ENVELOPE", &self.envelope)?,
            heartbeat: span_within("TAILRACE_HEARTBEAT", &self.heartbeat, HEARTBEAT_BOUNDS)?,
            retry: span_within("TAILRACE_RETRY", &self.retry, RETRY_BOUNDS)?,
            drain_delay: span("TAILRACE_DRAIN_DELAY", &self.drain_delay)?,
            drain_timeout: span("TAILRACE_DRAIN_TIMEOUT", &self.drain_timeout)?,
            drain_retry: span_within("TAILRACE_DRAIN_RETRY", &self.drain_retry, RETRY_BOUNDS)?,
            max_age: Some(span("TAILRACE_MAX_CONNECTION_AGE", &self.max_connection_age)?)
                .filter(|age| !age.is_zero()),
            max_streams: count("TAILRACE_MAX_STREAMS", &self.max_streams)?,
            max_streams_per_tenant: count("TAILRACE_MAX_STREAMS_PER_TENANT", &self.max_streams_per_tenant)?,
            max_streams_per_address: count(
                "TAILRACE_MAX_STREAMS_PER_ADDRESS",
                &self.max_streams_per_address,
            )?,
            connect_rate_per_tenant: rate("TAILRACE_CONNECT_RATE_PER_TENANT", &self.connect_rate_per_tenant)?,
            connect_rate_per_address: rate(
                "TAILRACE_CONNECT_RATE_PER_ADDRESS",
                &self.connect_rate_per_address,
            )?,
            max_id_size: id_size(&self.max_id_size)?,
            stream_event_rate: rate("TAILRACE_STREAM_EVENT_RATE", &self.stream_event_rate)?,
            stream_byte_rate: rate("TAILRACE_STREAM_BYTE_RATE", &self.stream_byte_rate)?,
            unread: UNREAD,
        })
    }

    /// The required variables that are not set, each with an example.
    pub fn missing(&self) -> Vec<&'static str> {
        let is_missing = self.auth == "jwt" && !self.has_secret();
        is_missing
            .then_some("TAILRACE_JWT_SECRET (32 bytes or more), or TAILRACE_AUTH=none")
            .into_iter()
            .collect()
    }

    fn has_secret(&self) -> bool {
        self.jwt_secret.as_deref().is_some_and(|secret| !secret.is_empty())
    }

    fn auth(&self) -> Result<Auth, SettingError> {
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

    fn console(&self, auth: &Auth) -> Result<bool, SettingError> {
        match self.console.as_str() {
            "auto" => Ok(matches!(auth, Auth::None)),
            "on" => Ok(true),
            "off" => Ok(false),
            other => Err(wrong("TAILRACE_CONSOLE", other, "auto, on or off")),
        }
    }
}

impl WebSettings {
    /// Sets the memory for bytes that clients have not read yet, for all clients together, in place of 32 MiB.
    pub fn set_unread(&mut self, bytes: usize) {
        self.unread = bytes;
    }

    /// Lets the console suggest these tenants, unless tokens are required. A server does not know its tenants by itself.
    pub fn suggest_tenants(&mut self, tenants: &[&str]) {
        self.suggested_tenants = tenants.iter().map(|&tenant| tenant.to_owned()).collect();
    }

    /// Warnings about settings that the operator may not have meant, each as a sentence.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.is_open() && !self.listen.ip().is_loopback() {
            doubts.push(format!(
                "TAILRACE_AUTH=none: whoever reaches {} may read every tenant; authentication must be before it",
                self.listen
            ));
        }
        if self.has_idle_key {
            doubts.push(
                "TAILRACE_JWT_SECRET is set, and no token is asked for: TAILRACE_AUTH is none".to_owned(),
            );
        }
        doubts
    }

    /// The configured address of the streams; port 0 lets the system choose one.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Whether anybody may read any tenant.
    pub fn is_open(&self) -> bool {
        matches!(self.auth, Auth::None)
    }

    /// Whether the console is served at `/`.
    pub fn has_console(&self) -> bool {
        self.console
    }
}

fn wrong(variable: &'static str, value: &str, accepted: impl Into<String>) -> SettingError {
    SettingError { variable, value: value.to_owned(), accepted: accepted.into() }
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

fn parse<T: FromStr<Err = String>>(variable: &'static str, value: &str) -> Result<T, SettingError> {
    value.trim().parse().map_err(|accepted: String| wrong(variable, value, accepted))
}

fn address(variable: &'static str, value: &str) -> Result<SocketAddr, SettingError> {
    let accepted = "an address and a port, such as 0.0.0.0:8080, [::]:8080 or localhost:8080";
    let found = value.trim().to_socket_addrs().ok().and_then(|mut all| all.next());
    found.ok_or_else(|| wrong(variable, value, accepted))
}

fn span(variable: &'static str, value: &str) -> Result<Duration, SettingError> {
    parse::<Span>(variable, value).map(|span| span.get())
}

fn span_within(
    variable: &'static str,
    value: &str,
    (low, high): (Duration, Duration),
) -> Result<Duration, SettingError> {
    let span = span(variable, value)?;
    if span < low || span > high {
        let (low, high) = (Span::new(low), Span::new(high));
        return Err(wrong(variable, value, format!("a time from {low} to {high}")));
    }
    Ok(span)
}

/// Whether two listeners would use the same port of the same address.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && one.port() != 0 && (a == b || a.is_unspecified() || b.is_unspecified())
}

fn count(variable: &'static str, value: &str) -> Result<usize, SettingError> {
    value.trim().parse().map_err(|_| wrong(variable, value, "a whole number; 0 is no limit"))
}

/// Checks the size against [`ID_SIZE_BOUNDS`].
fn id_size(value: &str) -> Result<usize, SettingError> {
    let size = parse::<ByteSize>("TAILRACE_MAX_ID_SIZE", value)?.get();
    match usize::try_from(size) {
        Ok(size) if ID_SIZE_BOUNDS.contains(&size) => Ok(size),
        _ => Err(wrong("TAILRACE_MAX_ID_SIZE", value, "a size from 64B to 16KiB")),
    }
}

fn rate(variable: &'static str, value: &str) -> Result<f64, SettingError> {
    parse::<Rate>(variable, value).map(|rate| rate.per_second())
}
