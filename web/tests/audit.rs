//! The audit log of a running server: who was refused, from where, why; what a flood leaves of it; and what is never in it.
//!
//! The log is the process's, so each test looks for lines with a trace id of its own.

mod support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::{Client, SECRET, Server};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tracing_subscriber::fmt::MakeWriter;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e47";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

impl Log {
    /// The log of this process, as the program writes it with `TAILRACE_LOG_FORMAT=json`.
    fn get() -> Log {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Log::default();
            let builder = tracing_subscriber::fmt().json().flatten_event(true);
            builder.with_max_level(tracing::Level::INFO).with_writer(log.clone()).init();
            log
        })
        .clone()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines of the audit log with the trace id that ends so.
    fn of(&self, end: &str) -> Vec<Value> {
        let id = format!("{TRACE}{end}");
        self.lines()
            .into_iter()
            .filter(|line| line["target"] == "audit" && line["trace_id"] == id.as_str())
            .collect()
    }
}

fn token(claims: Value) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut all = json!({"tenant_id": "acme", "scope": "event:read:acme", "sub": "alice", "exp": now + 600});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    jsonwebtoken::encode(&Header::default(), &all, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn server(flags: &[&str]) -> Server {
    Log::get();
    Server::start(&[&["--auth", "jwt", "--jwt-secret", SECRET], flags].concat()).await
}

async fn get(server: &Server, target: &str, end: &str, headers: &[(&str, &str)]) -> Client {
    let parent = format!("00-{TRACE}{end}-00f067aa0ba902b7-01");
    server.get(target, &[&[("traceparent", parent.as_str())], headers].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_asks_for_another_tenant_is_logged_with_its_subject_and_that_tenant() {
    let server = server(&["--trusted-proxies", "127.0.0.1"]).await;
    let bearer = format!("Bearer {}", token(json!({})));
    let headers = [("Authorization", bearer.as_str()), ("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(get(&server, "/t/globex/events", "a1", &headers).await.status, 403);
    let lines = Log::get().of("a1");
    assert_eq!(lines.len(), 1, "{lines:?}");
    for (field, value) in [
        ("message", "refused"),
        ("reason", "forbidden"),
        ("tenant", "globex"),
        ("subject", "alice"),
        ("address", "203.0.113.9"),
        ("path", "/t/globex/events"),
    ] {
        assert_eq!(lines[0][field], value, "{:?}", lines[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_refusal_is_logged_once_with_its_reason() {
    let server = server(&["--max-streams-per-tenant", "1"]).await;
    let good = token(json!({}));
    let with =
        |path: &str| format!("{path}{}access_token={good}", if path.contains('?') { '&' } else { '?' });
    let _stream = server.get(&with("/t/acme/events"), &[]).await;
    for (target, end, reason) in [
        ("/t/acme/events".to_owned(), "b1", "unauthenticated"),
        ("/t/acme/events?access_token=a.b.c".to_owned(), "b2", "unauthenticated"),
        (with("/t/acme/events"), "b3", "too_many_streams"),
        (with("/t/acme/events?topic=other"), "b4", "too_many_streams"),
        (with("/t/acme/events?where=x"), "b5", "bad_parameter"),
        (with("/t/%0D%0Aacme/events"), "b6", "bad_tenant"),
        (with("/admin/%0A"), "b7", "not_found"),
        ("/healthz".to_owned(), "b8", "not_found"),
    ] {
        let status = get(&server, &target, end, &[]).await.status;
        let lines = Log::get().of(end);
        assert_eq!(lines.len(), 1, "{target}: {status} {lines:?}");
        assert_eq!(lines[0]["reason"], reason, "{target}: {status}");
    }
    let parent = format!("00-{TRACE}b9-00f067aa0ba902b7-01");
    let headers = [("traceparent", parent.as_str()), ("Content-Length", "0")];
    Client::request(server.address, "POST", "/t/acme/events", &headers).await;
    assert_eq!(Log::get().of("b9")[0]["reason"], "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_with_line_ends_forges_no_line() {
    let server = server(&[]).await;
    let forged = "alice\r\n{\"target\":\"audit\",\"message\":\"called\",\"subject\":\"root\"}\n\u{2028}";
    let bearer = format!("Bearer {}", token(json!({"sub": forged})));
    get(&server, "/t/globex/events", "c1", &[("Authorization", &bearer)]).await;
    let lines = Log::get().of("c1");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["subject"], forged.replace('\u{2028}', "\\u{2028}"));
    assert!(Log::get().lines().iter().all(|line| line["message"] != "called"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_in_the_log_however_it_was_sent() {
    let server = server(&[]).await;
    let token = token(json!({"sub": "mallory"}));
    let signature = token.rsplit('.').next().unwrap();
    get(&server, &format!("/t/globex/events?access_token={token}"), "d1", &[]).await;
    get(&server, &format!("/none?access_token={token}"), "d2", &[]).await;
    get(&server, "/t/globex/events", "d3", &[("Authorization", &format!("Bearer {token}"))]).await;
    get(&server, "/t/acme/events", "d4", &[("Authorization", &format!("Basic {token}"))]).await;
    // A request line that cannot be read.
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let line = format!("GET /t/acme/events?access_token={token}> HTTP/1.1\r\nHost: a\r\n\r\n");
    socket.write_all(line.as_bytes()).await.unwrap();
    assert_eq!(Client::answer(socket).await.status, 400);
    assert_eq!(["d1", "d2", "d3", "d4"].map(|end| Log::get().of(end).len()), [1; 4]);
    assert!(!Log::get().text().contains(signature));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_writes_few_lines_and_hides_no_other_refusal() {
    let server = server(&[]).await;
    let omitted = server.metric("tailrace_audit_lines_omitted_total{event=\"refused\"}").await;
    let good = format!("Bearer {}", token(json!({})));
    for _ in 0..300 {
        // No other test is refused for this reason, whose budget this uses up.
        let target = "/t/acme/events?topic=nowhere";
        assert_eq!(get(&server, target, "e1", &[("Authorization", &good)]).await.status, 404);
    }
    let lines = Log::get().of("e1").len();
    assert!((90..=130).contains(&lines), "{lines} lines");
    let omitted = server.metric("tailrace_audit_lines_omitted_total{event=\"refused\"}").await - omitted;
    assert!(omitted >= (300 - lines) as f64, "{omitted} of {lines}");
    get(&server, "/t/globex/events", "e2", &[("Authorization", &good)]).await;
    assert_eq!(Log::get().of("e2").len(), 1);
}
