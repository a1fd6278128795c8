//! The list of a tenant's topics: what it has, and that it tells nothing of other tenants or of what the caller may not read.

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::{SECRET, Server};
use tailrace_bridge::{Headers, NewRecord, Position, Start, TenantId, TopicId};

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Appends records of these tenants and types to a partition of a topic, with a timestamp each.
fn append(server: &Server, topic: &str, partition: usize, records: &[(&str, Option<&str>, i64)]) {
    let partition = server.bridge.topic(topic).unwrap().partitions()[partition].clone();
    for &(tenant, event_type, timestamp) in records {
        let offset = partition.head().offset;
        let record = NewRecord {
            offset,
            epoch: 0,
            timestamp,
            key: None,
            value: Some(b"{}"),
            headers: Headers::default(),
            tenant: TenantId::new(tenant).unwrap(),
            event_type: event_type.map(Into::into),
            form: tailrace_bridge::Form::default(),
        };
        server.bridge.append(&partition, &[record], Position { offset: offset + 1, epoch: 0 });
    }
}

async fn topics(server: &Server, target: &str, headers: &[(&str, &str)]) -> Value {
    let mut answer = server.get(target, headers).await;
    assert_eq!((answer.status, &*answer.headers["cache-control"]), (200, "no-store"));
    answer.json().await["topics"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_partitions_types_and_the_rate_of_the_tenant_alone() {
    let server = Server::open(&[]).await;
    let logs = [Start { offset: 7, epoch: 0, log_start: 3 }, Start { offset: 9, epoch: 0, log_start: 9 }];
    server.bridge.add_topic("logs", TopicId([8; 16]), &logs);
    let (recent, old) = (now() - 30_000, now() - 120_000);
    let paid = ("acme", Some("paid"), recent);
    append(
        &server,
        "orders",
        0,
        &[("acme", Some("created"), old), paid, paid, ("globex", Some("secret"), recent)],
    );
    append(&server, "logs", 1, &[("acme", None, recent)]);
    let rate = |count: f64| (count / 60.0 * 100.0_f64).round() / 100.0;
    let expected = json!([
        {
            "topic": "logs",
            "partitions": [{"partition": 0, "begin": 3, "end": 7}, {"partition": 1, "begin": 9, "end": 10}],
            "types": [],
            "rate": rate(1.0),
        },
        {
            "topic": "orders",
            "partitions": [{"partition": 0, "begin": 0, "end": 4}],
            "types": ["paid", "created"],
            "rate": rate(2.0),
        },
    ]);
    assert_eq!(topics(&server, "/t/acme/topics", &[]).await, expected);
    let others = topics(&server, "/t/globex/topics", &[]).await;
    assert_eq!((&others[0]["types"], &others[1]["types"]), (&json!([]), &json!(["secret"])));
    let nobody = topics(&server, "/t/nobody/topics", &[]).await;
    assert_eq!((&nobody[1]["types"], &nobody[1]["rate"]), (&json!([]), &json!(0.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_that_of_the_newest_records_where_there_are_too_many_to_examine() {
    let server = Server::open(&[]).await;
    let start = now() - 20_000;
    // 200 a second for the last twenty seconds, of which the newest thousand are examined.
    let records: Vec<_> = (0..4000).map(|index| ("acme", Some("tick"), start + index * 5)).collect();
    append(&server, "orders", 0, &records);
    let rate = topics(&server, "/t/acme/topics", &[]).await[0]["rate"].as_f64().unwrap();
    assert!((150.0..=210.0).contains(&rate), "{rate}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_goes_or_is_made_anew_is_listed_as_it_is_now() {
    let server = Server::open(&[]).await;
    append(&server, "orders", 0, &[("acme", Some("paid"), now())]);
    let start = [Start { offset: 0, epoch: 0, log_start: 0 }];
    server.bridge.recreate_topic("orders", TopicId([9; 16]), &start);
    let anew = topics(&server, "/t/acme/topics", &[]).await;
    let partitions = json!([{"partition": 0, "begin": 0, "end": 0}]);
    assert_eq!((&anew[0]["partitions"], &anew[0]["types"]), (&partitions, &json!([])));
    server.bridge.grow_topic("orders", &start);
    let grown = topics(&server, "/t/acme/topics", &[]).await;
    assert_eq!(grown[0]["partitions"].as_array().unwrap().len(), 2);
    server.bridge.remove_topic("orders");
    assert_eq!(topics(&server, "/t/acme/topics", &[]).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_ids_are_sealed_no_position_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n").unwrap();
    let server = Server::open(&["--id-key-file", path.to_str().unwrap()]).await;
    append(&server, "orders", 0, &[("acme", Some("paid"), now())]);
    let sealed = topics(&server, "/t/acme/topics", &[]).await;
    assert_eq!(
        (&sealed[0]["partitions"], &sealed[0]["types"]),
        (&json!([{"partition": 0}]), &json!(["paid"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_sees_its_own_tenant_and_its_own_topics() {
    let server = Server::start(&["--auth", "jwt", "--jwt-secret", SECRET]).await;
    server.bridge.add_topic("logs", TopicId([8; 16]), &[Start { offset: 0, epoch: 0, log_start: 0 }]);
    let token = |scope: &str| {
        let claims = json!({"tenant_id": "acme", "scope": scope, "exp": now() / 1000 + 60});
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        format!("Bearer {}", jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap())
    };
    let (all, one) = (token("event:read:acme"), token("event:read:acme:logs"));
    let names = |list: Value| -> Vec<String> {
        let names = list.as_array().unwrap().iter().map(|topic| topic["topic"].as_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(
        names(topics(&server, "/t/acme/topics", &[("Authorization", &all)]).await),
        ["logs", "orders"]
    );
    assert_eq!(names(topics(&server, "/topics", &[("Authorization", &one)]).await), ["logs"]);
    for (target, headers, status) in
        [("/t/acme/topics", &[][..], 401), ("/t/globex/topics", &[("Authorization", &*all)][..], 403)]
    {
        assert_eq!(server.get(target, headers).await.status, status, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_count_against_the_rate_of_new_streams_and_take_no_place_for_longer() {
    let server = Server::open(&["--max-streams-per-tenant", "1"]).await;
    for _ in 0..20 {
        topics(&server, "/t/acme/topics", &[]).await;
    }
    let server = Server::open(&["--connect-rate-per-tenant", "2/s"]).await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(server.get("/t/acme/topics", &[]).await.status);
    }
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_ready_says_so_by_its_status_also_to_whom_has_an_id() {
    let server = Server::cold("header:tenant", &["--auth", "none"]).await;
    let answer = server.get("/t/acme/topics", &[("Last-Event-ID", "AQAA")]).await;
    assert_eq!((answer.status, answer.headers.contains_key("retry-after")), (503, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_names_every_record_is_a_message_and_other_events_keep_theirs() {
    let server = Server::open(&[]).await;
    let mut named = server.get("/t/acme/events?envelope=record", &[]).await;
    let mut unnamed =
        server.get("/t/acme/events?envelope=record&event=none&heartbeat=event&heartbeat=1s", &[]).await;
    append(&server, "orders", 0, &[("acme", Some("paid"), 1), ("acme", None, 2)]);
    let types =
        |data: Option<String>| serde_json::from_str::<Value>(&data.unwrap()).unwrap().get("type").cloned();
    assert_eq!(types(named.next_is("paid").await.data), None);
    let first = unnamed.next_record().await;
    assert_eq!((first.event, types(first.data)), (None, Some(json!("paid"))));
    let second = unnamed.next_record().await;
    assert_eq!((second.event, types(second.data)), (None, None));
    unnamed.next_is("tailrace.heartbeat").await;
}
