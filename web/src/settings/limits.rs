//! Settings of limits: streams, new streams, events and bytes, replays.

use tailrace_bridge::Rate;

use super::limits_file::{LimitsFile, TenantLimits};
use super::value::{SettingError, count, rate, wrong};

#[derive(Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
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
    /// Open streams of one subject (`sub`) of a tenant's tokens; 0: no limit. Tokens without `sub` count as one subject
    #[arg(
        long = "max-streams-per-subject",
        env = "TAILRACE_MAX_STREAMS_PER_SUBJECT",
        default_value = "0",
        value_name = "COUNT"
    )]
    max_streams_per_subject: String,
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
    /// Events that the streams of one tenant get together, as in `1000/s`; 0: no limit. It is shared fairly, nothing is dropped
    #[arg(
        long = "tenant-event-rate",
        env = "TAILRACE_TENANT_EVENT_RATE",
        default_value = "0",
        value_name = "RATE"
    )]
    tenant_event_rate: String,
    /// Bytes that the streams of one tenant get together, as in `1MiB/s`; 0: no limit. It is shared fairly, nothing is dropped
    #[arg(
        long = "tenant-byte-rate",
        env = "TAILRACE_TENANT_BYTE_RATE",
        default_value = "0",
        value_name = "RATE"
    )]
    tenant_byte_rate: String,
    /// Streams of one tenant that read history (what is no longer in memory) at once; 0: no limit
    #[arg(
        long = "max-replays-per-tenant",
        env = "TAILRACE_MAX_REPLAYS_PER_TENANT",
        default_value = "0",
        value_name = "COUNT"
    )]
    max_replays_per_tenant: String,
    /// Conditions of all different filters of one tenant's streams, with each of which its records may be compared; 0: no limit. Of a filter, one `where=` by which it is found does not count
    #[arg(
        long = "max-conditions-per-tenant",
        env = "TAILRACE_MAX_CONDITIONS_PER_TENANT",
        default_value = "0",
        value_name = "COUNT"
    )]
    max_conditions_per_tenant: String,
    /// Bytes of records that the replays of one tenant examine together, whether they match or not, as in `16MiB/s`; 0: no limit
    #[arg(
        long = "replay-byte-rate-per-tenant",
        env = "TAILRACE_REPLAY_BYTE_RATE_PER_TENANT",
        default_value = "0",
        value_name = "RATE"
    )]
    replay_byte_rate_per_tenant: String,
    /// File with limits of single tenants, in TOML: `[tenant."acme"]`, `max_streams = 500`; read again when it changes, and on SIGHUP
    #[arg(long = "limits-file", env = "TAILRACE_LIMITS_FILE", default_value = "", value_name = "PATH")]
    limits_file: String,
}

/// The checked limits; zero: no limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitSettings {
    pub(crate) max_streams: usize,
    pub(crate) max_streams_per_address: usize,
    pub(crate) connect_rate_per_address: Rate,
    /// Of each tenant that the file does not name.
    pub(crate) tenant: TenantLimits,
    pub(crate) file: Option<LimitsFile>,
}

impl Args {
    pub(super) fn settings(&self) -> Result<LimitSettings, SettingError> {
        let tenant = self.tenant()?;
        Ok(LimitSettings {
            max_streams: count("TAILRACE_MAX_STREAMS", &self.max_streams)?,
            max_streams_per_address: count(
                "TAILRACE_MAX_STREAMS_PER_ADDRESS",
                &self.max_streams_per_address,
            )?,
            connect_rate_per_address: rate(
                "TAILRACE_CONNECT_RATE_PER_ADDRESS",
                &self.connect_rate_per_address,
            )?,
            file: self.file(&tenant)?,
            tenant,
        })
    }

    fn tenant(&self) -> Result<TenantLimits, SettingError> {
        Ok(TenantLimits {
            max_streams: count("TAILRACE_MAX_STREAMS_PER_TENANT", &self.max_streams_per_tenant)?,
            max_streams_per_subject: count(
                "TAILRACE_MAX_STREAMS_PER_SUBJECT",
                &self.max_streams_per_subject,
            )?,
            connect_rate: rate("TAILRACE_CONNECT_RATE_PER_TENANT", &self.connect_rate_per_tenant)?,
            stream_event_rate: rate("TAILRACE_STREAM_EVENT_RATE", &self.stream_event_rate)?,
            stream_byte_rate: rate("TAILRACE_STREAM_BYTE_RATE", &self.stream_byte_rate)?,
            event_rate: rate("TAILRACE_TENANT_EVENT_RATE", &self.tenant_event_rate)?,
            byte_rate: rate("TAILRACE_TENANT_BYTE_RATE", &self.tenant_byte_rate)?,
            max_replays: count("TAILRACE_MAX_REPLAYS_PER_TENANT", &self.max_replays_per_tenant)?,
            max_conditions: count("TAILRACE_MAX_CONDITIONS_PER_TENANT", &self.max_conditions_per_tenant)?,
            replay_byte_rate: rate(
                "TAILRACE_REPLAY_BYTE_RATE_PER_TENANT",
                &self.replay_byte_rate_per_tenant,
            )?,
        })
    }

    fn file(&self, usual: &TenantLimits) -> Result<Option<LimitsFile>, SettingError> {
        if self.limits_file.is_empty() {
            return Ok(None);
        }
        let refused = |error| {
            let accepted = format!("a TOML file with limits of tenants ({error})");
            wrong("TAILRACE_LIMITS_FILE", &self.limits_file, accepted)
        };
        LimitsFile::read(&self.limits_file, usual).map(Some).map_err(refused)
    }
}
