//! The Prometheus recorder and the metrics that belong to no package.

use anyhow::Context as _;
use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the time histograms, in seconds: from a local delivery to a client that is minutes behind.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];

/// Installs the recorder of this process, and registers every metric.
pub(crate) fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = builder()?.install_recorder().context("install the metrics recorder")?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_gauge!("tailrace_build_info", "1; the labels say which build runs");
    gauge!("tailrace_build_info", "version" => env!("CARGO_PKG_VERSION"), "commit" => env!("GIT_COMMIT"))
        .set(1.0);
    tailrace_bridge::describe_metrics();
    tailrace_consumer::describe_metrics();
    tailrace_web::describe_metrics();
    crate::traces::describe_metrics();
}

/// With buckets, a metric is exported as a histogram, not as a summary, which cannot be aggregated over replicas.
fn builder() -> anyhow::Result<PrometheusBuilder> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    PrometheusBuilder::new().set_buckets_for_metric(seconds, &SECONDS).context("set the histograms' buckets")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;

    /// Records which metrics have a help text.
    #[derive(Default)]
    struct Described(Mutex<BTreeSet<String>>);

    impl Described {
        fn note(&self, name: KeyName) {
            self.0.lock().expect("nobody panics here").insert(name.as_str().to_owned());
        }
    }

    impl Recorder for Described {
        fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.note(name);
        }

        fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.note(name);
        }

        fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.note(name);
        }

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    /// The names in code font in the first column of the table of metrics.
    fn documented() -> BTreeSet<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
        let page = std::fs::read_to_string(path).expect("the documentation is there");
        let table = page.split("## Metrics").nth(1).and_then(|rest| rest.split("\n## ").next());
        let rows = table.unwrap_or_default().lines().filter(|line| line.starts_with("| `"));
        let names = rows.flat_map(|row| row.split(" | ").next().unwrap_or_default().split('`'));
        names
            .filter(|name| ["tailrace_", "process_"].iter().any(|begin| name.starts_with(begin)))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_documentation_has_every_metric_and_no_other() {
        let described = Described::default();
        metrics::with_local_recorder(&described, describe);
        assert_eq!(documented(), described.0.into_inner().expect("nobody panics here"));
    }

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
