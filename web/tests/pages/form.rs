//! What a page looks like, and how wrong requests are answered.

use serde_json::{Value, json};
use tailrace_bridge::{Form, Headers, NewRecord, Position, TenantId};

use crate::support::{Client, Server};
use crate::{RECORDS, next, page, values};

const LINES: (&str, &str) = ("Accept", "application/x-ndjson");

/// Appends a record with a type, a key and a value, each as it is.
pub(crate) fn append(server: &Server, offset: u64, event_type: Option<&str>, value: Option<&[u8]>) {
    let topic = server.bridge.topic("orders").unwrap();
    let partition = topic.partitions()[0].clone();
    let record = NewRecord {
        offset,
        epoch: 0,
        timestamp: 1_700_000_000_000,
        key: Some(b"k"),
        value,
        headers: Headers::default(),
        tenant: TenantId::new("acme").unwrap(),
        event_type: event_type.map(Into::into),
        form: Form::default(),
    };
    server.bridge.append(&partition, &[record], Position { offset: offset + 1, epoch: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_page_is_answered_at_once_and_its_end_is_where_the_next_begins() {
    let mut server = Server::open(&[]).await;
    let mut client = server.get(RECORDS, &[]).await;
    assert_eq!(client.headers["content-type"], "application/json");
    assert_eq!(client.headers["x-content-type-options"], "nosniff");
    let text = client.body().await;
    let empty: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text, format!("{{\"records\":[],\"next\":\"{}\"}}\n", next(&empty)));
    server.append("other", "not mine");
    server.append("acme", "mine");
    let second = page(&server, &format!("last_event_id={}", next(&empty))).await;
    assert_eq!(values(&second), ["mine"]);
    assert!(second.get("more").is_none() && second.get("gaps").is_none(), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_as_many_records_as_it_may_in_the_record_envelope() {
    let mut server = Server::open(&[]).await;
    for n in 0..250 {
        server.append("acme", &format!("n{n}"));
    }
    let first = page(&server, "from=earliest").await;
    assert_eq!((values(&first).len(), &first["more"]), (100, &json!(true)));
    let expected = json!({
        "topic": "orders", "partition": 0, "offset": 0, "timestamp": 1_700_000_000_000_u64, "key": "k",
        "headers": {}, "value": "n0",
    });
    assert_eq!(first["records"][0], expected);
    let second = page(&server, &format!("from={}&limit=149", next(&first))).await;
    assert_eq!((values(&second).len(), values(&second)[0]), (149, "n100"));
    let third = page(&server, &format!("limit=1000&last_event_id={}", next(&second))).await;
    assert_eq!((values(&third), third.get("more")), (vec!["n249"], None));
    let all = page(&server, "from=earliest&limit=1000").await;
    assert_eq!(values(&all).len(), 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_records_ends_by_size() {
    let mut server = Server::open(&[]).await;
    let value = "x".repeat(300 * 1024);
    for _ in 0..8 {
        server.append("acme", &value);
    }
    let (mut id, mut sizes) = ("from=earliest".to_owned(), Vec::new());
    while sizes.iter().sum::<usize>() < 8 {
        let page = page(&server, &format!("{id}&limit=1000")).await;
        sizes.push(values(&page).len());
        id = format!("last_event_id={}", next(&page));
    }
    assert_eq!(sizes, [4, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_types_are_those_of_streams() {
    let server = Server::open(&[]).await;
    for (offset, event_type, value) in
        [(0, Some("paid"), r#"{"n":1}"#), (1, Some("sent"), r#"{"n":2}"#), (2, None, r#"{"n":3}"#)]
    {
        append(&server, offset, event_type, Some(value.as_bytes()));
    }
    let offsets = |page: &Value| -> Vec<u64> {
        page["records"].as_array().unwrap().iter().map(|record| record["offset"].as_u64().unwrap()).collect()
    };
    let all = page(&server, "from=earliest").await;
    assert_eq!(offsets(&all), [0, 1, 2]);
    assert_eq!((&all["records"][0]["type"], all["records"][2].get("type")), (&json!("paid"), None));
    assert_eq!(offsets(&page(&server, "from=earliest&where=value.n%3E1").await), [1, 2]);
    assert_eq!(offsets(&page(&server, "from=earliest&type=sent&type=message").await), [1, 2]);
    assert_eq!(offsets(&page(&server, "from=-1").await), [2]);
    assert_eq!(offsets(&page(&server, "from=earliest&key=other").await), [] as [u64; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_values_are_json_and_what_is_none_stands_beside_them() {
    let server = Server::open(&[]).await;
    for (offset, value) in [(0, Some(&b"{\"a\":\n1}"[..])), (1, Some(b"text")), (2, None), (3, Some(b"\xff"))]
    {
        append(&server, offset, None, value);
    }
    let bare = page(&server, "from=earliest&envelope=none").await;
    assert_eq!(bare["records"], json!([{"a": 1}, "text", null, null]));
    let enveloped = &bare["enveloped"];
    assert_eq!((&enveloped[0]["at"], &enveloped[0]["event"]), (&json!(2), &json!("tailrace.tombstone")));
    assert_eq!((&enveloped[1]["at"], &enveloped[1]["event"]), (&json!(3), &json!("tailrace.binary")));
    assert_eq!(enveloped[1]["data"]["value"], json!({"base64": "/w=="}));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_the_same_records_and_a_last_line() {
    let mut server = Server::open(&[]).await;
    for n in 0..5 {
        server.append("acme", &format!("n{n}"));
    }
    let whole = page(&server, "from=earliest&limit=3").await;
    let mut client = server.get(&format!("{RECORDS}?from=earliest&limit=3"), &[LINES]).await;
    assert_eq!(client.headers["content-type"], "application/x-ndjson");
    assert_eq!(client.headers["cache-control"], "no-store");
    let text = client.body().await;
    assert!(text.ends_with('\n'));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!(lines[..3]), whole["records"]);
    assert_eq!(lines[3..], [json!({"more": true, "next": whole["next"]})]);
    let mut client = server.get(&format!("{RECORDS}?last_event_id={}", next(&lines[3])), &[LINES]).await;
    assert_eq!(client.body().await.lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_cannot_be_read_is_a_gap_and_one_in_from_is_refused() {
    let mut server = Server::open(&[]).await;
    server.append("acme", "one");
    for (query, header) in [("last_event_id=nonsense", None), ("", Some(("Last-Event-ID", "nonsense")))] {
        let headers: Vec<_> = header.into_iter().collect();
        let target = format!("{RECORDS}?from=earliest&{query}");
        let found = server.get(&target, &headers).await.json().await;
        assert_eq!(found["gaps"], json!([{"at": 0, "code": "unknown_id"}]));
        assert_eq!(values(&found), ["one"]);
        let again = page(&server, &format!("last_event_id={}", next(&found))).await;
        assert!(again.get("gaps").is_none() && values(&again).is_empty(), "{again}");
    }
    let mut client = server.get(&format!("{RECORDS}?from=Nonsense"), &[]).await;
    assert_eq!((client.status, &client.json().await["parameter"]), (400, &json!("from")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_stands_at_its_place_and_is_announced_once() {
    let mut server = Server::open(&[]).await;
    server.append("acme", "one");
    let first = page(&server, "from=earliest").await;
    server.append("acme", "two");
    server.bridge.recreate_topic(
        "orders",
        tailrace_bridge::TopicId([8; 16]),
        &[tailrace_bridge::Start { offset: 0, epoch: 0, log_start: 0 }],
    );
    append(&server, 0, None, Some(b"new"));
    let second = page(&server, &format!("last_event_id={}", next(&first))).await;
    assert_eq!(second["gaps"][0]["code"], "recreated", "{second}");
    assert_eq!((&second["gaps"][0]["at"], values(&second)), (&json!(0), vec!["new"]));
    let third = page(&server, &format!("last_event_id={}", next(&second))).await;
    assert!(third.get("gaps").is_none() && values(&third).is_empty(), "{third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_and_preflight_are_answered_as_for_streams() {
    let server = Server::open(&["--cors-origins", "https://app.example"]).await;
    let head = Client::request(server.address, "HEAD", RECORDS, &[]).await;
    assert_eq!((head.status, &*head.headers["content-type"]), (200, "application/json"));
    assert!(!head.headers.contains_key("content-length"), "it would be that of the page");
    let origin = ("Origin", "https://app.example");
    let asked = server.get(RECORDS, &[origin]).await;
    assert_eq!(asked.headers["access-control-allow-origin"], "https://app.example");
    assert!(asked.headers["access-control-expose-headers"].contains("etag"));
    let asks = [
        origin,
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "if-none-match,last-event-id,authorization"),
    ];
    let allowed = Client::request(server.address, "OPTIONS", RECORDS, &asks).await;
    assert!(
        allowed.headers["access-control-allow-headers"].contains("if-none-match"),
        "{:?}",
        allowed.headers
    );
    assert_eq!(
        Client::request(server.address, "POST", RECORDS, &[("Content-Length", "0")]).await.status,
        405
    );
    assert_eq!(server.get("/records", &[]).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_tenant_the_page_is_plain() {
    let server = Server::cold("none", &["--auth", "none"]).await;
    let waits = server.get("/records", &[]).await;
    assert_eq!((waits.status, waits.headers.contains_key("retry-after")), (503, true));
    server.bridge.health().set_ready();
    assert_eq!(server.get("/records", &[]).await.status, 200);
    assert_eq!(server.get("/t/default/records", &[]).await.status, 200);
    assert_eq!(server.get(RECORDS, &[]).await.status, 404);
    // A page is refused by its status, whether it comes with an id or not.
    let cold = Server::cold("header:tenant", &["--auth", "none"]).await;
    assert_eq!(cold.get(RECORDS, &[("Last-Event-ID", "abc")]).await.status, 503);
}
