//! The dashboard, by itself and with the data of a demo.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::alerts::alerts;
use super::prometheus::Prometheus;
use super::support::bridge::{binary, get};
use super::support::{eventually, free_port};
use super::{DASHBOARD, OPERATIONS, anchors, read};

/// Panels whose queries have no data in a healthy demo, all of them or the one that is named, and why.
const SILENT: [(&str, &str, &str); 14] = [
    ("Alerts", "ALERTS", "nothing fires"),
    ("Topics not served", "", "all are served"),
    ("Limits reached", "tailrace_limits_reached_total", "none is"),
    ("Records with a fault", "tailrace_records_unroutable_total", "all have a tenant"),
    ("Records with a fault", "tailrace_records_undecodable_total", "all are JSON"),
    ("How far back", "tailrace_oldest_resumable_age_seconds", "the demo's broker does not tell it"),
    ("Behind by partition, in time", "", "the demo has no TAILRACE_LAG_METRICS"),
    ("Behind by partition, in records", "", "the demo has no TAILRACE_LAG_METRICS"),
    ("Keys in the indexes", "", "no topic of the demo is compacted"),
    ("Certificate expires in", "", "it speaks no TLS"),
    ("Handshake time", "", "it speaks no TLS"),
    ("Spans sent to the collector", "", "it has no collector"),
    ("Address space", "process_virtual_memory_max_bytes", "it has no limit"),
    ("Drains", "", "it has not stopped"),
];

/// What alerts ask for and a healthy demo does not have, and why.
const ABSENT: [(&str, &str); 2] = [
    ("tailrace_topic_state{state!=\"served\"}", "all have been served from the start"),
    ("tailrace_snapshot_index_too_large", "no topic of the demo is compacted"),
];

fn board() -> Value {
    serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON")
}

/// Panels that are drawn together: those outside of folded rows, and those of each folded row.
fn sheets(board: &Value) -> Vec<Vec<&Value>> {
    let panels = board["panels"].as_array().expect("panels");
    let folded = panels.iter().map(|panel| panel["panels"].as_array().into_iter().flatten().collect());
    std::iter::once(panels.iter().collect()).chain(folded).collect()
}

fn panels(board: &Value) -> Vec<&Value> {
    let all = sheets(board).into_iter().flatten();
    let found: Vec<&Value> = all.filter(|panel| panel["type"] != "row").collect();
    assert!(found.len() > 40, "{} panels", found.len());
    found
}

fn title(panel: &Value) -> &str {
    panel["title"].as_str().expect("a title")
}

#[test]
fn panels_are_beside_each_other_and_have_names_words_and_numbers_of_their_own() {
    let board = board();
    for sheet in sheets(&board) {
        let mut taken = BTreeSet::new();
        for panel in sheet {
            let place = |side: &str| panel["gridPos"][side].as_u64().expect("a place");
            assert!(place("x") + place("w") <= 24, "{} is wider than the page", title(panel));
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{} is on top of another", title(panel));
                }
            }
        }
    }
    let all: Vec<&Value> = sheets(&board).into_iter().flatten().collect();
    let numbers: BTreeSet<u64> = all.iter().map(|panel| panel["id"].as_u64().expect("a number")).collect();
    assert_eq!(numbers.len(), all.len(), "a number is given twice");
    for panel in panels(&board) {
        assert!(panel["description"].as_str().is_some_and(|words| words.len() > 5), "{}", title(panel));
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        assert!(unit.is_some_and(|unit| !unit.is_empty()), "{} has no unit", title(panel));
    }
}

#[test]
fn health_comes_first_and_each_topic_has_a_row() {
    let board = board();
    let rows: Vec<&Value> =
        board["panels"].as_array().expect("panels").iter().filter(|panel| panel["type"] == "row").collect();
    let open: Vec<&str> = rows.iter().filter(|row| row["collapsed"] == false).map(|row| title(row)).collect();
    let wanted = ["Health", "Lag", "Deliveries", "Latency", "Refusals", "Memory", "Replays", "Topic: $topic"];
    assert_eq!(open, wanted);
    let repeated: Vec<&str> = rows.iter().filter_map(|row| row["repeat"].as_str()).collect();
    assert_eq!(repeated, ["topic"]);
}

#[test]
fn it_can_be_imported_anywhere_and_its_variables_are_there() {
    let board = board();
    let variables = board["templating"]["list"].as_array().expect("variables");
    let names: BTreeSet<&str> = variables.iter().map(|one| one["name"].as_str().expect("a name")).collect();
    assert_eq!(names, BTreeSet::from(["datasource", "namespace", "job", "instance", "topic"]));
    assert_eq!((&variables[0]["type"], &variables[0]["query"]), (&"datasource".into(), &"prometheus".into()));
    let mut sources: Vec<&Value> =
        variables[1..].iter().chain(annotations(&board)).map(|one| &one["datasource"]).collect();
    for panel in panels(&board) {
        sources.push(&panel["datasource"]);
        sources
            .extend(panel["targets"].as_array().expect("queries").iter().map(|target| &target["datasource"]));
    }
    for source in sources {
        assert_eq!(source["uid"], "${datasource}");
    }
    let text = board.to_string();
    let used = regex::Regex::new(r"\$\{?([a-z]+)").expect("a pattern");
    for found in used.captures_iter(&text) {
        assert!(names.contains(&found[1]), "${} is no variable", &found[1]);
    }
    // Every query of every panel looks at what was selected.
    for panel in panels(&board) {
        for expression in expressions(panel).filter(|expression| !expression.starts_with("ALERTS{")) {
            assert_eq!(
                expression.matches('{').count(),
                expression.matches("=~\"$instance\"").count(),
                "{expression}"
            );
        }
    }
}

#[test]
fn links_lead_to_runbooks_that_are_there_and_to_every_alert_there_is_one() {
    let board = board();
    let anchors = anchors(&read(OPERATIONS));
    let mut linked = BTreeSet::new();
    let of_panels = panels(&board).into_iter().map(|panel| &panel["links"]);
    for link in of_panels.chain([&board["links"]]).filter_map(Value::as_array).flatten() {
        let (page, anchor) = link["url"].as_str().and_then(|url| url.split_once('#')).expect("an anchor");
        assert!(page.ends_with(OPERATIONS) && anchors.contains(anchor), "{link} leads nowhere");
        linked.insert(anchor.to_owned());
    }
    // Nothing is drawn where there is nothing to draw.
    let all = alerts().into_keys().filter(|name| name != "TailraceAbsent");
    let missing: Vec<String> = all.filter(|name| !linked.contains(&name.to_lowercase())).collect();
    assert!(missing.is_empty(), "no panel leads to {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_finds_data_in_a_demo_and_no_alert_fires() {
    let demo = Demo::start().await;
    let prometheus = Prometheus::start(demo.admin).await;
    let _traffic = demo.traffic().await;
    let board = board();
    let queries = queries(&board);
    assert!(queries.len() > 90, "{}", queries.len());
    let mut missing = Vec::new();
    eventually_none("the dashboard has all data", &mut missing, async || {
        let mut missing = Vec::new();
        for (title, expression) in &queries {
            if prometheus.query(&filled(expression)).await.is_empty() && !is_silent(title, expression) {
                missing.push(format!("{title}: {expression}"));
            }
        }
        missing
    })
    .await;
    for (title, part, why) in SILENT {
        let of_it = queries.iter().filter(|(one, expression)| *one == title && expression.contains(part));
        for (_, expression) in of_it {
            let found = prometheus.query(&filled(expression)).await;
            assert!(found.is_empty(), "{title} has data, though {why}: {found:?}");
        }
    }
    alerts_find_what_they_ask_for(&prometheus).await;
    let rules = prometheus.rules().await;
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        assert_eq!((&rule["health"], &rule["state"]), (&"ok".into(), &"inactive".into()), "{rule}");
    }
}

/// A label that was misspelt, or a value that no longer exists, would silence an alert for ever.
async fn alerts_find_what_they_ask_for(prometheus: &Prometheus) {
    let selector = regex::Regex::new(r"\b(?:tailrace|process)_[a-z_]+(?:\{[^}]*\})?").expect("a pattern");
    let values = regex::Regex::new("(?:(?P<label>[a-z]+)=~?\")(?P<values>[^\"]*)\"").expect("a pattern");
    for (name, rule) in alerts() {
        let expression = rule["expr"].as_str().expect("an expression");
        for found in selector.find_iter(expression).map(|found| found.as_str()) {
            if ABSENT.iter().any(|(absent, _)| found.starts_with(absent)) {
                continue;
            }
            assert!(!prometheus.query(found).await.is_empty(), "{name}: nothing has {found}");
            let metric = found.split('{').next().expect("a metric");
            for matcher in values.captures_iter(found) {
                for value in matcher["values"].split('|') {
                    let one = format!("{metric}{{{}=\"{value}\"}}", &matcher["label"]);
                    assert!(!prometheus.query(&one).await.is_empty(), "{name}: nothing has {one}");
                }
            }
        }
    }
}

/// Asks until nothing is missing, and at last says what is.
async fn eventually_none(what: &str, missing: &mut Vec<String>, mut look: impl AsyncFnMut() -> Vec<String>) {
    for _ in 0..60 {
        *missing = look().await;
        if missing.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{what}: not {missing:#?}");
}

fn is_silent(title: &str, expression: &str) -> bool {
    SILENT.iter().any(|(one, part, _)| *one == title && expression.contains(part))
}

/// What panels and annotations ask, with the name of each.
fn queries(board: &Value) -> Vec<(&str, &str)> {
    let of_panels =
        panels(board).into_iter().flat_map(|panel| expressions(panel).map(move |one| (title(panel), one)));
    let of_annotations = annotations(board)
        .filter(|one| one["name"] != "Alerts")
        .map(|one| (one["name"].as_str().expect("a name"), one["expr"].as_str().expect("an expression")));
    of_panels.chain(of_annotations).collect()
}

fn annotations(board: &Value) -> impl Iterator<Item = &Value> {
    board["annotations"]["list"].as_array().into_iter().flatten()
}

fn expressions(panel: &Value) -> impl Iterator<Item = &str> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.map(|target| target["expr"].as_str().expect("an expression"))
}

/// With everything selected, as Grafana fills it in.
fn filled(expression: &str) -> String {
    let filled = expression.replace("$__rate_interval", "5s");
    ["namespace", "job", "instance", "topic"]
        .iter()
        .fold(filled, |text, name| text.replace(&format!("${name}"), ".*"))
}

struct Demo {
    port: u16,
    admin: u16,
    _process: tokio::process::Child,
}

impl Demo {
    async fn start() -> Demo {
        let (port, admin) = (free_port(), free_port());
        let process = tokio::process::Command::new(binary())
            .args([
                "demo",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--admin-listen",
                &format!("127.0.0.1:{admin}"),
            ])
            .env_clear()
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary can be started");
        eventually("the demo is ready", Duration::from_secs(30), async || {
            get(admin, "/readyz").await.filter(|(status, _)| *status == 200)
        })
        .await;
        Demo { port, admin, _process: process }
    }

    /// Streams that stay open, and requests again and again: pages, refusals, replays, cuts.
    async fn traffic(&self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let port = self.port;
        for path in ["/t/acme/events", "/t/globex/events?topic=orders", "/t/initech/events?topic=logs"] {
            for _ in 0..4 {
                tasks.spawn(async move { drop(read_for(port, path, "", Duration::from_secs(600)).await) });
            }
        }
        for coding in ["zstd", "gzip"] {
            let header = format!("Accept-Encoding: {coding}\r\n");
            tasks.spawn(async move {
                drop(read_for(port, "/t/acme/events", &header, Duration::from_secs(600)).await)
            });
        }
        tasks.spawn(async move {
            loop {
                let page = get(port, "/t/acme/records?from=-5&limit=3").await;
                assert!(page.is_some_and(|(status, _)| status == 200));
                let refused = get(port, "/t/acme/events?topic=nobody").await;
                assert!(refused.is_some_and(|(status, _)| status == 404));
                let read =
                    read_for(port, "/t/acme/events?topic=orders&from=-5", "", Duration::from_millis(300))
                        .await;
                let id =
                    read.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned();
                let resumed = format!("/t/acme/events?topic=orders&last_event_id={id}");
                read_for(port, &resumed, "", Duration::from_millis(300)).await;
            }
        });
        tasks
    }
}

/// What comes within a time.
async fn read_for(port: u16, path: &str, header: &str, time: Duration) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.expect("the demo answers");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
    socket.write_all(request.as_bytes()).await.expect("a request can be sent");
    let mut all = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    let _ = tokio::time::timeout(time, async {
        while let Ok(read @ 1..) = socket.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..read]);
            // Only the newest part is looked at.
            all.drain(..all.len().saturating_sub(64 << 10));
        }
    })
    .await;
    String::from_utf8_lossy(&all).into_owned()
}
