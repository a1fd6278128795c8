//! No secret is in what the server says: its log at the level trace, its metrics, its answers, the process list.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::bridge::Bridge;
use support::kafka::Kafka;

const SECRET: &str = "the-secret-of-the-variable-0123456789";
const FILED: &str = "the-secret-of-the-file-0123456789abcd";
const KAFKAS: &str = "the-password-for-kafka";
const ISSUERS: &str = "the-password-of-the-query-of-the-issuer";
/// The file of secrets is looked at every two seconds.
const FILE_READ: Duration = Duration::from_secs(30);

/// An answer, or the beginning of it if it is a stream, which does not end.
fn request(port: u16, target: &str, headers: &[(&str, &str)]) -> String {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server accepts");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let connection = if headers.contains("Upgrade") { "" } else { "Connection: close\r\n" };
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{connection}{headers}\r\n");
    socket.write_all(request.as_bytes()).expect("the request is sent");
    let (mut answer, mut part) = (Vec::new(), [0; 64 * 1024]);
    while let Ok(read @ 1..) = socket.read(&mut part) {
        answer.extend_from_slice(&part[..read]);
        let is_stream = answer.starts_with(b"HTTP/1.1 200") && target.contains("/events");
        let is_refusal = connection.is_empty() && answer.ends_with(b"}\n");
        if is_stream || is_refusal || answer.starts_with(b"HTTP/1.1 101") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

async fn start(kafka: &Kafka, secret_file: &str) -> Bridge {
    kafka.create_topic("orders", 2, &[]).await;
    let url = format!("http://127.0.0.1:9/keys?password={ISSUERS}");
    let settings = [
        ("TAILRACE_AUTH", "jwt"),
        ("TAILRACE_JWT_SECRET", SECRET),
        ("TAILRACE_JWT_SECRET_FILE", secret_file),
        ("TAILRACE_JWT_JWKS_URL", &url),
        ("TAILRACE_JWT_COOKIE", "session"),
        ("TAILRACE_KAFKA_SASL_PASSWORD", KAFKAS),
        ("TAILRACE_LOG", "trace"),
    ];
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "secrets", &settings);
    bridge.start().await;
    bridge
}

fn sign(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), claims, &key).expect("it can be signed")
}

/// The opening handshake of a WebSocket.
const HANDSHAKE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_logs_metrics_answers_or_the_process_list() {
    let (kafka, file) = (Kafka::start().await, tempfile::NamedTempFile::new().expect("a file"));
    fs::write(file.path(), FILED).expect("written");
    let mut bridge = start(&kafka, file.path().to_str().expect("UTF-8")).await;
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let claims =
        |more: u64| json!({"tenant_id": "acme", "scope": "event:read:acme", "exp": now + more, "sub": "me"});
    let tokens = [
        (sign(SECRET, &claims(600)), "200"),
        (sign(FILED, &claims(601)), "200"),
        (sign("a secret that the server does not have", &claims(602)), "401"),
        (sign(SECRET, &json!({"tenant_id": "other", "scope": "event:read:acme", "exp": now + 603})), "403"),
        (sign(SECRET, &json!({"tenant_id": "acme", "exp": 1})), "401"),
    ];
    let mut answers = Vec::new();
    for (token, status) in &tokens {
        let (bearer, cookie) = (format!("Bearer {token}"), format!("session={token}"));
        let path = "/t/acme/events";
        for answer in [
            request(bridge.port, path, &[("Authorization", &bearer)]),
            request(bridge.port, &format!("{path}?access_token={token}"), &[]),
            request(bridge.port, path, &[("Cookie", &cookie)]),
        ] {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
            answers.push(answer);
        }
        let protocol = format!("bearer, {token}");
        let handshake = [&HANDSHAKE[..], &[("Sec-WebSocket-Protocol", &*protocol)]].concat();
        let answer = request(bridge.port, "/t/acme/ws", &handshake);
        let status = if *status == "200" { "101" } else { status };
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
        answers.push(answer);
        // Another scheme, and a reconnect, whose refusals are within a stream.
        answers.push(request(bridge.port, path, &[("Authorization", &format!("Token {token}"))]));
        answers.push(request(bridge.port, path, &[("Last-Event-ID", "an-id"), ("Authorization", &bearer)]));
        answers.push(request(bridge.port, &format!("{path}?colour=red&access_token={token}"), &[]));
    }
    fs::write(file.path(), "short").expect("written");
    let read_again = async || Some(()).filter(|()| bridge.log().contains("TAILRACE_JWT_SECRET_FILE"));
    support::eventually("the file is read again", FILE_READ, read_again).await;
    answers.push(request(bridge.admin, "/metrics", &[]));
    answers.push(request(bridge.admin, "/readyz", &[]));
    let command = fs::read_to_string(format!("/proc/{}/cmdline", bridge.pid())).expect("it runs");
    bridge.terminate().await;
    let (log, answers) = (bridge.log(), answers.join("\n"));
    assert!(log.contains("TRACE"), "the log has every level");
    let parts = tokens.iter().flat_map(|(token, _)| token.split('.').skip(1)).map(str::to_owned);
    for secret in [SECRET, FILED, KAFKAS, ISSUERS].map(str::to_owned).into_iter().chain(parts) {
        for (place, text) in [("the log", &log), ("an answer", &answers), ("the process list", &command)] {
            let line = text.lines().find(|line| line.contains(&secret));
            assert_eq!(line, None, "{secret} is in {place}");
        }
    }
}
