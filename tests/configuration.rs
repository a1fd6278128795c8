//! Help, reference and program agree; what Kubernetes injects is accepted. Wrong settings: mistakes.rs.

use std::collections::BTreeSet;
use std::process::{Command, Output};

/// The least that a server starts with, on ports of the system's choice.
const LEAST: [(&str, &str); 6] = [
    ("TAILRACE_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
    ("TAILRACE_TOPICS", "orders"),
    ("TAILRACE_TENANT_FROM", "none"),
    ("TAILRACE_AUTH", "none"),
    ("TAILRACE_LISTEN", "127.0.0.1:0"),
    ("TAILRACE_ADMIN_LISTEN", "127.0.0.1:0"),
];

fn tailrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailrace"));
    command.args(args).env_clear();
    command
}

/// What the program says and how it ends when these variables are added to the least.
fn refused(more: &[(&str, &str)]) -> String {
    let output = tailrace(&[]).envs(LEAST).envs(more.iter().copied()).output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{more:?}: {said}");
    said
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the program writes UTF-8")
}

#[test]
fn what_kubernetes_injects_is_accepted_and_a_secret_is_never_repeated() {
    let injected = [
        ("TAILRACE_SERVICE_HOST", "10.0.0.1"),
        ("TAILRACE_SERVICE_PORT", "80"),
        ("TAILRACE_SERVICE_PORT_HTTP", "80"),
        ("TAILRACE_PORT", "tcp://10.0.0.1:80"),
        ("TAILRACE_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("TAILRACE_PORT_80_TCP_PROTO", "tcp"),
        ("TAILRACE_KAFKA_SERVICE_HOST", "10.0.0.2"),
        ("TAILRACE_KAFKA_PORT_9092_TCP_ADDR", "10.0.0.2"),
    ];
    // One wrong value last: were an injected name refused, it would be the one that is named.
    let said =
        refused(&[&injected[..], &[("TAILRACE_AUTH", "jwt"), ("TAILRACE_JWT_SECRET", "hunter2")]].concat());
    assert!(said.contains("TAILRACE_JWT_SECRET"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

/// The words that look like settings.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("TAILRACE_") && !word.ends_with('_')).collect()
}

#[test]
fn help_reference_and_documentation_agree() {
    let printed = text(&tailrace(&["configuration", "--markdown"]).output().expect("it can be started"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let committed = std::fs::read_to_string(path).expect("docs/configuration.md is there");
    assert!(printed == committed, "docs/configuration.md is stale: cargo run -- configuration --markdown");

    let help = text(&tailrace(&["--help"]).output().expect("it can be started"));
    // The first column of a row; other tables name librdkafka's properties.
    let rows = committed.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let in_tables: BTreeSet<&str> = rows.filter(|name| name.starts_with("TAILRACE_")).collect();
    // Help is wrapped to the width of the terminal.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let of_help: BTreeSet<&str> = help
        .match_indices("[env: ")
        .filter_map(|(at, found)| help[at + found.len()..].split(['=', ']']).next())
        .collect();
    assert!(of_help.len() > 30, "{of_help:?}");
    assert_eq!(of_help, in_tables);
    // A secret may also be in a file, and any property of librdkafka is a setting.
    let free = |name: &&&str| !name.starts_with("TAILRACE_KAFKA_") && !name.ends_with("_FILE");
    let mentioned = variables(&committed);
    let unknown: Vec<_> = mentioned.difference(&of_help).filter(free).collect();
    assert!(unknown.is_empty(), "docs/configuration.md speaks of settings that are none: {unknown:?}");
}
