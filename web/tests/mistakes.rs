//! Mistaken requests, each with its exact answer: `mistakes.txt` has both, and is read as a whole.
//!
//! A request is a line: the method, the address, and a header behind it. Under it stands the answer: status, code, the
//! parameter and column where it names them, and the detail.

mod support;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use support::{Client, SECRET, Server};

const TABLE: &str = include_str!("mistakes.txt");
/// The least that the table is to hold.
const LEAST: usize = 60;

/// Claims, and the secret that they are signed with, by the name that stands for the token in the table.
fn token(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let good = json!({"tenant_id": "acme", "scope": "event:read:acme", "exp": now + 600});
    let with = |change: Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    };
    let (algorithm, secret, claims) = match name {
        "expired" => (Algorithm::HS256, SECRET, with(json!({"exp": now - 3600}))),
        "endless" => (Algorithm::HS256, SECRET, with(json!({"exp": null}))),
        "forged" => (Algorithm::HS256, "another secret, which is long enough too", good),
        "hs512" => (Algorithm::HS512, SECRET, good),
        "globex" => (Algorithm::HS256, SECRET, with(json!({"tenant_id": "globex"}))),
        "nobody" => (Algorithm::HS256, SECRET, with(json!({"tenant_id": null}))),
        "unscoped" => (Algorithm::HS256, SECRET, with(json!({"scope": null}))),
        "other-scope" => (Algorithm::HS256, SECRET, with(json!({"scope": "event:read:globex"}))),
        other => panic!("no token {other}"),
    };
    jsonwebtoken::encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(secret.as_bytes()))
        .unwrap()
}

/// `{name}` in braces is a token; `{x*N}` is a letter so many times.
fn filled(text: &str) -> String {
    let Some((before, rest)) = text.split_once('{') else { return text.to_owned() };
    let Some((name, after)) = rest.split_once('}') else { return text.to_owned() };
    let value = match name.split_once('*') {
        Some((letters, count)) => letters.repeat(count.parse().unwrap()),
        None => token(name),
    };
    format!("{before}{value}{}", filled(after))
}

/// What the server answers, as the table has it.
async fn answer(server: &Server, request: &str) -> String {
    let mut words = request.splitn(3, ' ');
    let (method, target) = (words.next().unwrap(), filled(words.next().unwrap()));
    let header = words.next().and_then(|header| header.split_once(": "));
    let header = header.map(|(name, value)| (name.to_owned(), filled(value)));
    let headers: Vec<(&str, &str)> =
        header.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (address, target) = match target.strip_prefix("ADMIN") {
        Some(target) => (server.admin, target),
        None => (server.address, target.as_str()),
    };
    let mut client = Client::request(address, method, target, &headers).await;
    let status = client.status;
    assert_ne!(status, 200, "{request}: was taken");
    assert_eq!(client.headers["content-type"], "application/problem+json", "{request}");
    let problem = client.json().await;
    let word = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(problem["status"], status, "{request}");
    assert_eq!(word("trace_id").len(), 32, "{request}");
    let mut place = word("parameter");
    if let Some(column) = problem["column"].as_u64() {
        place = format!("{place}, column {column}");
    }
    let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
    format!("{status} {}{place}: {}", word("code"), word("detail"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_gets_the_answer_of_the_table() {
    let open = Server::open(&[]).await;
    let jwt = Server::start(&["--auth", "jwt", "--jwt-secret", SECRET]).await;
    let one_tenant = Server::cold("none", &["--auth", "none"]).await;
    one_tenant.bridge.health().set_ready();
    let (mut server, mut table, mut count) = (&open, String::new(), 0);
    for line in TABLE.lines() {
        // What begins with a number is an answer, to be made again.
        if line.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        table.push_str(&format!("{line}\n"));
        match line {
            "# TAILRACE_AUTH=none" => server = &open,
            "# TAILRACE_AUTH=jwt" => server = &jwt,
            "# TAILRACE_TENANT_FROM=none" => server = &one_tenant,
            "" => {}
            request => {
                table.push_str(&format!("{}\n", answer(server, request).await));
                count += 1;
            }
        }
    }
    assert!(count >= LEAST, "{count} mistakes");
    let differ = table.lines().zip(TABLE.lines()).find(|(now, then)| now != then);
    if let Some((now, then)) = differ {
        panic!("the table has\n{then}\nthe server says\n{now}\n\nthe whole table would be:\n{table}");
    }
    assert_eq!(table, TABLE);
}
