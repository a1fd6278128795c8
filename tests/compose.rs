//! What can be known of compose/ without a container engine: the files agree with each other, with the program, and with
//! the real Kafka.

#[path = "compose/broker.rs"]
mod broker;
#[path = "compose/files.rs"]
mod files;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::time::Duration;

use regex::Regex;
use support::bridge::{Bridge, get};
use support::sse::{IdBuffer, Source};

use broker::{Broker, Tools};
use files::{
    compose, dockerfile, environment, expressions, is_sent_to_the_build, read, root, strings, text, yaml,
};

const DASHBOARD: &str = "deploy/helm/tailrace/files/dashboard.json";
const ALERTS: &str = "deploy/helm/tailrace/files/alerts.yaml";

#[test]
fn all_yaml_files_parse_and_name_each_other_rightly() {
    let scrape = yaml("compose/prometheus/prometheus.yml");
    let target = text(&scrape["scrape_configs"][0]["static_configs"][0]["targets"][0]);
    let (_, admin) =
        environment("tailrace")["TAILRACE_ADMIN_LISTEN"].rsplit_once(':').map(own).expect("a port");
    assert_eq!(target, format!("tailrace:{admin}"));

    let rules = text(&scrape["rule_files"][0]);
    assert!(mounts("prometheus").contains(&format!("../{ALERTS}:{rules}:ro")), "{rules} is not there");

    let source = yaml("compose/grafana/provisioning/datasources/prometheus.yaml");
    let source = &source["datasources"][0];
    assert_eq!(text(&source["url"]), "http://prometheus:9090");
    // The dashboard asks for a source of this kind, and takes the default.
    assert_eq!((text(&source["type"]), source["isDefault"].as_bool()), ("prometheus".to_owned(), Some(true)));

    let provider = yaml("compose/grafana/provisioning/dashboards/tailrace.yaml");
    let folder = text(&provider["providers"][0]["options"]["path"]);
    let home = &environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    assert!(home.starts_with(&folder), "{home} is not in {folder}");
    assert!(mounts("grafana").contains(&format!("../{DASHBOARD}:{home}:ro")), "{home} is not there");
}

fn mounts(service: &str) -> Vec<String> {
    strings(&compose()["services"][service]["volumes"])
}

#[test]
fn every_setting_of_the_tailrace_service_is_known_to_the_program() {
    let known = settings();
    assert!(known.len() > 30, "the program's own list was not understood: {known:?}");
    for variable in environment("tailrace").keys().chain(dockerfile().environment.keys()) {
        assert!(known.contains_key(variable), "{variable} is no setting");
    }
}

#[test]
fn services_and_mounted_files_that_are_named_are_there() {
    let compose = compose();
    let services = compose["services"].as_mapping().expect("services");
    for (name, service) in services {
        let name = text(name);
        let wanted = match &service["depends_on"] {
            serde_norway::Value::Mapping(map) => map.keys().map(text).collect(),
            other => strings(other),
        };
        for other in wanted {
            assert!(services.contains_key(other.as_str()), "{name} depends on {other}, which is not there");
        }
        for mount in strings(&service["volumes"]) {
            let source = mount.split(':').next().expect("a source");
            if source.starts_with('.') {
                assert!(root().join("compose").join(source).exists(), "{name}: {source} is not there");
            } else {
                let volumes = compose["volumes"].as_mapping().expect("volumes");
                assert!(volumes.contains_key(source), "{name}: no such volume: {source}");
            }
        }
        if let Some(build) = service.get("build") {
            let context = root().join("compose").join(text(&build["context"]));
            assert!(context.join(text(&build["dockerfile"])).is_file(), "{name} has no Dockerfile");
        }
    }
}

#[test]
fn ports_on_the_host_can_be_moved_and_are_on_loopback_and_each_is_given_once() {
    let port = Regex::new(r"^127\.0\.0\.1:\$\{[A-Z_]+:-(\d+)\}:(\d+)$").expect("a pattern");
    let mut taken = BTreeSet::new();
    for (_, service) in compose()["services"].as_mapping().expect("services") {
        for mapping in strings(&service["ports"]) {
            let parts =
                port.captures(&mapping).unwrap_or_else(|| panic!("{mapping} is fixed, or open to all"));
            assert!(taken.insert(parts[1].to_owned()), "{mapping}: the host's port is given twice");
            assert_eq!(parts[1], parts[2], "{mapping}: the default is another port than inside");
        }
    }
    assert!(taken.contains("8080") && taken.contains("9092"), "{taken:?}");
}

#[test]
fn images_are_pinned_and_kafka_is_apaches_own() {
    let tag = Regex::new(r"^[a-z/]+:v?\d+\.\d+\.\d+$").expect("a pattern");
    for (name, service) in compose()["services"].as_mapping().expect("services") {
        let image = text(&service["image"]);
        // What is built here has no version until it is released.
        assert!(tag.is_match(&image) || service.get("build").is_some(), "{image} is not pinned");
        if ["kafka", "topics", "producer"].contains(&text(name).as_str()) {
            assert!(image.starts_with("apache/kafka:"), "{image}");
        }
    }
}

#[test]
fn the_tailrace_service_keeps_its_name_and_is_given_the_time_to_drain() {
    let compose = compose();
    let service = &compose["services"]["tailrace"];
    assert!(!text(&service["hostname"]).is_empty());
    let (given, defaults) = (environment("tailrace"), settings());
    let drain: Duration = ["TAILRACE_DRAIN_DELAY", "TAILRACE_DRAIN_TIMEOUT"]
        .map(|name| duration(given.get(name).unwrap_or(&defaults[name])))
        .iter()
        .sum();
    let grace = duration(&text(&service["stop_grace_period"]));
    assert!(grace >= drain + Duration::from_secs(5), "{grace:?} is too short for a drain of {drain:?}");
}

#[test]
fn kafka_is_reachable_from_inside_and_from_the_host_without_zookeeper() {
    let kafka = environment("kafka");
    assert_eq!(kafka["KAFKA_PROCESS_ROLES"], "broker,controller");
    let advertised: BTreeMap<&str, &str> =
        kafka["KAFKA_ADVERTISED_LISTENERS"].split(',').filter_map(|one| one.split_once("://")).collect();
    assert_eq!(advertised.len(), 2, "{advertised:?}");
    let inside = environment("tailrace")["TAILRACE_KAFKA_BOOTSTRAP_SERVERS"].clone();
    assert!(advertised.values().any(|address| **address == inside), "{inside} is not advertised");
    assert!(advertised.values().any(|address| address.starts_with("localhost:")), "{advertised:?}");
    // An address moved by a variable must be advertised as moved.
    let raw = text(&compose()["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]);
    assert!(raw.contains("localhost:${KAFKA_PORT:-"), "{raw}");
    for name in ["topics", "producer"] {
        assert_eq!(environment(name)["BOOTSTRAP"], inside, "{name}");
    }
}

#[test]
fn the_scripts_are_posix_shell() {
    for script in ["compose/topics.sh", "compose/producer.sh"] {
        let output =
            Command::new("sh").arg("-n").arg(root().join(script)).output().expect("there is a shell");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(read(script).starts_with("#!/bin/sh\n"), "{script}");
    }
}

#[test]
fn the_dockerfile_builds_this_program_and_runs_it_unprivileged() {
    let file = dockerfile();
    let tag = Regex::new(r"^rust:[\d.]+-[a-z]+$").expect("a pattern");
    let [(base, _), (last, _)] = &file.stages[..] else { panic!("{:?}", file.stages) };
    assert!(tag.is_match(base), "{base} is not pinned");
    assert_eq!(last, "scratch", "there is more in the image than it needs");
    let toolchain = file.stages[0].0.split([':', '-']).nth(1).expect("a version").to_owned();
    let least = Regex::new(r#"rust-version = "([\d.]+)""#).expect("a pattern");
    let least = least.captures(&read("Cargo.toml")).expect("a rust-version")[1].to_owned();
    assert!(version(&toolchain) >= version(&least), "rust {toolchain} is older than {least}");

    for (stage, source, target) in &file.copies {
        match stage {
            Some(stage) => {
                assert!(file.stages.iter().any(|(_, name)| name.as_ref() == Some(stage)), "no stage {stage}");
                assert_eq!(target, "/");
                let program = format!("{source}{} target/release/tailrace", file.entrypoint[0]);
                assert!(file.runs[0].contains(&program), "the build does not make {program}");
            }
            None => assert!(root().join(source).exists() && is_sent_to_the_build(source), "{source}"),
        }
    }
    assert_eq!(file.entrypoint, ["/usr/local/bin/tailrace"]);
    // There is no shell to ask it with.
    let asked = strings(&compose()["services"]["tailrace"]["healthcheck"]["test"]);
    assert_eq!(file.health, [&file.entrypoint[0], "health"]);
    assert_eq!(asked, ["CMD", &file.entrypoint[0], "health", "--ready"]);
    let user: u32 = file.user.split(':').next().and_then(|id| id.parse().ok()).expect("a numeric user");
    assert!(user > 0, "it would run as root");
    let defaults = settings();
    let ports = ["TAILRACE_LISTEN", "TAILRACE_ADMIN_LISTEN"]
        .map(|name| own(defaults[name].rsplit_once(':').unwrap()).1);
    assert_eq!(file.exposed, ports);
}

#[test]
fn all_that_the_build_reads_is_sent_to_it() {
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find(|line| line.starts_with("members")).expect("members");
    let name = Regex::new(r#""([a-z]+)""#).expect("a pattern");
    let members: Vec<String> = name.captures_iter(members).map(|found| found[1].to_owned()).collect();
    assert!(members.len() > 3, "{members:?}");
    let mut wanted = vec![
        "Cargo.toml".to_owned(),
        "Cargo.lock".to_owned(),
        "build.rs".to_owned(),
        "src/main.rs".to_owned(),
    ];
    wanted.extend(members.iter().map(|member| format!("{member}/Cargo.toml")));
    for package in ["", "bridge/", "formats/", "consumer/", "web/"] {
        wanted.extend(files::included(&format!("{package}src")));
    }
    for path in wanted {
        assert!(root().join(&path).is_file(), "{path} is not there");
        assert!(is_sent_to_the_build(&path), "{path} is kept from the build");
    }
    for path in
        [".git/HEAD", "target/release/tailrace", ".tailrace/kafka", "fuzz/target/x", "web/node_modules/x"]
    {
        assert!(!is_sent_to_the_build(path), "{path} is sent to the build for nothing");
    }
}

#[test]
fn the_dashboard_shows_every_metric_that_the_documentation_names() {
    let dashboard = read(DASHBOARD);
    for (metric, _) in named_metrics() {
        let shown = Regex::new(&format!(r"\b{metric}(_bucket)?\b")).expect("a pattern");
        assert!(shown.is_match(&dashboard), "the dashboard lacks {metric}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_runs_on_the_real_kafka_and_the_dashboard_finds_its_metrics() {
    let broker = Broker::start(&environment("kafka"), &compose()["services"]["kafka"]["healthcheck"]).await;
    let tools = Tools::new();
    let topics = tools.script("compose/topics.sh", &broker.inside).output().expect("there is a shell");
    assert!(topics.status.success(), "{topics:?}");
    let again = tools.script("compose/topics.sh", &broker.inside).output().expect("there is a shell");
    assert!(again.status.success(), "topics.sh cannot be run again: {again:?}");

    let mut settings = dockerfile().environment;
    settings.extend(environment("tailrace"));
    settings.insert("TAILRACE_KAFKA_BOOTSTRAP_SERVERS".to_owned(), broker.inside.clone());
    let checked = tailrace(&["check"]).envs(&settings).output().expect("the program can be started");
    assert!(checked.status.success(), "{checked:?}");

    // The harness chooses where to listen.
    settings.retain(|name, _| !name.ends_with("LISTEN") && !name.starts_with("TAILRACE_DRAIN"));
    let topics = settings["TAILRACE_TOPICS"].clone();
    settings.insert("TAILRACE_LAG_METRICS".to_owned(), "partition".to_owned());
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut bridge = Bridge::new(&broker.outside, &topics, "compose", &settings);
    bridge.start().await;
    let _producer = tools.keep_running("compose/producer.sh", &broker.inside);
    the_demos_events_arrive(&bridge).await;
    all_named_metrics_are_there(&bridge).await;
}

/// The demo never pauses: the stream is cut every few kilobytes, and resumed.
async fn the_demos_events_arrive(bridge: &Bridge) {
    let mut source = Source::new(bridge.port, "/t/acme/events", IdBuffer::Empty);
    let mut seen = BTreeSet::new();
    support::eventually("orders and notifications of the demo", Duration::from_secs(90), async || {
        let mut connection = source.connect(bridge.port).await.expect("the bridge answers");
        assert_eq!(connection.status, 200, "{}", connection.head);
        let (events, _) = source.read(&mut connection, 8 << 10, Duration::from_secs(3)).await;
        for event in events.iter().filter(|event| !event.name.starts_with("tailrace.")) {
            serde_json::from_str::<serde_json::Value>(&event.data).expect("the demo's events are JSON");
            seen.insert(event.name.clone());
        }
        let all = ["order.created", "order.paid", "order.packed", "order.shipped", "notification.sent"];
        all.iter().all(|name| seen.contains(*name)).then_some(())
    })
    .await;
}

/// Those that appear with time get a moment.
async fn all_named_metrics_are_there(bridge: &Bridge) {
    let mut wanted = named_metrics();
    let mut missing = BTreeSet::new();
    // A histogram is there once something was measured, and this server speaks no TLS, has no collector of traces, and reads no
    // compacted topic.
    let is_of_others = |name: &str| {
        name.starts_with("tailrace_tls_handshake_seconds")
            || name == "tailrace_trace_spans_total"
            || ["tailrace_snapshot_index_keys", "tailrace_snapshot_index_too_large"].contains(&name)
    };
    wanted.retain(|name, _| !is_of_others(name));
    for _ in 0..60 {
        let (_, page) = get(bridge.admin, "/metrics").await.expect("the admin address answers");
        let there: BTreeSet<&str> = page
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .filter(|name| !name.is_empty())
            .collect();
        // A histogram is spoken of without its suffixes.
        let has = |name: &str| there.contains(name) || there.contains(format!("{name}_bucket").as_str());
        let in_queries = |(name, strict): &(&String, &bool)| {
            if **strict { there.contains(name.as_str()) } else { has(name) }
        };
        missing = wanted.iter().filter(|one| !in_queries(one)).map(|(name, _)| name.clone()).collect();
        let known = |name: &&str| {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            wanted.contains_key(*name) || base.is_some_and(|base| wanted.contains_key(base))
        };
        let unknown: Vec<_> = there.iter().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "docs/operations.md does not name {unknown:?}");
        if missing.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("not in /metrics: {missing:?}");
}

/// Every metric that dashboard and documentation name, and whether it is part of a query, where a histogram is only
/// known with its suffixes.
fn named_metrics() -> BTreeMap<String, bool> {
    let metric = Regex::new(r"\b(?:tailrace|process)_[a-z_]+\b").expect("a pattern");
    let mut all = BTreeMap::new();
    let page = read("docs/operations.md");
    // A name with a value behind it is a part of a setting.
    for found in metric.find_iter(&page).filter(|found| !page[found.end()..].starts_with('=')) {
        all.insert(found.as_str().to_owned(), false);
    }
    assert!(all.len() > 20, "{all:?}");
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON");
    let expressions = expressions(&dashboard);
    assert!(expressions.len() > 20, "{expressions:?}");
    // Alerts are Prometheus's own.
    for expression in expressions.into_iter().filter(|expression| !expression.starts_with("ALERTS{")) {
        let mut found = metric.find_iter(&expression).peekable();
        assert!(found.peek().is_some(), "no metric in {expression}");
        all.extend(found.map(|found| (found.as_str().to_owned(), true)));
    }
    all
}

fn tailrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailrace"));
    command.args(args).env_clear();
    command
}

/// The program's own list: variables and their defaults.
fn settings() -> BTreeMap<String, String> {
    let Output { stdout, .. } = tailrace(&["configuration"]).output().expect("the program can be started");
    let row =
        Regex::new(r"(?m)^\| `(TAILRACE_[A-Z_]+)` \| `--[a-z-]+` \| `?([^`|]*?)`? \|").expect("a pattern");
    let table = String::from_utf8(stdout).expect("the program writes UTF-8");
    row.captures_iter(&table).map(|row| (row[1].to_owned(), row[2].to_owned())).collect()
}

fn duration(text: &str) -> Duration {
    let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
    Duration::from_secs(seconds.unwrap_or_else(|| panic!("{text} is not in whole seconds")))
}

fn version(text: &str) -> Vec<u32> {
    text.split('.').map(|part| part.parse().expect("a number")).collect()
}

fn own((left, right): (&str, &str)) -> (String, String) {
    (left.to_owned(), right.to_owned())
}
