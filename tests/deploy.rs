//! What can be known of deploy/ without a cluster: the chart renders into objects that the Kubernetes API takes and that agree with
//! each other and with the program; the alert rules fire when they should; the dashboard finds its data; systemd takes the unit.

#[path = "deploy/alerts.rs"]
mod alerts;
#[path = "deploy/board.rs"]
mod board;
#[path = "deploy/chart.rs"]
mod chart;
#[path = "deploy/log.rs"]
mod log;
#[path = "deploy/objects.rs"]
mod objects;
#[path = "deploy/prometheus.rs"]
mod prometheus;
mod support;
#[path = "deploy/unit.rs"]
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use regex::Regex;

const ALERTS: &str = "deploy/helm/tailrace/files/alerts.yaml";
const DASHBOARD: &str = "deploy/helm/tailrace/files/dashboard.json";
const OPERATIONS: &str = "docs/operations.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files of a folder with this ending, in order.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    found.sort();
    assert!(!found.is_empty(), "{folder} has no files");
    found
}

/// What a program printed on both streams, and whether it succeeded.
fn run(program: impl AsRef<Path>, arguments: &[&str]) -> (bool, String) {
    let program = program.as_ref();
    let output =
        Command::new(program).args(arguments).current_dir(root()).output().unwrap_or_else(|error| {
            panic!("{}: {error}: `cargo xtask setup` installs it", program.display())
        });
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    (output.status.success(), said)
}

/// The program's own list: variables and their defaults.
fn settings() -> BTreeMap<String, String> {
    let (ok, table) = run(env!("CARGO_BIN_EXE_tailrace"), &["configuration"]);
    assert!(ok, "{table}");
    let row = Regex::new(r"(?m)^\| `(TAILRACE_[A-Z0-9_]+)` \| `--[a-z0-9-]+` \| `?([^`|]*?)`? \|")
        .expect("a pattern");
    let known: BTreeMap<_, _> =
        row.captures_iter(&table).map(|row| (row[1].to_owned(), row[2].to_owned())).collect();
    assert!(known.len() > 30, "the program's own list was not understood: {known:?}");
    known
}

/// Whether the program knows a variable: by its list, as a property of librdkafka, or as the file of a secret.
fn is_setting(known: &BTreeMap<String, String>, variable: &str) -> bool {
    let of_file = variable.strip_suffix("_FILE").is_some_and(|name| known.contains_key(name));
    known.contains_key(variable) || of_file || variable.starts_with("TAILRACE_KAFKA_")
}

/// `5s`, `2m`, in seconds.
fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        other => panic!("{text}: {other} is no unit that these tests know"),
    };
    Duration::from_secs(number.parse::<u64>().expect("a number") * seconds)
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:tailrace|process)_[a-z_]+\b").expect("a pattern");
    name.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

/// The metrics that docs/operations.md has in its table.
fn documented() -> BTreeSet<String> {
    let page = read(OPERATIONS);
    let table = page.split("## Metrics\n").nth(1).expect("a section of metrics");
    let table = table.split("\n## ").next().expect("its end");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let found =
        metrics(&rows.map(|row| row.split(" | ").next().unwrap_or_default()).collect::<Vec<_>>().join("\n"));
    assert!(found.len() > 60, "{found:?}");
    found
}

/// The anchors of a page, as they are made of its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix("## ").or(line.strip_prefix("### ")));
    let letters = |heading: &str| {
        let kept =
            heading.chars().filter(|letter| letter.is_alphanumeric() || *letter == ' ' || *letter == '-');
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(letters).collect()
}
