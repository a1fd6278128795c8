//! `from=snapshot` and `conflate=key` over HTTP. All records of the server's topic have one key.

mod support;

use support::Server;
use tailrace_bridge::{Start, TopicId};

const EVENTS: &str = "/t/acme/events";
const RECORDS: &str = "/t/acme/records";

fn value(group: u32, number: u32) -> String {
    format!(r#"{{"g":{group},"n":{number}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_the_newest_record_and_then_everything_comes() {
    let mut server = Server::open(&[]).await;
    (1..=3).for_each(|number| server.append("acme", &value(1, number)));
    server.append("other", &value(1, 9));
    let mut client = server.get(&format!("{EVENTS}?from=snapshot"), &[]).await;
    assert_eq!(client.next_record().await.data, Some(value(1, 3)));
    let synced = client.next().await.unwrap();
    assert!(synced.is("tailrace.synced"), "{synced:?}");
    assert_eq!(synced.json()["replayed"], 1);
    // From here on a resume gets everything.
    let id = synced.id.expect("it has an id");
    (4..=5).for_each(|number| server.append("acme", &value(1, number)));
    for number in 4..=5 {
        assert_eq!(client.next_record().await.data, Some(value(1, number)));
    }
    let mut again = server.get(&format!("{EVENTS}?from=snapshot"), &[("Last-Event-ID", &id)]).await;
    for number in 4..=5 {
        assert_eq!(again.next_record().await.data, Some(value(1, number)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_conflates_gets_what_is_true_now_of_what_it_has_missed() {
    let mut server = Server::open(&[]).await;
    let mut client = server.get(&format!("{EVENTS}?conflate=key"), &[]).await;
    client.next_is("tailrace.synced").await;
    server.append("acme", &value(1, 1));
    server.append("acme", &value(1, 2));
    let first = client.next_record().await;
    assert_eq!(first.data, Some(value(1, 1)), "one that keeps up gets everything");
    (3..=5).for_each(|number| server.append("acme", &value(1, number)));
    let id = first.id.unwrap();
    let mut again = server.get(&format!("{EVENTS}?conflate=key"), &[("Last-Event-ID", &id)]).await;
    assert_eq!(again.next_record().await.data, Some(value(1, 5)));
    let synced = again.next_is("tailrace.synced").await;
    assert_eq!(synced.json()["replayed"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_no_longer_meets_the_filter_has_left() {
    let mut server = Server::open(&[]).await;
    server.append("acme", &value(1, 1));
    let mut client = server.get(&format!("{EVENTS}?from=snapshot&where=value.g=1"), &[]).await;
    assert_eq!(client.next_record().await.data, Some(value(1, 1)));
    client.next_is("tailrace.synced").await;
    server.append("acme", &value(2, 2));
    let left = client.next_is("tailrace.left").await;
    assert!(left.id.is_some());
    let data = left.json();
    assert_eq!((&data["topic"], &data["key"], &data["offset"]), (&"orders".into(), &"k".into(), &1.into()));
    assert!(data.get("value").is_none(), "{data}");
    // Whoever opens now shows nothing, either: streams share what was found out a moment ago, so it may hear of both records.
    let mut late = server.get(&format!("{EVENTS}?from=snapshot&where=value.g=1"), &[]).await;
    let mut is_shown = false;
    loop {
        let event = late.next().await.unwrap();
        if event.is("tailrace.synced") {
            break;
        }
        is_shown = event.data.is_some() && !event.is("tailrace.left");
    }
    assert!(!is_shown);
    // Without state by key, nobody is told.
    let mut plain = server.get(&format!("{EVENTS}?from=earliest&where=value.g=1"), &[]).await;
    assert_eq!(plain.next_record().await.data, Some(value(1, 1)));
    assert!(plain.next().await.unwrap().is("tailrace.synced"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_does_not_continue_in_the_middle_of_a_snapshot_but_at_its_end() {
    let mut server = Server::open(&[]).await;
    (1..=3).for_each(|number| server.append("acme", &value(1, number)));
    server.append("other", &value(1, 9));
    let mut client = server.get(&format!("{EVENTS}?from=snapshot"), &[]).await;
    let middle = client.next_record().await.id.expect("a record has an id");
    let end = client.next_is("tailrace.synced").await.id.expect("it has an id");
    server.append("acme", &value(1, 4));
    for name in ["last_event_id", "from"] {
        let mut page = server.get(&format!("{RECORDS}?{name}={middle}"), &[]).await;
        assert_eq!(page.status, 400);
        let problem = page.json().await;
        assert_eq!(problem["parameter"], name);
        assert!(problem["detail"].as_str().unwrap().contains("within a snapshot"), "{problem}");
    }
    let mut page = server.get(&format!("{RECORDS}?last_event_id={end}"), &[]).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.json().await["records"][0]["value"]["n"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_have_a_bound_must_come_back_too() {
    let server = Server::open(&["--max-id-size", "700B"]).await;
    let starts = vec![Start { offset: 1 << 30, epoch: 3, log_start: 0 }; 60];
    server.bridge.add_topic("wide", TopicId([8; 16]), &starts);
    assert_eq!(server.get(EVENTS, &[]).await.status, 200);
    for query in ["from=snapshot", "conflate=key"] {
        let mut client = server.get(&format!("{EVENTS}?{query}"), &[]).await;
        assert_eq!(client.status, 400, "{query}");
        assert_eq!(client.json().await["code"], "too_many_partitions");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_tells_of_keys_that_leave_is_compared_with_every_record_and_counts() {
    let server = Server::open(&["--max-conditions-per-tenant", "1"]).await;
    let asks = |query: &str| format!("{EVENTS}?{query}");
    let _plain = server.get(&asks("where=value.g=1"), &[]).await;
    let first = server.get(&asks("from=snapshot&where=value.g=1"), &[]).await;
    assert_eq!(first.status, 200);
    let mut second = server.get(&asks("conflate=key&where=value.g=2"), &[]).await;
    assert_eq!(second.status, 429);
    assert_eq!(second.json().await["limit"], "max_conditions_per_tenant");
    assert_eq!(server.get(&asks("conflate=key&where=key=a"), &[]).await.status, 200);
}
