//! The Prometheus recorder and the metrics that belong to no package.

use anyhow::Context as _;
use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the histograms of time, in seconds: from a local delivery to a client that lags for minutes.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];

/// Installs the recorder of this process, and registers every metric.
pub(crate) fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = builder()?.install_recorder().context("install the metrics recorder")?;
    describe_gauge!("tailrace_build_info", "1; the label is the version that runs");
    gauge!("tailrace_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    tailrace_bridge::describe_metrics();
    tailrace_consumer::describe_metrics();
    tailrace_web::describe_metrics();
    Ok(handle)
}

/// Buckets make a real histogram of what would be a summary, which cannot be added up over replicas.
fn builder() -> anyhow::Result<PrometheusBuilder> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    PrometheusBuilder::new().set_buckets_for_metric(seconds, &SECONDS).context("set the histograms' buckets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_histograms_with_buckets() {
        let recorder = builder().expect("good buckets").build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("tailrace_delivery_latency_seconds").record(0.003);
        });
        let text = handle.render();
        assert!(text.contains("tailrace_delivery_latency_seconds_bucket{le=\"0.005\"} 1"), "{text}");
    }
}
