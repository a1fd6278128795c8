//! `wait=`: the answer comes when something has come, or when the wait, the token, the server or an operator ends it.

use std::time::{Duration, Instant};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Client, SECRET, Server};
use crate::{RECORDS, eventually, listed, next, page, values};

fn bearer(lifetime: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let claims =
        json!({"tenant_id": "acme", "scope": "event:read:acme", "sub": "ann", "exp": now + lifetime});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    format!("Bearer {}", jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap())
}

/// Asks for a page that waits, and returns once the server has it.
async fn waits(
    server: &Server,
    query: &str,
    headers: &[(&str, &str)],
) -> tokio::task::JoinHandle<(Client, Value, Duration)> {
    let (address, target) = (server.address, format!("{RECORDS}?{query}"));
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let before = listed(server).await.len();
    let begin = Instant::now();
    let asked = tokio::spawn(async move {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut client = Client::request(address, "GET", &target, &headers).await;
        let body = client.json().await;
        (client, body, begin.elapsed())
    });
    eventually("the page waits", async || listed(server).await.len() > before).await;
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_waits_is_answered_by_what_comes_and_by_nothing_else() {
    let mut server = Server::open(&[]).await;
    let start = page(&server, "").await;
    let waiting = waits(&server, &format!("wait=20s&last_event_id={}", next(&start)), &[]).await;
    assert_eq!(
        (&listed(&server).await[0]["kind"], &listed(&server).await[0]["state"]),
        (&json!("page"), &json!("live"))
    );
    server.append("other", "not mine");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    server.append("acme", "mine");
    let (client, found, took) = waiting.await.unwrap();
    assert_eq!((client.status, values(&found)), (200, vec!["mine"]));
    assert!(took < Duration::from_secs(5), "{took:?}");
    eventually("its place is free", async || listed(&server).await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_is_not_waited_for() {
    let mut server = Server::open(&[]).await;
    server.append("acme", "one");
    let begin = Instant::now();
    let found = page(&server, "from=earliest&wait=20s").await;
    assert_eq!(values(&found), ["one"]);
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_in_a_wait_is_the_end_of_the_records_too() {
    let mut server = Server::open(&[]).await;
    let waiting = waits(&server, "wait=20s", &[]).await;
    // Longer than a page reads.
    tokio::time::sleep(Duration::from_millis(5200)).await;
    server.append("acme", "late");
    let (_, found, _) = waiting.await.unwrap();
    assert_eq!((values(&found), found.get("more")), (vec!["late"], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_over_is_an_empty_page_whose_end_has_moved_on() {
    let mut server = Server::open(&[]).await;
    let start = page(&server, "").await;
    let waiting = waits(&server, &format!("wait=1s&last_event_id={}", next(&start)), &[]).await;
    server.append("other", "not mine");
    let (_, found, took) = waiting.await.unwrap();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(3), "{took:?}");
    assert!(values(&found).is_empty() && found.get("more").is_none(), "{found}");
    assert_ne!(next(&found), next(&start), "another tenant's record is not looked at again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_it_waits_frees_everything() {
    let server = Server::open(&["--max-streams", "2"]).await;
    for accept in ["*/*", "application/x-ndjson"] {
        let waiting = waits(&server, "wait=50s", &[("Accept", accept)]).await;
        waiting.abort();
        eventually("its place is free", async || listed(&server).await.is_empty()).await;
    }
    // Both places are free.
    let _first = waits(&server, "wait=50s", &[]).await;
    let _second = waits(&server, "wait=50s", &[]).await;
    assert_eq!(server.get(RECORDS, &[]).await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_who_waits_with_the_id_that_it_has() {
    let mut server = Server::open(&["--drain-delay", "0s"]).await;
    let start = page(&server, "").await;
    let waiting = waits(&server, &format!("wait=50s&last_event_id={}", next(&start)), &[]).await;
    server.stop();
    let (client, found, took) = waiting.await.unwrap();
    assert_eq!((client.status, values(&found).len(), next(&found)), (200, 0, next(&start)));
    assert!(took < Duration::from_secs(5), "{took:?}");
    (&mut server.running).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_token_and_an_operator_s_order_answer_who_waits() {
    let flags = ["--auth", "jwt", "--jwt-secret", SECRET, "--jwt-leeway", "0s"];
    let server = Server::start(&flags).await;
    let waiting = waits(&server, "wait=50s", &[("Authorization", &bearer(600))]).await;
    let mut revoked = Client::request(server.admin, "DELETE", "/streams?subject=ann", &[]).await;
    assert_eq!(revoked.json().await["revoked"], 1);
    let (client, found, took) = waiting.await.unwrap();
    assert_eq!((client.status, values(&found).len()), (200, 0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let waiting = waits(&server, "wait=50s", &[("Authorization", &bearer(2))]).await;
    let (client, found, took) = waiting.await.unwrap();
    assert_eq!((client.status, values(&found).len()), (200, 0));
    assert!(took < Duration::from_secs(8), "{took:?}");
    // Who asks again with the token is told so by status.
    assert_eq!(server.get(RECORDS, &[("Authorization", &bearer(-5))]).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_comes_as_soon_as_it_is_there() {
    let mut server = Server::open(&[]).await;
    let (address, target) = (server.address, format!("{RECORDS}?wait=20s"));
    let asked = tokio::spawn(async move {
        Client::request(address, "GET", &target, &[("Accept", "application/x-ndjson")]).await.body().await
    });
    eventually("the page waits", async || !listed(&server).await.is_empty()).await;
    server.append("acme", "now");
    let body = asked.await.unwrap();
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["value"]), (2, &json!("now")));
}
