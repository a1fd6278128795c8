//! Trouble: a flood of one kind; a flood that is to hide something else; line ends, controls and other marks in every field, in both
//! formats of the log; texts without end; names that are not known yet.

use std::io::{self, Write};
use std::sync::Arc;

use tracing::subscriber::with_default;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::trace;

/// What a log has written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Written;

    fn make_writer(&self) -> Written {
        self.clone()
    }
}

/// The log of what is said, as text and as JSON, in the formats of the program.
fn logs(say: impl Fn()) -> [String; 2] {
    // At the level debug nothing is left out, whatever other tests have said.
    let builder = || tracing_subscriber::fmt().with_max_level(Level::DEBUG);
    let (text, json) = (Written::default(), Written::default());
    with_default(builder().with_ansi(false).with_writer(text.clone()).finish(), &say);
    with_default(builder().json().flatten_event(true).with_writer(json.clone()).finish(), &say);
    [text, json].map(|written| String::from_utf8(written.0.lock().clone()).unwrap())
}

fn who(tenant: Option<&str>, subject: Option<&str>) -> Who {
    let address = "203.0.113.9".parse().unwrap();
    let tenant = tenant.map(|tenant| TenantId::new(tenant).unwrap());
    Who { tenant, subject: subject.map(Arc::from), address, trace_id: trace::fresh() }
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_line_says_who_was_refused_from_where_and_why() {
    let who = who(Some("acme"), Some("alice"));
    let [text, line] = logs(|| refused(&who, "forbidden", "the token's scope lacks it", "/t/acme/events"));
    let line = json(&line);
    for (field, value) in [
        ("target", "audit"),
        ("message", "refused"),
        ("level", "INFO"),
        ("tenant", "acme"),
        ("subject", "alice"),
        ("address", "203.0.113.9"),
        ("reason", "forbidden"),
        ("detail", "the token's scope lacks it"),
        ("path", "/t/acme/events"),
        ("trace_id", &who.trace_id.to_string()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
        assert!(text.contains(value), "{value} in {text}");
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let [text, line] = logs(|| refused(&who(None, None), "unauthenticated", "send a token", "/events"));
    let line = json(&line);
    assert!(line.get("tenant").is_none() && line.get("subject").is_none(), "{line}");
    assert!(!text.contains("tenant=") && !text.contains("subject="), "{text}");
}

#[test]
fn each_event_has_its_fields() {
    let who = who(Some("acme"), None);
    let line = |say: &dyn Fn()| json(&logs(say)[1]);
    let revoked = line(&|| revoked(&who, "by_tenant", 12));
    assert_eq!(
        (&revoked["message"], &revoked["streams"], &revoked["tenant"]),
        (&"revoked".into(), &12.into(), &"acme".into())
    );
    let reload = line(&|| reloaded("TAILRACE_LIMITS_FILE", false, Ok(())));
    assert_eq!((&reload["what"], &reload["outcome"]), (&"TAILRACE_LIMITS_FILE".into(), &"taken".into()));
    let wrong = line(&|| reloaded("TAILRACE_LIMITS_FILE", true, Err("line 3: no such limit")));
    assert_eq!(
        (&wrong["level"], &wrong["detail"], &wrong["reason"]),
        (&"WARN".into(), &"line 3: no such limit".into(), &"signal".into())
    );
    let call = line(&|| called(&who, "DELETE", "/streams", 401));
    assert_eq!(
        (&call["method"], &call["status"], &call["reason"]),
        (&"DELETE".into(), &401.into(), &"refused".into())
    );
}

/// Everything that may end a line, move a cursor, or change what is read, in every field that has a client's text.
#[test]
fn a_line_stays_one_line_whatever_its_fields_have() {
    let evil = "a\r\nb\n2026-01-01 INFO audit: called\u{0}\u{1b}[2J\u{7f}\u{85}\u{9b}31m\u{2028}\u{2029}\u{202e}\u{feff}\t\"\\";
    // No name of a tenant has controls; what else a name may have is escaped.
    let tenant = "a\u{2028}\u{202e}\u{feff}b";
    let who = who(Some(tenant), Some(evil));
    let all: [&dyn Fn(); 4] = [
        &|| refused(&who, "forbidden", evil, evil),
        &|| revoked(&who, "by_subject", 1),
        &|| reloaded("TAILRACE_LIMITS_FILE", false, Err(evil)),
        &|| called(&who, evil, evil, 200),
    ];
    for say in all {
        for log in logs(say) {
            let line = log.strip_suffix('\n').unwrap();
            let found: Vec<char> = line.chars().filter(|c| c.is_control() || is_hidden(*c)).collect();
            assert!(found.is_empty(), "{found:?} in {line}");
        }
    }
}

#[test]
fn a_text_without_end_is_clipped_in_every_field() {
    let long = "x".repeat(64 * 1024);
    let who = who(None, Some(&long));
    for log in logs(|| refused(&who, "bad_parameter", &long, &long)) {
        assert!(log.len() < 2_000, "{} bytes", log.len());
    }
}

#[test]
fn a_flood_of_one_kind_does_not_hide_another() {
    let budgets = Budgets::default();
    let lines = (0..10_000).filter(|_| budgets.take("refused", "rate_limited").is_some()).count();
    assert!((100..=110).contains(&lines), "{lines}");
    assert_eq!(budgets.take("refused", "forbidden"), Some(0));
    assert_eq!(budgets.take("called", "refused"), Some(0));
}

#[test]
fn what_was_left_out_is_on_the_next_line() {
    let budgets = Budgets::default();
    let is_over = (0..10_000).any(|_| budgets.take("refused", "rate_limited").is_none());
    assert!(is_over, "nothing is left out");
    let next = with_default(
        tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_writer(io::sink).finish(),
        || budgets.take("refused", "rate_limited"),
    );
    assert_eq!(next, Some(1));
}
