use super::*;
use crate::cli::{Command, Stop};

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::of(variables.iter().map(|(name, value)| (name.into(), value.into())))
}

fn refusal(args: &[&str], variables: &[(&str, &str)]) -> String {
    let environment = environment(variables);
    let line = ["tailrace", "serve"].iter().chain(args).map(|arg| arg.to_string());
    match cli::parse(line) {
        Err(Stop::Refused(refusal)) => refusal.to_string(),
        Err(Stop::Clap(error)) => panic!("{error}"),
        Ok(cli::Cli { command: Some(Command::Serve(settings)), .. }) => match plan(&settings, &environment) {
            Err(refusal) => refusal.to_string(),
            Ok(_) => panic!("accepted"),
        },
        Ok(_) => panic!("not serve"),
    }
}

/// The fewest settings with which a server starts.
const LEAST: [&str; 8] = [
    "--kafka-bootstrap-servers",
    "127.0.0.1:9092",
    "--topics",
    "orders",
    "--tenant-from",
    "none",
    "--auth",
    "none",
];

fn planned(more: &[&str], variables: &[(&str, &str)]) -> Plan {
    let environment = environment(variables);
    let line = ["tailrace"].iter().chain(&LEAST).chain(more).map(|arg| arg.to_string());
    let Ok(cli) = cli::parse(line) else { panic!("does not parse") };
    plan(&cli.settings, &environment).unwrap_or_else(|refusal| panic!("{refusal}"))
}

#[test]
fn four_settings_are_enough_to_start() {
    let plan = planned(&[], &[]);
    assert_eq!(plan.process.cache, 256 << 20);
    assert_eq!(plan.kafka.prefetch, 16 << 20);
    assert!(plan.kafka.instance.ends_with("-8080"), "{}", plan.kafka.instance);
}

#[test]
fn a_missing_tenant_rule_is_named() {
    let text = refusal(&["--kafka-bootstrap-servers", "h:1", "--topics", "a", "--auth", "none"], &[]);
    assert!(text.contains("TAILRACE_TENANT_FROM is not set"), "{text}");
}

#[test]
fn without_a_key_the_next_step_is_said() {
    let text = refusal(&LEAST[..6], &[]);
    assert!(text.contains("TAILRACE_JWT_SECRET") && text.contains("TAILRACE_AUTH=none"), "{text}");
}

#[test]
fn a_bad_value_names_the_variable_the_value_and_what_is_accepted() {
    for (flag, variable, value, accepted) in [
        ("--cache-size", "TAILRACE_CACHE_SIZE", "lots", "MiB"),
        ("--cache-size", "TAILRACE_CACHE_SIZE", "1KiB", "at least 4MiB"),
        ("--linger", "TAILRACE_LINGER", "5", "ms"),
        ("--linger", "TAILRACE_LINGER", "1h", "at most 1s"),
        ("--log", "TAILRACE_LOG", "info,=x=y", "debug"),
        ("--log", "TAILRACE_LOG", "verbose", "debug"),
        ("--log", "TAILRACE_LOG", "info,verbose", "debug"),
        ("--admin-listen", "TAILRACE_ADMIN_LISTEN", "127.0.0.1:8080", "of its own"),
        ("--log-format", "TAILRACE_LOG_FORMAT", "xml", "text, json"),
        ("--heartbeat", "TAILRACE_HEARTBEAT", "soon", "s"),
        ("--listen", "TAILRACE_LISTEN", "here", "8080"),
    ] {
        let text = refusal(&[&LEAST[..], &[flag, value]].concat(), &[]);
        assert!(text.starts_with(&format!("{variable}={value} is not accepted")), "{text}");
        assert!(text.contains(accepted), "{text}");
    }
}

#[test]
fn who_has_set_nothing_is_told_everything_at_once() {
    let text = refusal(&[], &[]);
    for needed in
        ["BOOTSTRAP_SERVERS", "TAILRACE_TOPICS", "TENANT_FROM", "TAILRACE_AUTH=none", "tailrace demo"]
    {
        assert!(text.contains(needed), "{needed}: {text}");
    }
}

#[test]
fn what_may_not_be_meant_is_doubted() {
    let secret = "0123456789abcdef0123456789abcdef";
    let doubts = |more: &[&str], variables: &[(&str, &str)]| planned(more, variables).web.doubts().join("|");
    assert_eq!(doubts(&["--listen", "127.0.0.1:1"], &[]), "");
    assert!(doubts(&["--listen", "0.0.0.0:1"], &[]).contains("every tenant"));
    let idle = doubts(&["--listen", "127.0.0.1:1", "--jwt-secret", secret], &[]);
    assert!(idle.contains("no token is asked for") && !idle.contains(secret), "{idle}");
}

#[test]
fn masks_that_mask_nothing_or_are_shown_elsewhere_are_refused() {
    let unknown = refusal(&[&LEAST[..], &["--mask", "*=/ssn:remove,order=/user/email:redact"]].concat(), &[]);
    assert!(unknown.contains("TAILRACE_MASK") && unknown.contains("topic order,"), "{unknown}");
    planned(
        &["--mask", "*=/ssn:remove,orders=/user/email:redact", "--event-type-from", "json:/user/kind"],
        &[],
    );
    for pointer in ["/ssn", "/user", "/user/email", "/user/email/0"] {
        let rule = format!("json:{pointer}");
        let flags = ["--mask", "*=/ssn:remove,orders=/user/email:redact", "--event-type-from", &rule];
        let shown = refusal(&[&LEAST[..], &flags].concat(), &[]);
        assert!(shown.contains("TAILRACE_EVENT_TYPE_FROM") && shown.contains(pointer), "{shown}");
    }
}

#[test]
fn names_of_other_clients_lead_to_ours() {
    let text = refusal(&LEAST, &[("TAILRACE_KAFKA_BROKERS", "b:9092")]);
    assert!(text.contains("TAILRACE_KAFKA_BOOTSTRAP_SERVERS"), "{text}");
}

#[test]
fn an_unknown_variable_names_the_nearest() {
    let text = refusal(&LEAST, &[("TAILRACE_TOPIC", "orders")]);
    assert!(text.contains("TAILRACE_TOPIC is no setting") && text.contains("TAILRACE_TOPICS "), "{text}");
    let text = refusal(&LEAST, &[("TAILRACE_CASHE_SIZE", "1GiB")]);
    assert!(text.contains("TAILRACE_CACHE_SIZE"), "{text}");
}

#[test]
fn what_kubernetes_injects_is_nobody_s_mistake() {
    planned(
        &[],
        &[
            ("TAILRACE_SERVICE_HOST", "10.0.0.1"),
            ("TAILRACE_SERVICE_PORT", "80"),
            ("TAILRACE_SERVICE_PORT_HTTP", "80"),
            ("TAILRACE_PORT", "tcp://10.0.0.1:80"),
            ("TAILRACE_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("TAILRACE_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("TAILRACE_PORT_80_UDP_PROTO", "udp"),
            ("TAILRACE_KAFKA_SERVICE_HOST", "10.0.0.2"),
            ("TAILRACE_KAFKA_PORT_9092_TCP_PORT", "9092"),
            ("OTHER_PROGRAM", "x"),
        ],
    );
    let number = OsString::from("80");
    assert!(!is_injected("TAILRACE_PORT_TCP", &number));
    assert!(!is_injected("TAILRACE_PORTS", &number));
    assert!(!is_injected("TAILRACE_PORT", &number), "a number is a user's");
}

#[test]
fn a_kafka_property_that_is_unknown_is_refused() {
    let text = refusal(&LEAST, &[("TAILRACE_KAFKA_SESION_TIMEOUT_MS", "6000")]);
    assert!(text.contains("TAILRACE_KAFKA_SESION_TIMEOUT_MS"), "{text}");
}

#[test]
fn a_kafka_property_that_tailrace_owns_is_answered_with_its_own_name() {
    let text = refusal(&LEAST, &[("TAILRACE_KAFKA_GROUP_ID", "mine")]);
    assert!(
        text.starts_with("TAILRACE_KAFKA_GROUP_ID cannot be used; accepted: TAILRACE_GROUP_PREFIX"),
        "{text}"
    );
}

#[test]
fn a_secret_file_that_is_not_there_is_named() {
    let text = refusal(&[&LEAST[..6], &["--jwt-secret-file", "/nowhere/secret"]].concat(), &[]);
    assert!(text.starts_with("TAILRACE_JWT_SECRET_FILE=/nowhere/secret is not accepted"), "{text}");
}

#[test]
fn a_secret_is_never_repeated() {
    let text = Refusal::value("TAILRACE_JWT_SECRET", "hunter2", "32 bytes").to_string();
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn the_prefetch_and_what_slow_clients_hold_are_a_sixteenth_within_bounds() {
    let of = |cache| {
        let process = Process { cache, linger: Duration::ZERO, log: String::new(), log_format: Format::Text };
        assert_eq!(process.prefetch() + process.unread() + process.records(), cache);
        (process.prefetch() >> 20, process.unread() >> 20)
    };
    assert_eq!((of(64 << 20), of(4 << 20), of(2 << 30)), ((4, 4), (1, 1), (64, 64)));
}

#[test]
fn no_more_is_warmed_than_there_is_memory_for() {
    for (cache, records) in [("8MiB", 6 << 20), ("2GiB", 1920 << 20)] {
        let plan = planned(&["--cache-size", cache], &[]);
        assert_eq!(plan.kafka.memory, records, "of {cache}");
    }
}

#[test]
fn a_port_of_the_system_s_choice_still_gives_an_instance_of_its_own() {
    assert!(instance(0).ends_with(&format!("-p{}", std::process::id())));
}
