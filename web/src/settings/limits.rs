//! Settings of limits: streams, new streams, events and bytes.

use super::SettingError;
use super::value::{count, rate};

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
}

/// The checked limits; zero: no limit.
#[derive(Clone, Debug)]
pub(crate) struct LimitSettings {
    pub(crate) max_streams: usize,
    pub(crate) max_streams_per_tenant: usize,
    pub(crate) max_streams_per_address: usize,
    pub(crate) connect_rate_per_tenant: f64,
    pub(crate) connect_rate_per_address: f64,
    pub(crate) stream_event_rate: f64,
    pub(crate) stream_byte_rate: f64,
}

impl Args {
    pub(super) fn settings(&self) -> Result<LimitSettings, SettingError> {
        Ok(LimitSettings {
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
            stream_event_rate: rate("TAILRACE_STREAM_EVENT_RATE", &self.stream_event_rate)?,
            stream_byte_rate: rate("TAILRACE_STREAM_BYTE_RATE", &self.stream_byte_rate)?,
        })
    }
}
