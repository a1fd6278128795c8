//! Every setting of this package: one flag, one variable, one default each, checked before anything binds.

mod addresses;
mod admin;
mod compression;
mod identity;
mod limits;
mod limits_file;
mod privacy;
mod tls;
mod value;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tailrace_bridge::{ByteSize, Envelope, Privacy};

pub(crate) use self::admin::AdminSettings;
pub(crate) use self::limits::LimitSettings;
pub use self::limits_file::check_limits_file;
#[cfg(test)]
pub(crate) use self::limits_file::parse as parse_limits;
pub(crate) use self::limits_file::{FileError, LimitsFile, TenantLimits};
pub use self::value::SettingError;
use self::value::{address, parse, span, span_within, wrong};
use crate::coding::Compression;
use crate::cors::Origins;
use crate::identity::Auth;
use crate::peer::PeerRules;
use crate::tls::TlsFiles;

/// Memory for bytes that clients have not read yet, for all clients together, unless the program sets another limit.
const UNREAD: usize = 32 << 20;
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
    #[command(flatten)]
    admin: admin::Args,
    #[command(flatten)]
    addresses: addresses::Args,
    #[command(flatten)]
    identity: identity::Args,
    /// Origins whose pages may read streams, comma-separated; `*` is any, `http://localhost:*` any port; empty: none but the server's own
    #[arg(long = "cors-origins", env = "TAILRACE_CORS_ORIGINS", default_value = "", value_name = "ORIGINS")]
    cors_origins: String,
    /// The console page at `/`: `auto` (only with auth `none`), `on` or `off`
    #[arg(long = "console", env = "TAILRACE_CONSOLE", default_value = "auto", value_name = "WHEN")]
    console: String,
    /// Default of the parameter `envelope=`: `none` (the value as it is), `record` (JSON with key, headers and place) or `cloudevents` (CloudEvents 1.0)
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
    /// Longest event id of a new stream, with a unit: longer ones would not come back through a proxy as a header
    #[arg(long = "max-id-size", env = "TAILRACE_MAX_ID_SIZE", default_value = "7KiB", value_name = "SIZE")]
    max_id_size: String,
    #[command(flatten)]
    compression: compression::Args,
    #[command(flatten)]
    privacy: privacy::Args,
    #[command(flatten)]
    limits: limits::Args,
    #[command(flatten)]
    tls: tls::Args,
}

/// A setting as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationValue {
    /// The environment variable.
    pub variable: String,
    /// The value; of a secret, only whether it is set.
    pub value: String,
    /// Whether nobody has set it.
    pub is_default: bool,
}

/// The checked settings of the web side.
#[derive(Clone)]
pub struct WebSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) peers: Arc<PeerRules>,
    pub(crate) admin: AdminSettings,
    /// What operators see of all settings of the program.
    pub(crate) configuration: Arc<[ConfigurationValue]>,
    pub(crate) auth: Auth,
    /// The variables with keys that are set though no token is required.
    pub(crate) idle_keys: Vec<&'static str>,
    /// Whether the issuer's keys come over plain HTTP.
    pub(crate) has_plain_issuer: bool,
    /// How long before the end of its token a stream is told; zero: it is not.
    pub(crate) token_notice: Duration,
    pub(crate) privacy: Arc<Privacy>,
    /// Whether requests are spans of the global tracer.
    pub(crate) traces: bool,
    /// Whether there is a key of hashes, and nothing is hashed.
    pub(crate) has_idle_mask_key: bool,
    pub(crate) origins: Origins,
    pub(crate) console: bool,
    /// The tenants of the demo; empty: the server is none.
    pub(crate) demo_tenants: Vec<String>,
    pub(crate) envelope: Envelope,
    pub(crate) heartbeat: Duration,
    pub(crate) retry: Duration,
    pub(crate) drain_delay: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) drain_retry: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_id_size: usize,
    pub(crate) compression: Compression,
    pub(crate) limits: LimitSettings,
    /// `None`: streams are served without TLS.
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) unread: usize,
}

impl Args {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn settings(&self) -> Result<WebSettings, SettingError> {
        let origins = parse("TAILRACE_CORS_ORIGINS", &self.cors_origins)?;
        let auth = self.identity.auth(&origins)?;
        let listen = address("TAILRACE_LISTEN", &self.listen)?;
        let admin = self.admin.settings()?;
        if overlap(listen, admin.listen) {
            let accepted = format!("an address of its own; {listen} is TAILRACE_LISTEN");
            return Err(wrong("TAILRACE_ADMIN_LISTEN", &self.admin.admin_listen, &accepted));
        }
        let privacy = self.privacy.privacy()?;
        Ok(WebSettings {
            has_idle_mask_key: self.privacy.has_idle_mask_key(&privacy.masks),
            privacy: Arc::new(privacy),
            traces: false,
            listen,
            idle_keys: if matches!(auth, Auth::None) { self.identity.key_settings() } else { Vec::new() },
            has_plain_issuer: self.identity.has_plain_issuer(),
            token_notice: self.identity.token_notice()?,
            peers: Arc::new(self.addresses.rules()?),
            admin,
            configuration: Arc::default(),
            console: self.console(&auth)?,
            demo_tenants: Vec::new(),
            auth,
            origins,
            envelope: parse("TAILRACE_ENVELOPE", &self.envelope)?,
            heartbeat: span_within("TAILRACE_HEARTBEAT", &self.heartbeat, HEARTBEAT_BOUNDS)?,
            retry: span_within("TAILRACE_RETRY", &self.retry, RETRY_BOUNDS)?,
            drain_delay: span("TAILRACE_DRAIN_DELAY", &self.drain_delay)?,
            drain_timeout: span("TAILRACE_DRAIN_TIMEOUT", &self.drain_timeout)?,
            drain_retry: span_within("TAILRACE_DRAIN_RETRY", &self.drain_retry, RETRY_BOUNDS)?,
            max_age: Some(span("TAILRACE_MAX_CONNECTION_AGE", &self.max_connection_age)?)
                .filter(|age| !age.is_zero()),
            max_id_size: id_size(&self.max_id_size)?,
            compression: self.compression.read()?,
            limits: self.limits.settings()?,
            tls: self.tls.files()?,
            unread: UNREAD,
        })
    }

    /// The required variables that are not set, each with an example.
    pub fn missing(&self) -> Vec<&'static str> {
        self.identity.missing()
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

    /// Sets what operators see of all settings of the program, which must be without secrets.
    pub fn set_configuration(&mut self, values: Vec<ConfigurationValue>) {
        self.configuration = values.into();
    }

    /// Makes the server the demo with these tenants: beside the console it has the boards, and, unless tokens are required, the
    /// console offers the tenants and starts with the first one. A server does not know its tenants by itself.
    pub fn be_demo(&mut self, tenants: &[&str]) {
        self.demo_tenants = tenants.iter().map(|&tenant| tenant.to_owned()).collect();
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
        if !self.idle_keys.is_empty() {
            let names = self.idle_keys.join(", ");
            doubts.push(format!("{names} is set, and no token is asked for: TAILRACE_AUTH is none"));
        }
        if self.admin.tokens.is_none() && !self.admin.listen.ip().to_canonical().is_loopback() {
            doubts.push(format!(
                "TAILRACE_ADMIN_LISTEN: whoever reaches {} may read /metrics; /streams, /tenants and /config are closed \
                 there without TAILRACE_ADMIN_TOKEN_FILE",
                self.admin.listen
            ));
        }
        if self.has_plain_issuer && !self.is_open() {
            doubts.push(
                "TAILRACE_JWT_JWKS_URL is http: whoever is between this server and the issuer can replace its keys, and sign \
                 tokens; https is safe".to_owned(),
            );
        }
        doubts.extend(addresses::doubts(&self.peers));
        if self.is_open() && self.limits.tenant.max_streams_per_subject > 0 {
            doubts.push(
                "TAILRACE_MAX_STREAMS_PER_SUBJECT limits nothing: no stream has a subject, as TAILRACE_AUTH is none"
                    .to_owned(),
            );
        }
        if self.has_idle_mask_key {
            doubts.push("TAILRACE_MASK_KEY_FILE is set, and TAILRACE_MASK hashes nothing".to_owned());
        }
        doubts
    }

    /// Whether a file is read again while the server runs.
    pub fn reads_files_again(&self) -> bool {
        self.limits.file.is_some() || self.auth.has_files() || self.tls.is_some()
    }

    /// Requests for streams become spans of OpenTelemetry's global tracer.
    pub fn trace(&mut self) {
        self.traces = true;
    }

    /// What tenants may see of records and positions, for the core.
    pub fn privacy(&self) -> Arc<Privacy> {
        Arc::clone(&self.privacy)
    }

    /// The configured address of the streams; port 0 lets the system choose one.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Whether anybody may read any tenant.
    pub fn is_open(&self) -> bool {
        matches!(self.auth, Auth::None)
    }

    /// Whether clients are asked for neither a token nor a certificate: what one gets, anybody may have.
    pub(crate) fn is_public(&self) -> bool {
        self.is_open() && self.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none())
    }

    /// Whether streams are served over TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What the addresses of streams and the console begin with: `https`, or `http` without a certificate.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Whether the console is served at `/`.
    pub fn has_console(&self) -> bool {
        self.console
    }
}

/// Whether two listeners would use the same port of the same address.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && one.port() != 0 && (a == b || a.is_unspecified() || b.is_unspecified())
}

/// Checks the size against [`ID_SIZE_BOUNDS`].
fn id_size(value: &str) -> Result<usize, SettingError> {
    let size = parse::<ByteSize>("TAILRACE_MAX_ID_SIZE", value)?.get();
    match usize::try_from(size) {
        Ok(size) if ID_SIZE_BOUNDS.contains(&size) => Ok(size),
        _ => Err(wrong("TAILRACE_MAX_ID_SIZE", value, "a size from 64B to 16KiB")),
    }
}
