//! Traces: spans to a collector by OTLP over HTTP, if one is named.
//!
//! The variables are those of OpenTelemetry's specification (`OTEL_…`), and its SDK reads them. Without an endpoint there is no
//! SDK, and nobody asks for a span. What a collector does not take is dropped: spans wait in a queue of the SDK
//! (`OTEL_BSP_MAX_QUEUE_SIZE`), and one thread sends them.

use std::env;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use metrics::{counter, describe_counter};
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SamplingResult, SdkTracerProvider, ShouldSample, SpanData, SpanExporter,
};

/// How long the last spans may take at the end of the process.
const FLUSH: Duration = Duration::from_secs(2);
/// A collector that takes nothing is logged at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);
const SPANS: &str = "tailrace_trace_spans_total";

pub(crate) fn describe_metrics() {
    describe_counter!(SPANS, "Spans that were sent to the collector of traces, by result: exported, failed");
}

/// The sending of spans; what still waits is sent when it is dropped, within [`FLUSH`].
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to send, if the environment names a collector. An error means that there are no traces: they are not worth a
    /// server that does not start.
    pub(crate) fn start() -> Option<Traces> {
        if !is_wanted(variable) {
            return None;
        }
        match provider() {
            Ok(provider) => {
                global::set_tracer_provider(provider.clone());
                Some(Traces(provider))
            }
            Err(why) => {
                tracing::error!(why, "traces are off");
                None
            }
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Whether a collector is named, and nothing else says no.
fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, value: &str| variable(name).is_some_and(|set| set.eq_ignore_ascii_case(value));
    let names = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    names.into_iter().any(|name| variable(name).is_some())
        && !is("OTEL_SDK_DISABLED", "true")
        && !is("OTEL_TRACES_EXPORTER", "none")
        && !is("OTEL_TRACES_SAMPLER", "always_off")
}

fn provider() -> Result<SdkTracerProvider, String> {
    let protocol =
        variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| variable("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if let Some(other) = protocol.filter(|protocol| protocol != "http/protobuf") {
        return Err(format!("OTEL_EXPORTER_OTLP_PROTOCOL={other}; accepted: http/protobuf"));
    }
    let sampling = Sampling::parse(
        variable("OTEL_TRACES_SAMPLER").as_deref(),
        variable("OTEL_TRACES_SAMPLER_ARG").as_deref(),
    )?;
    let exporter =
        opentelemetry_otlp::SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    let exporter =
        Watched { exporter: exporter.build().map_err(|error| error.to_string())?, said: Mutex::default() };
    let provider = SdkTracerProvider::builder();
    Ok(provider.with_batch_exporter(exporter).with_sampler(sampling).with_resource(resource()).build())
}

/// What the spans are of. Names from the environment win.
fn resource() -> Resource {
    let is_named = variable("OTEL_SERVICE_NAME").is_some()
        || variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|list| list.contains("service.name="));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    if is_named { resource.build() } else { resource.with_service_name("tailrace").build() }
}

/// `OTEL_TRACES_SAMPLER`. Those whose names begin with `parentbased_` follow the producers too: a span with a link to a sampled
/// one is sampled, or the trace of a record would end at its topic.
#[derive(Clone, Debug)]
struct Sampling {
    sampler: Sampler,
    follows_links: bool,
}

impl Sampling {
    fn parse(name: Option<&str>, argument: Option<&str>) -> Result<Sampling, String> {
        const ACCEPTED: &str = "always_on, always_off, traceidratio, or one of these after parentbased_";
        let name = name.unwrap_or("parentbased_always_on");
        let (follows_links, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let root = match root {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio(argument)?),
            _ => return Err(format!("OTEL_TRACES_SAMPLER={name}; accepted: {ACCEPTED}")),
        };
        let sampler = if follows_links { Sampler::ParentBased(Box::new(root)) } else { root };
        Ok(Sampling { sampler, follows_links })
    }
}

fn ratio(argument: Option<&str>) -> Result<f64, String> {
    let Some(argument) = argument else { return Ok(1.0) };
    let ratio = argument.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("OTEL_TRACES_SAMPLER_ARG={argument}; accepted: a number from 0 to 1"))
}

impl ShouldSample for Sampling {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let has_parent = parent.is_some_and(|parent| parent.span().span_context().is_valid());
        let is_linked = || links.iter().any(|link| link.span_context.is_sampled());
        let sampler =
            if self.follows_links && !has_parent && is_linked() { &Sampler::AlwaysOn } else { &self.sampler };
        sampler.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}

/// Counts what is sent, and says what goes wrong.
#[derive(Debug)]
struct Watched {
    exporter: opentelemetry_otlp::SpanExporter,
    /// When a failure was last said.
    said: Mutex<Option<Instant>>,
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        counter!(SPANS, "result" => if result.is_ok() { "exported" } else { "failed" }).increment(spans);
        if let Err(error) = &result {
            self.say(&error.to_string());
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl Watched {
    fn say(&self, error: &str) {
        let Ok(mut said) = self.said.lock() else { return };
        if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(error, "the collector of traces takes no spans; they are dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};
    use opentelemetry_sdk::trace::SamplingDecision;

    use super::*;

    #[test]
    fn traces_are_on_only_where_a_collector_is_named() {
        let wanted = |set: &[(&str, &str)]| {
            is_wanted(|name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert!(!wanted(&[]));
        assert!(wanted(&[endpoint]));
        assert!(wanted(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")]));
        assert!(wanted(&[endpoint, ("OTEL_SDK_DISABLED", "false")]));
        for no in [
            ("OTEL_SDK_DISABLED", "True"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_TRACES_SAMPLER", "always_off"),
        ] {
            assert!(!wanted(&[endpoint, no]), "{no:?}");
        }
    }

    fn is_sampled(sampling: &Sampling, parent: Option<bool>, link: Option<bool>) -> bool {
        let context = |sampled: bool| {
            let flags = TraceFlags::default().with_sampled(sampled);
            SpanContext::new(TraceId::from(1), SpanId::from(1), flags, true, TraceState::default())
        };
        let parent = parent.map(|sampled| Context::new().with_remote_span_context(context(sampled)));
        let links: Vec<Link> = link.map(|sampled| Link::with_context(context(sampled))).into_iter().collect();
        let sampled =
            sampling.should_sample(parent.as_ref(), TraceId::from(2), "s", &SpanKind::Server, &[], &links);
        sampled.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn samplers_that_follow_parents_follow_links() {
        let parse = |name, argument| Sampling::parse(name, argument).unwrap();
        let by_default = parse(None, None);
        assert!(is_sampled(&by_default, None, None) && !is_sampled(&by_default, Some(false), Some(true)));
        let follows = parse(Some("parentbased_traceidratio"), Some("0"));
        assert!(!is_sampled(&follows, None, None) && !is_sampled(&follows, None, Some(false)));
        assert!(is_sampled(&follows, None, Some(true)) && is_sampled(&follows, Some(true), None));
        let none = parse(Some("traceidratio"), Some("0"));
        assert!(!is_sampled(&none, Some(true), Some(true)));
    }

    #[test]
    fn a_sampler_that_is_not_known_is_refused() {
        for (name, argument) in [
            ("jaeger_remote", None),
            ("traceidratio", Some("2")),
            ("traceidratio", Some("x")),
            ("parentbased_", None),
        ] {
            assert!(Sampling::parse(Some(name), argument).unwrap_err().contains("accepted"), "{name}");
        }
    }
}
