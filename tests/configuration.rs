//! Wrong settings end the program with 64 before anything binds; help, reference and program agree.

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
fn a_wrong_value_exits_64_and_names_variable_value_and_what_is_accepted() {
    for (variable, value, accepted) in [
        ("TAILRACE_CACHE_SIZE", "lots", "64MiB"),
        ("TAILRACE_CACHE_WARMUP", "a while", "10m"),
        ("TAILRACE_LISTEN", "here", ":8080"),
        ("TAILRACE_AUTH", "maybe", "jwt or none"),
        ("TAILRACE_HEARTBEAT", "0s", "from 100ms"),
        ("TAILRACE_TENANT_FROM", "headr:tenant", "header:NAME"),
        ("TAILRACE_EVENT_TYPE_FROM", "heather", "header:NAME"),
        ("TAILRACE_ENVELOPE", "cloudevents", "none, record"),
        ("TAILRACE_CORS_ORIGINS", "example", "https://"),
        ("TAILRACE_MAX_STREAMS", "-1", "a whole number"),
        ("TAILRACE_CONNECT_RATE_PER_TENANT", "fast", "/s"),
        ("TAILRACE_LOG_FORMAT", "xml", "text, json"),
        ("TAILRACE_LOG", "verbose", "error, warn, info, debug, trace"),
        ("TAILRACE_KAFKA_BOOTSTRAP_SERVERS", "kafka://b:9092", "broker-1:9092,broker-2:9092"),
        ("TAILRACE_KAFKA_SECURITY_PROTOCOL", "TLS", "sasl_ssl"),
        ("TAILRACE_KAFKA_SESSION_TIMEOUT_MS", "abc", "session.timeout.ms"),
    ] {
        let said = refused(&[(variable, value)]);
        assert!(said.contains(&format!("{variable}={value} is not accepted")), "{said}");
        assert!(said.contains("accepted: ") && said.contains(accepted), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn what_is_missing_is_named_with_the_next_step() {
    for (variable, hint) in [
        ("TAILRACE_KAFKA_BOOTSTRAP_SERVERS", "TAILRACE_KAFKA_BOOTSTRAP_SERVERS is not set"),
        ("TAILRACE_TOPICS", "TAILRACE_TOPICS is not set"),
        ("TAILRACE_TENANT_FROM", "TAILRACE_TENANT_FROM is not set"),
        // Without a key nothing is served by accident.
        ("TAILRACE_AUTH", "TAILRACE_JWT_SECRET is not set"),
    ] {
        let output = tailrace(&[]).envs(LEAST).env_remove(variable).output().expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(hint) && said.contains("accepted: "), "{said}");
    }
    let said = refused(&[("TAILRACE_AUTH", "jwt")]);
    assert!(said.contains("TAILRACE_AUTH=none"), "the way without a key is said: {said}");
}

#[test]
fn an_unknown_variable_exits_64_and_names_the_nearest() {
    for (variable, nearest) in [
        ("TAILRACE_TOPIC", "TAILRACE_TOPICS"),
        ("TAILRACE_CASHE_SIZE", "TAILRACE_CACHE_SIZE"),
        ("TAILRACE_KAFKA_SESION_TIMEOUT_MS", "TAILRACE_KAFKA_SESSION_TIMEOUT_MS"),
    ] {
        let said = refused(&[(variable, "6000")]);
        assert!(said.contains(&format!("{variable} ")), "{said}");
        assert!(said.split([' ', '\n']).any(|word| word == nearest), "{said}");
    }
    let said = refused(&[("TAILRACE_KAFKA_NO_SUCH_THING", "1")]);
    assert!(said.contains("TAILRACE_KAFKA_NO_SUCH_THING"), "{said}");
    assert!(said.contains("a property of librdkafka"), "{said}");
}

#[test]
fn a_property_that_tailrace_owns_is_answered_with_its_own_name() {
    for (variable, instead) in [
        ("TAILRACE_KAFKA_GROUP_ID", "TAILRACE_GROUP_PREFIX"),
        ("TAILRACE_KAFKA_GROUP_INSTANCE_ID", "TAILRACE_INSTANCE"),
        ("TAILRACE_KAFKA_AUTO_OFFSET_RESET", "auto.offset.reset"),
        ("TAILRACE_KAFKA_ENABLE_AUTO_OFFSET_STORE", "enable.auto.offset.store"),
        ("TAILRACE_KAFKA_SASL_JAAS_CONFIG", "TAILRACE_KAFKA_SASL_USERNAME"),
    ] {
        let said = refused(&[(variable, "latest")]);
        assert!(said.contains(variable) && said.contains(instead), "{said}");
    }
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

#[test]
fn an_id_that_cannot_be_read_fails_with_a_reason() {
    for (id, reason) in [("17", "base64url"), ("AgAA", "checksum"), ("", "id"), ("äöü", "base64url")] {
        let output = tailrace(&["id", id]).output().expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{id:?} was taken: {}", text(&output));
        assert!(said.contains(&format!("{id:?}")) && said.contains(reason), "{said}");
        assert!(output.stdout.is_empty(), "{}", text(&output));
    }
}
