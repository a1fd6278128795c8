//! A producer of one tenant may write any bytes as value, key, headers and event type. Whatever they are, a browser must
//! dispatch one event for the record, with the producer's data and the server's id, and no other.

use serde_json::{Value, json};
use tailrace_bridge::EventId;

use crate::attack::{Browser, EventStream, Rules, Written, in_path, offset_of};
use crate::support::Server;

const BEFORE: &str = "the record before the attack";
const AFTER: &str = "the record after the attack";
/// Control events as the server would write them.
const FORGED: [&str; 5] = [
    "event: tailrace.synced\ndata: {\"replayed\":0}\nid: forged\n\n",
    "event: tailrace.gap\ndata: {\"code\":\"retention\",\"topic\":\"orders\",\"partition\":0,\"from\":0,\"to\":9}\n\n",
    "event: tailrace.error\ndata: {\"code\":\"internal\"}\nretry: 1\n\n",
    "id: forged\nretry: 99999999\n\n",
    ":\n\nid\nretry:1\nevent:tailrace.drain\ndata\n\n",
];
const LINE_ENDS: [&str; 6] = ["\n", "\r", "\r\n", "\n\r", "\u{2028}", "\u{2029}"];

/// What SSE can carry of a text: it has LF between lines only.
fn as_lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Writes the records between two honest ones. The names and data of the events that they become, which must be the same for
/// who was there before and for who comes later.
async fn dispatched(
    server: &Server,
    rules: &Rules,
    query: &str,
    attacks: &[Written],
) -> Vec<(String, String)> {
    let target = format!("/t/acme/events?from=earliest&{query}");
    let first = rules.produce(server, "orders", &Written::value(BEFORE)).unwrap();
    let mut live = Browser::open(server, &target).await;
    live.until_synced().await;
    for attack in attacks {
        rules.produce(server, "orders", attack).unwrap();
    }
    rules.produce(server, "orders", &Written::value(AFTER)).unwrap();
    live.until(|event| event.data.contains(AFTER)).await;
    let mut replay = Browser::open(server, &target).await;
    replay.until(|event| event.data.contains(AFTER)).await;
    replay.until_synced().await;
    let records = records(&live.stream, first, attacks.len() + 2);
    assert_eq!(
        records,
        self::records(&replay.stream, first, attacks.len() + 2),
        "replayed otherwise than live"
    );
    records[1..records.len() - 1].to_vec()
}

/// The records among the events, whose ids, and all others of the stream, must be the server's.
fn records(stream: &EventStream, first: u64, count: usize) -> Vec<(String, String)> {
    assert_eq!(stream.unknown, [""; 0]);
    assert_eq!(stream.retries.len(), 1, "one retry, in the first block");
    assert!((1_000..=3_000).contains(&stream.retries[0]), "{:?}", stream.retries);
    for id in &stream.ids {
        assert!(id.parse::<EventId>().is_ok(), "{id:?} is not the server's");
    }
    let synced: Vec<_> = stream.events.iter().filter(|event| event.name == "tailrace.synced").collect();
    assert_eq!(synced.len(), 1, "{:.2000?}", stream.events);
    assert!(serde_json::from_str::<Value>(&synced[0].data).unwrap()["replayed"].is_u64());
    let records: Vec<_> = stream.events.iter().filter(|event| event.name != "tailrace.synced").collect();
    assert_eq!(records.len(), count, "{:.2000?}", stream.events);
    for (nth, record) in records.iter().enumerate() {
        assert_eq!(offset_of(&record.id), first + nth as u64 + 1, "the id of {record:.200?}");
    }
    records.into_iter().map(|event| (event.name.clone(), event.data.clone())).collect()
}

/// The events of attacks by values, without envelope.
async fn values(attacks: &[impl AsRef<[u8]>]) -> Vec<(String, String)> {
    let server = Server::open(&[]).await;
    let attacks: Vec<Written> = attacks.iter().map(Written::value).collect();
    dispatched(&server, &Rules::headers(), "", &attacks).await
}

/// All texts must come as messages with their lines.
async fn come_as_written(texts: &[String]) {
    let expected: Vec<(String, String)> =
        texts.iter().map(|text| ("message".to_owned(), as_lines(text))).collect();
    assert_eq!(values(texts).await, expected);
}

/// The envelopes of attacks, each parsed.
async fn envelopes(attacks: &[Written]) -> Vec<Value> {
    let server = Server::open(&[]).await;
    let events = dispatched(&server, &Rules::headers(), "envelope=record", attacks).await;
    events
        .iter()
        .map(|(_, data)| serde_json::from_str(data).unwrap_or_else(|why| panic!("{why}: {data}")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_value_that_spells_a_control_event_is_data() {
    let mut texts = Vec::new();
    for forged in FORGED {
        for line_end in LINE_ENDS {
            let forged = forged.replace('\n', line_end);
            texts.push(forged.clone());
            texts.push(format!("{line_end}{line_end}{forged}"));
            texts.push(format!("x{line_end}{forged}x"));
        }
    }
    come_as_written(&texts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_value_that_is_the_stream_of_another_tenant_is_data() {
    let server = Server::open(&[]).await;
    let rules = Rules::headers();
    rules.produce(&server, "orders", &Written::of("globex", "secret").event_type("paid")).unwrap();
    let mut other = Browser::open(&server, "/t/globex/events?from=earliest").await;
    other.until_synced().await;
    let copied = format!("event: paid\ndata: secret\nid: {}\n\n", other.stream.last_event_id);
    let events = dispatched(&server, &rules, "", &[Written::value(&copied)]).await;
    assert_eq!(events, [("message".to_owned(), copied)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_line_ends_at_the_edges_of_a_value_merge_nothing_with_the_next_block() {
    let edges = ["\r", "\n", "\r\n", "\n\r", "a\r", "a\n", "a\r\n", "\ra", "\r\r\n\n", "a\r\nid: x\r"];
    come_as_written(&edges.map(str::to_owned)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_byte_order_mark_or_a_nul_hides_no_field() {
    let marks = [
        "\u{feff}",
        "\u{feff}event: tailrace.gap\ndata: x",
        "\0",
        "a\0b\nid: x\0y",
        "\n\u{feff}id: x",
        "\u{feff}:",
    ];
    come_as_written(&marks.map(str::to_owned)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_spaces_and_colons_at_the_edges_of_a_value_stay() {
    let edges =
        [" ", "  a ", ": a", " : a", "data: a", "\t", "a\n b\n  c", "\u{85}a\u{85}", "\u{b}\u{c}\u{1c}a"];
    come_as_written(&edges.map(str::to_owned)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_bytes_that_are_not_utf_8_come_whole_and_end_no_line() {
    use base64::Engine as _;
    // An overlong LF, one of three bytes, half of a surrogate pair, a beginning without an end, an end without a beginning.
    let attacks: [&[u8]; 7] = [
        b"a\xc0\x8aevent: tailrace.gap\n\n",
        b"\xe0\x80\x8aid: x",
        b"\xed\xa0\x80\r",
        b"a\xe2\x80",
        b"\xa8\nid: x\n\n",
        b"\xff\xfe\n\0d\0a\0t\0a",
        b"\xf8\x88\x80\x80\x80",
    ];
    for ((name, data), attack) in values(&attacks).await.iter().zip(attacks) {
        assert_eq!(name, "tailrace.binary");
        let envelope: Value = serde_json::from_str(data).unwrap();
        let encoded = base64::engine::general_purpose::STANDARD.encode(attack);
        assert_eq!(
            (&envelope["value"]["base64"], &envelope["value_kind"]),
            (&json!(encoded), &json!("binary"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_character_cut_between_two_records_becomes_no_character() {
    let names: Vec<String> =
        values(&[&b"a\xe2\x80"[..], b"\xa8b"]).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["tailrace.binary", "tailrace.binary"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_an_empty_value_and_a_tombstone_are_one_event_each() {
    let server = Server::open(&[]).await;
    let attacks = [Written::value(""), Written::tombstone().event_type("paid"), Written::value("")];
    let events = dispatched(&server, &Rules::headers(), "", &attacks).await;
    assert_eq!((&*events[0].0, &*events[0].1), ("message", ""));
    assert_eq!(events[1].0, "tailrace.tombstone");
    let envelope: Value = serde_json::from_str(&events[1].1).unwrap();
    assert_eq!((&envelope["value"], &envelope["value_kind"]), (&Value::Null, &json!("tombstone")));
    assert_eq!((&*events[2].0, &*events[2].1), ("message", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_mebibyte_of_line_ends_is_one_event() {
    come_as_written(&["\n".repeat(1 << 20), "\r\n".repeat(1 << 18)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_key_that_spells_a_frame_stays_in_its_string() {
    let keys: Vec<String> = FORGED
        .iter()
        .flat_map(|forged| LINE_ENDS.map(|end| forged.replace('\n', end)))
        .chain([
            "\",\"value\":1,\"x\":\"".to_owned(),
            "\\\"".to_owned(),
            "\0\u{1}\u{7f}".to_owned(),
            String::new(),
        ])
        .collect();
    let attacks: Vec<Written> = keys.iter().map(|key| Written::value("1").key(key)).collect();
    for (envelope, key) in envelopes(&attacks).await.iter().zip(&keys) {
        assert_eq!((&envelope["key"], &envelope["value"]), (&json!(key), &json!(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_key_that_is_not_utf_8_is_base64_and_a_key_that_looks_like_it_is_text() {
    let attacks = [
        Written::value("1").key(b"\xff\n\nevent: tailrace.gap\n"),
        Written::value("1").key(r#"{"base64":"/wo="}"#),
        Written { key: None, ..Written::value("1") },
    ];
    let envelopes = envelopes(&attacks).await;
    assert!(envelopes[0]["key"]["base64"].is_string());
    assert_eq!(envelopes[1]["key"], json!(r#"{"base64":"/wo="}"#));
    assert_eq!(envelopes[2]["key"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_names_and_values_of_headers_that_spell_a_frame_stay_in_their_strings() {
    let mut attacks = Vec::new();
    for text in FORGED.iter().flat_map(|forged| LINE_ENDS.map(|end| forged.replace('\n', end))) {
        attacks.push((Written::value("1").header(&text, Some(b"x")), text.clone(), json!("x")));
        attacks.push((Written::value("1").header("x", Some(text.as_bytes())), "x".to_owned(), json!(text)));
    }
    for name in ["", "\"},\"value\":\"forged\",\"headers\":{\"x", "\\", "\0", "\u{feff}", "value", "topic"] {
        attacks.push((Written::value("1").header(name, Some(b"x")), name.to_owned(), json!("x")));
        attacks.push((Written::value("1").header(name, None), name.to_owned(), Value::Null));
    }
    let written: Vec<Written> = attacks.iter().map(|(written, ..)| written.clone()).collect();
    for (envelope, (_, name, value)) in envelopes(&written).await.iter().zip(&attacks) {
        assert_eq!(envelope["headers"], json!({"tenant": "acme", name: value}));
        assert_eq!((&envelope["topic"], &envelope["value"]), (&json!("orders"), &json!(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_headers_named_like_what_every_object_has_are_names() {
    let names = ["__proto__", "constructor", "toString", "hasOwnProperty", "then"];
    let attack = names.iter().fold(Written::value("1"), |written, name| written.header(name, Some(b"{}")));
    let envelope = &envelopes(&[attack]).await[0];
    for name in names {
        assert_eq!(envelope["headers"][name], "{}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_of_a_header_that_is_there_twice_the_last_decides_everywhere() {
    let server = Server::open(&[]).await;
    let rules = Rules::headers();
    let twice = |first: &[u8], last: Option<&[u8]>| Written::of(first, "twice").header("tenant", last);
    rules.produce(&server, "orders", &twice(b"globex", Some(b"acme"))).unwrap();
    // The last one is null: the record has no tenant, and is not the first one's.
    assert_eq!(rules.produce(&server, "orders", &twice(b"acme", None)), Err("no_header".to_owned()));
    assert_eq!(rules.produce(&server, "orders", &twice(b"acme", Some(b""))), Err("no_header".to_owned()));
    let mut acme =
        Browser::open(&server, "/t/acme/events?from=earliest&envelope=record&where=header.tenant=acme").await;
    acme.until_synced().await;
    let envelope: Value = serde_json::from_str(&acme.stream.events[0].data).unwrap();
    assert_eq!((acme.stream.events.len(), &envelope["headers"]["tenant"]), (2, &json!("acme")));
    for (tenant, condition) in [("acme", "globex"), ("globex", "globex"), ("globex", "acme")] {
        let target = format!("/t/{tenant}/events?from=earliest&where=header.tenant={condition}");
        let mut other = Browser::open(&server, &target).await;
        other.until_synced().await;
        assert!(other.stream.events.iter().all(|event| event.name.starts_with("tailrace.s")), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_thousands_of_headers_and_a_mebibyte_of_a_name_are_one_event() {
    let many =
        (0..5_000).fold(Written::value("1"), |written, n| written.header(&format!("h{n}"), Some(b"\n\n")));
    let long = "n\n".repeat(1 << 19);
    let huge = Written::value("1").header(&long, Some(b"x"));
    let envelopes = envelopes(&[many, huge]).await;
    assert_eq!(envelopes[0]["headers"].as_object().unwrap().len(), 5_001);
    assert_eq!(envelopes[1]["headers"][&long], "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_an_event_type_is_no_field_and_no_reserved_name() {
    let kept = [
        "a\0b",
        "a: b",
        ":",
        " a",
        "\u{feff}",
        "a\u{2028}id: x",
        "a\u{85}b",
        "tailrace",
        "TAILRACE.GAP",
        " tailrace.gap",
        "\u{feff}tailrace.gap",
        "tailrace\u{2024}gap",
        "Message",
        "message ",
        "é",
    ];
    let refused = [
        "tailrace.gap",
        "tailrace.synced",
        "tailrace.",
        "tailrace.error",
        "message",
        "open",
        "error",
        "",
        "a\nb",
        "a\rb",
        "\n\nevent: tailrace.gap",
        "paid\r",
        "paid\ndata: forged",
        "\r\n",
    ];
    let server = Server::open(&[]).await;
    let attacks: Vec<Written> =
        kept.iter().chain(&refused).map(|name| Written::value("v").event_type(name)).collect();
    let expected = kept.iter().copied().chain(refused.iter().map(|_| "message"));
    let expected: Vec<_> = expected.map(|name| (name.to_owned(), "v".to_owned())).collect();
    assert_eq!(dispatched(&server, &Rules::headers(), "", &attacks).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_an_event_type_of_a_mebibyte_or_of_no_text_is_not_used() {
    let server = Server::open(&[]).await;
    let (most, more, mebibyte) = ("x".repeat(256), "x".repeat(257), "x".repeat(1 << 20));
    let attacks: Vec<Written> =
        [most.as_bytes(), more.as_bytes(), mebibyte.as_bytes(), b"a\xff", b"\xc0\x8a"]
            .iter()
            .map(|name| Written::value("v").event_type(name))
            .collect();
    let events = dispatched(&server, &Rules::headers(), "", &attacks).await;
    let names: Vec<&str> = events.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, [&*most, "message", "message", "message", "message"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_an_event_type_out_of_json_is_checked_after_its_escapes_are_read() {
    let server = Server::open(&[]).await;
    let rules = Rules::new("header:tenant", "json:/type");
    let attacks = [
        (r#"{"type":"a\nevent: tailrace.gap"}"#, "message"),
        (r#"{"type":"a\u000d\u000aid: x"}"#, "message"),
        (r#"{"type":"tailrace\u002egap"}"#, "message"),
        (r#"{"t\u0079pe":"\u0065rror"}"#, "message"),
        (r#"{"type":"\ud800"}"#, "message"),
        (r#"{"type":{"a":1}}"#, "message"),
        (r#"{"type":"paid","type":"tailrace.gap"}"#, "paid"),
        (r#"{"type":"p\u0061id"}"#, "paid"),
        (r#"{"type":1e999}"#, "1e999"),
    ];
    let written: Vec<Written> = attacks.iter().map(|(value, _)| Written::value(value)).collect();
    let events = dispatched(&server, &rules, "", &written).await;
    for ((name, data), (value, expected)) in events.iter().zip(attacks) {
        assert_eq!((&**name, &**data), (expected, value));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_value_that_closes_its_envelope_is_text() {
    let values = [
        r#"1,"value_kind":"masked""#,
        r#"{}},{"topic":"forged""#,
        "1}\n\nevent: tailrace.gap\ndata: {",
        "{\"a\":\"x\ny\"}",
        "\u{feff}{}",
        "1 2",
        "\"a",
        "{\"a\":1,}",
        "// x\n1",
        "",
    ];
    let attacks: Vec<Written> = values.iter().map(Written::value).collect();
    for (envelope, value) in envelopes(&attacks).await.iter().zip(values) {
        assert_eq!(envelope["value"], json!(value));
        assert_eq!((envelope.get("value_kind"), &envelope["topic"]), (None, &json!("orders")));
        assert_eq!(envelope.as_object().unwrap().len(), 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_json_with_line_ends_between_its_tokens_stays_on_one_line() {
    let values = [
        "{\n\n\"event\"\r:\r\n\"tailrace.gap\"\n}",
        "\n[1,\n\n2]\r",
        "{\"a\":\"\u{2028}\u{2029}\"}",
        "\r\n\r\nnull\n\n",
    ];
    let attacks: Vec<Written> = values.iter().map(Written::value).collect();
    for (envelope, value) in envelopes(&attacks).await.iter().zip(values) {
        assert_eq!(envelope["value"], serde_json::from_str::<Value>(value).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_value_that_looks_like_what_the_server_marks_has_no_mark() {
    let values = [r#"{"base64":"/wo="}"#, "null", r#"{"value":null,"value_kind":"tombstone"}"#, r#""***""#];
    let attacks: Vec<Written> = values.iter().map(Written::value).collect();
    for (envelope, value) in envelopes(&attacks).await.iter().zip(values) {
        assert_eq!(envelope["value"], serde_json::from_str::<Value>(value).unwrap());
        assert_eq!(envelope.get("value_kind"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_numbers_and_nesting_at_the_edge_of_json_come_as_they_are() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let values =
        ["1e999".to_owned(), "-1E-999".to_owned(), "0.1e+400".to_owned(), "9".repeat(5_000), deep(100)];
    come_as_written(&values).await;
    come_as_written(&[deep(10_000), "[".repeat(1 << 20)]).await;
    let server = Server::open(&[]).await;
    let attacks = [deep(100), deep(10_000)];
    let written: Vec<Written> = attacks.iter().map(Written::value).collect();
    let events = dispatched(&server, &Rules::headers(), "envelope=record", &written).await;
    for ((_, data), value) in events.iter().zip(attacks) {
        assert!(data.ends_with(&format!(",\"value\":{value}}}")), "{data:.200}");
    }
}

/// A server whose records have their tenant at `/tenant`.
async fn by_json() -> (Server, Rules) {
    let server = Server::cold("json:/tenant", &["--auth", "none", "--mask", "orders=/card:redact"]).await;
    server.bridge.health().set_ready();
    (server, Rules::new("json:/tenant", "none"))
}

/// The data of all records that a stream replays.
async fn replayed(server: &Server, target: &str) -> Vec<String> {
    let mut browser = Browser::open(server, target).await;
    browser.until_synced().await;
    let is_record = |name: &str| !matches!(name, "tailrace.synced" | "tailrace.status");
    browser
        .events()
        .into_iter()
        .filter(|(name, _)| is_record(name))
        .map(|(_, data)| data.to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_of_a_tenant_s_field_that_is_there_twice_the_first_decides_for_the_rule_and_for_filters() {
    let (server, rules) = by_json().await;
    let twice = [
        r#"{"tenant":"acme","tenant":"globex"}"#,
        r#"{"tenant":"acme","t\u0065nant":"globex"}"#,
        r#"{"t\u0065nant":"acme","tenant":"globex"}"#,
        r#"{"x":{"tenant":"globex"},"tenant":"acme","tenant":null}"#,
    ];
    for value in twice {
        rules.produce(&server, "orders", &Written::value(value)).unwrap();
    }
    assert_eq!(replayed(&server, "/t/acme/events?from=earliest").await, twice);
    assert_eq!(replayed(&server, "/t/globex/events?from=earliest").await, [""; 0]);
    assert_eq!(replayed(&server, "/t/acme/events?from=earliest&where=value.tenant=acme").await, twice);
    assert_eq!(replayed(&server, "/t/acme/events?from=earliest&where=value.tenant=globex").await, [""; 0]);
    assert_eq!(replayed(&server, "/t/acme/events?from=earliest&where=value.tenant!=acme").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_masked_field_that_is_there_twice_or_escaped_is_masked_wherever_it_is() {
    let (server, rules) = by_json().await;
    for value in [
        r#"{"tenant":"acme","card":"s3cret","card":"s3cret"}"#,
        r#"{"card":"s3cret","tenant":"acme","c\u0061rd":"s3cret"}"#,
        r#"{"tenant":"acme","card":{"card":"s3cret"},"\u0063ard":["s3cret"]}"#,
        r#"{"card":"s3cret","tenant":"acme"} trailing"#,
        "\u{feff}{\"card\":\"s3cret\",\"tenant\":\"acme\"}",
        r#"{"tenant":"acme","n":1e999,"card":"s3cret"}"#,
    ] {
        // What is no JSON may have no tenant; whoever gets it must not see the field.
        let _ = rules.produce(&server, "orders", &Written::value(value));
    }
    for envelope in ["none", "record"] {
        let data = replayed(&server, &format!("/t/acme/events?from=earliest&envelope={envelope}")).await;
        assert!(data.len() >= 4, "{data:?}");
        assert!(data.iter().all(|data| !data.contains("s3cret")), "{data:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_what_is_no_name_in_a_tenant_s_field_gives_the_record_to_nobody() {
    let (server, rules) = by_json().await;
    let deep = format!("{{\"a\":{}{},\"tenant\":\"acme\"}}", "[".repeat(10_000), "]".repeat(10_000));
    for (value, reason) in [
        (r#"{"tenant":["acme"]}"#, "bad_name"),
        (r#"{"tenant":{"acme":1}}"#, "bad_name"),
        (r#"{"tenant":true}"#, "bad_name"),
        (r#"{"tenant":"*"}"#, "bad_name"),
        (r#"{"tenant":"acme\n"}"#, "bad_name"),
        (r#"{"tenant":"acme\u0000"}"#, "bad_name"),
        (r#"{"tenant":"\u0085acme"}"#, "bad_name"),
        (r#"{"tenant":null}"#, "no_field"),
        (r#"{"tenant":""}"#, "no_field"),
        (r#"{"tenant":"\ud800"}"#, "no_field"),
        (r#"{"tenant":"acme"#, "no_field"),
        ("[\"tenant\",\"acme\"]", "no_field"),
        (&deep, "no_field"),
    ] {
        let refused = rules.produce(&server, "orders", &Written::value(value));
        assert_eq!(refused, Err(reason.to_owned()), "{value:.60}");
    }
    assert_eq!(replayed(&server, "/t/acme/events?from=earliest").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_numbers_that_are_equal_are_not_the_same_tenant() {
    let (server, rules) = by_json().await;
    let names = ["1", "1.0", "1e0", "01", "-0", "0", "1e999", "9007199254740993", "9007199254740992"];
    for name in names {
        let value = format!("{{\"tenant\":{name}}}");
        let quoted = format!("{{\"tenant\":\"{name}\"}}");
        // JSON has no 01.
        let text = if name == "01" { &quoted } else { &value };
        rules.produce(&server, "orders", &Written::value(text)).unwrap();
    }
    for name in names {
        let data = replayed(&server, &format!("/t/{}/events?from=earliest", in_path(name))).await;
        assert_eq!(data.len(), 1, "{name}: {data:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_tenant_named_like_another_s_path_gets_its_own_records_alone() {
    let names = [
        "acme",
        "ACME",
        "acme ",
        " acme",
        "acme.",
        "acme/",
        "/acme",
        "a/b",
        "a/../acme",
        "..",
        ".",
        "../acme",
        "%2f",
        "acme%2f..",
        "a%62c",
        "abc",
        "acme/events",
        "t/acme/events",
        "acme?topic=x",
        "acme#x",
        "acme&a",
        "acme+a",
        "acme a",
        "acme;x",
        "acme\\",
        "acme:orders",
        "**",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{fb01}sh",
        "fish",
        "\u{ff41}cme",
        "acme\u{200b}",
        "acme\u{200d}",
        "\u{430}cme",
        "\u{feff}acme",
        "\u{2028}",
        "I",
        "\u{131}",
        "i\u{307}",
        "undefined",
        "__proto__",
    ];
    let server = Server::open(&[]).await;
    let rules = Rules::headers();
    for name in names {
        rules.produce(&server, "orders", &Written::of(name, format!("of {name:?}"))).unwrap();
    }
    for name in names {
        let data = replayed(&server, &format!("/t/{}/events?from=earliest", in_path(name))).await;
        assert_eq!(data, [format!("of {name:?}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_name_that_no_path_reaches_gives_the_record_to_nobody_and_no_later_rule_is_asked() {
    let server = Server::open(&[]).await;
    let rules = Rules::new("header:tenant,fixed:acme", "none");
    let long = "x".repeat(10 << 10);
    for name in [
        &b"*"[..],
        b"a\nb",
        b"a\rb",
        b"a\0",
        b"\x7f",
        b"\xff",
        b"\xc0\x8a",
        "\u{85}".as_bytes(),
        long.as_bytes(),
    ] {
        let refused = rules.produce(&server, "orders", &Written::of(name, "x"));
        assert_eq!(refused, Err("bad_name".to_owned()), "{name:.20?}");
    }
    assert!(rules.produce(&server, "orders", &Written::of("x".repeat(128), "x")).is_ok());
    assert_eq!(replayed(&server, "/t/acme/events?from=earliest").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_key_s_tenant_ends_at_the_first_separator() {
    let server = Server::open(&[]).await;
    let rules = Rules::new("key::", "none");
    for (key, tenant) in
        [("acme:globex:1", Some("acme")), ("acme::globex", Some("acme")), (":globex", None), ("globex", None)]
    {
        let routed = rules.produce(&server, "orders", &Written::value(key).key(key));
        assert_eq!(routed.is_ok(), tenant.is_some(), "{key}");
    }
    assert_eq!(replayed(&server, "/t/acme/events?from=earliest").await, ["acme:globex:1", "acme::globex"]);
    assert_eq!(replayed(&server, "/t/globex/events?from=earliest").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_what_one_producer_writes_changes_no_byte_of_another_tenant_s_stream() {
    let (calm, noisy) = (Server::open(&[]).await, Server::open(&[]).await);
    let rules = Rules::headers();
    let mut ends = Vec::new();
    for server in [&calm, &noisy] {
        for (n, forged) in FORGED.into_iter().enumerate() {
            let attack = Written::of("acme", forged).event_type("a\nb").key(forged).header(forged, None);
            let filler = Written::of("third", "x");
            rules
                .produce(server, "orders", if std::ptr::eq(server, &noisy) { &attack } else { &filler })
                .unwrap();
            rules.produce(server, "orders", &Written::of("globex", format!("{n}"))).unwrap();
        }
        let mut globex = Browser::open(server, "/t/globex/events?from=earliest&envelope=record").await;
        globex.until_synced().await;
        ends.push(globex.stream.events);
    }
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0].len(), FORGED.len() + 1);
}
