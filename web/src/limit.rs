//! The limits by name, as settings, problem documents and metrics call them.

/// A limit that a request or a stream may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    MaxStreams,
    MaxStreamsPerTenant,
    MaxStreamsPerSubject,
    MaxStreamsPerAddress,
    ConnectRatePerTenant,
    ConnectRatePerAddress,
    MaxReplaysPerTenant,
    MaxConditionsPerTenant,
    StreamRate,
    TenantRate,
}

impl Limit {
    pub(crate) const ALL: [Limit; 10] = [
        Limit::MaxStreams,
        Limit::MaxStreamsPerTenant,
        Limit::MaxStreamsPerSubject,
        Limit::MaxStreamsPerAddress,
        Limit::ConnectRatePerTenant,
        Limit::ConnectRatePerAddress,
        Limit::MaxReplaysPerTenant,
        Limit::MaxConditionsPerTenant,
        Limit::StreamRate,
        Limit::TenantRate,
    ];

    /// The name in problem documents, also the label of the metric.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Limit::MaxStreams => "max_streams",
            Limit::MaxStreamsPerTenant => "max_streams_per_tenant",
            Limit::MaxStreamsPerSubject => "max_streams_per_subject",
            Limit::MaxStreamsPerAddress => "max_streams_per_address",
            Limit::ConnectRatePerTenant => "connect_rate_per_tenant",
            Limit::ConnectRatePerAddress => "connect_rate_per_address",
            Limit::MaxReplaysPerTenant => "max_replays_per_tenant",
            Limit::MaxConditionsPerTenant => "max_conditions_per_tenant",
            Limit::StreamRate => "stream_rate",
            Limit::TenantRate => "tenant_rate",
        }
    }

    /// The setting; of a limit that delays and never refuses, the first of its two.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Limit::MaxStreams => "TAILRACE_MAX_STREAMS",
            Limit::MaxStreamsPerTenant => "TAILRACE_MAX_STREAMS_PER_TENANT",
            Limit::MaxStreamsPerSubject => "TAILRACE_MAX_STREAMS_PER_SUBJECT",
            Limit::MaxStreamsPerAddress => "TAILRACE_MAX_STREAMS_PER_ADDRESS",
            Limit::ConnectRatePerTenant => "TAILRACE_CONNECT_RATE_PER_TENANT",
            Limit::ConnectRatePerAddress => "TAILRACE_CONNECT_RATE_PER_ADDRESS",
            Limit::MaxReplaysPerTenant => "TAILRACE_MAX_REPLAYS_PER_TENANT",
            Limit::MaxConditionsPerTenant => "TAILRACE_MAX_CONDITIONS_PER_TENANT",
            Limit::StreamRate => "TAILRACE_STREAM_EVENT_RATE",
            Limit::TenantRate => "TAILRACE_TENANT_EVENT_RATE",
        }
    }

    /// What the caller is told that has reached the limit.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Limit::MaxStreams => "all places for streams are taken",
            Limit::MaxStreamsPerTenant => "this tenant has as many streams as it may",
            Limit::MaxStreamsPerSubject => "the subject of this token has as many streams as it may",
            Limit::MaxStreamsPerAddress => "this address has as many streams as it may",
            Limit::ConnectRatePerTenant => "new streams of this tenant come too fast",
            Limit::ConnectRatePerAddress => "new streams from this address come too fast",
            Limit::MaxReplaysPerTenant => {
                "as many streams of this tenant read history as may do so at once; from=latest needs none"
            }
            Limit::MaxConditionsPerTenant => {
                "the different filters of this tenant's streams have as many conditions as they may"
            }
            Limit::StreamRate => "the stream gets no more a second",
            Limit::TenantRate => "the streams of this tenant get no more a second",
        }
    }

    /// Whether a caller is told the limit's value: that of all streams says how large an attack must be. A rate is one of two,
    /// of events and of bytes.
    pub(crate) fn is_told(self) -> bool {
        !matches!(self, Limit::MaxStreams | Limit::StreamRate | Limit::TenantRate)
    }
}

/// A limit that was reached, with its value as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) limit: Limit,
    pub(crate) value: String,
}

impl Reached {
    pub(crate) fn new(limit: Limit, value: impl ToString) -> Reached {
        Reached { limit, value: value.to_string() }
    }

    /// A rate that let nothing through.
    pub(crate) fn rate(limit: Limit) -> Reached {
        debug_assert!(!limit.is_told(), "a rate has no value");
        Reached { limit, value: String::new() }
    }

    /// The value, if the caller may know it.
    pub(crate) fn told(&self) -> Option<&str> {
        self.limit.is_told().then_some(&self.value)
    }

    /// The sentence for the caller: what was reached, its value, and its setting.
    pub(crate) fn detail(&self) -> String {
        let (detail, variable) = (self.limit.detail(), self.limit.variable());
        match self.told() {
            Some(value) => format!("{detail}: {value} ({variable})"),
            None => format!("{detail} ({variable})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_name_and_the_capacity_of_the_server_is_not_told() {
        for limit in Limit::ALL {
            let variable = format!("TAILRACE_{}", limit.name().to_uppercase());
            let is_pair = matches!(limit, Limit::StreamRate | Limit::TenantRate);
            assert_eq!(variable == limit.variable(), !is_pair, "{limit:?}");
        }
        let detail = Reached::new(Limit::MaxStreams, 100_000).detail();
        assert_eq!(detail, "all places for streams are taken (TAILRACE_MAX_STREAMS)");
        let detail = Reached::new(Limit::MaxStreamsPerTenant, 500).detail();
        assert_eq!(
            detail,
            "this tenant has as many streams as it may: 500 (TAILRACE_MAX_STREAMS_PER_TENANT)"
        );
    }
}
