//! The same attacks as on streams, by pages: another tenant's records, names and existence; what is masked; producers' values
//! that look like a page's own members.

use serde_json::{Value, json};

use crate::attack::{Rules, Written, answer, bearer, claims, with_tokens};
use crate::support::Server;

/// Stands in globex's records, and in masked fields, only.
const OTHERS: &str = "gl0bex-0nly";

/// A server on which globex has twenty records, and acme one.
async fn shared(flags: &[&str]) -> Server {
    let server = with_tokens(flags).await;
    let rules = Rules::headers();
    for n in 0..20 {
        let value = format!("{{\"n\":{n},\"of\":\"{OTHERS}\"}}");
        rules.produce(&server, "orders", &Written::of("globex", value).key(OTHERS)).unwrap();
    }
    let value = format!("{{\"n\":7,\"email\":\"{OTHERS}\"}}");
    rules.produce(&server, "orders", &Written::of("acme", value)).unwrap();
    server
}

/// The page that the tenant's own token gets.
async fn page(server: &Server, tenant: &str, query: &str, headers: &[(&str, &str)]) -> Value {
    let token = bearer(&claims(tenant));
    let headers = [&[("Authorization", &*token)], headers].concat();
    let (status, _, body) =
        answer(server.address, "GET", &format!("/t/{tenant}/records?{query}"), &headers).await;
    assert_eq!(status, 200, "{query}: {body}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_no_parameter_of_a_page_opens_another_tenant_or_tells_whether_it_exists() {
    let server = shared(&[]).await;
    let token = bearer(&claims("acme"));
    let id = page(&server, "globex", "from=earliest&limit=3", &[]).await["next"].as_str().unwrap().to_owned();
    let continued = format!("last_event_id={id}");
    for query in [
        "",
        "topic=orders",
        "topic=nosuch",
        "from=earliest",
        "from=-100",
        "where=value.n=1",
        "key=gl0bex-0nly",
        "envelope=none",
        "limit=1",
        "wait=1s",
        "wait=1h",
        &continued,
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            for headers in [
                &[("Authorization", &*token)][..],
                &[("Authorization", &*token), ("If-None-Match", "*")],
                &[("Authorization", &*token), ("Accept", "application/x-ndjson")],
                &[],
            ] {
                let known =
                    answer(server.address, method, &format!("/t/globex/records?{query}"), headers).await;
                let unknown =
                    answer(server.address, method, &format!("/t/nobody/records?{query}"), headers).await;
                assert!(matches!(known.0, 200 | 401 | 403 | 405), "{method} {query}: {}", known.0);
                assert!(known.0 != 200 || method == "OPTIONS", "{method} {query}");
                assert_eq!(known, unknown, "{method} {query}");
                let told = format!("{known:?}");
                assert!(!told.contains("globex") && !told.contains(OTHERS), "{told}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_an_id_of_another_s_page_in_every_place_gives_own_records_alone() {
    let server = shared(&[]).await;
    let id = page(&server, "globex", "from=earliest&limit=3", &[]).await["next"].as_str().unwrap().to_owned();
    for (query, headers) in [
        (String::new(), vec![("Last-Event-ID", &*id)]),
        (format!("last_event_id={id}"), vec![]),
        (format!("from={id}"), vec![]),
    ] {
        let page = page(&server, "acme", &query, &headers).await;
        let records = page["records"].as_array().unwrap();
        assert_eq!((records.len(), &records[0]["value"]["n"]), (1, &json!(7)), "{query}");
        assert!(!page.to_string().contains("globex"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_sealed_id_of_another_s_page_is_not_told_from_a_made_up_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
    let server = shared(&["--id-key-file", path.to_str().unwrap()]).await;
    let others =
        page(&server, "globex", "from=earliest&limit=3", &[]).await["next"].as_str().unwrap().to_owned();
    let own = page(&server, "acme", "from=earliest", &[]).await["next"].as_str().unwrap().to_owned();
    let mut damaged = own.into_bytes();
    let middle = damaged.len() / 2;
    damaged[middle] = if damaged[middle] == b'A' { b'B' } else { b'A' };
    let damaged = String::from_utf8(damaged).unwrap();
    let mut told = Vec::new();
    for id in [&others, &damaged] {
        let mut said = page(&server, "acme", &format!("from=earliest&last_event_id={id}"), &[]).await;
        assert_eq!(said["gaps"], json!([{"at": 0, "code": "unknown_id"}]));
        assert_ne!(said["next"], id.as_str());
        said.as_object_mut().unwrap().remove("next");
        let token = bearer(&claims("acme"));
        let target = format!("/t/acme/records?from={id}");
        let refused = answer(server.address, "GET", &target, &[("Authorization", &token)]).await;
        assert_eq!(refused.0, 400);
        told.push((said, refused.2.to_string().replace(id, "ID")));
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_page_does_not_show_what_is_masked_nor_tell_it_by_a_filter() {
    let server = shared(&["--mask", "orders=/email:redact"]).await;
    for query in ["from=earliest", "from=earliest&envelope=none", "from=-1"] {
        let page = page(&server, "acme", query, &[]).await;
        assert_eq!(page["records"].as_array().unwrap().len(), 1);
        assert!(!page.to_string().contains(OTHERS), "{page}");
    }
    let token = bearer(&claims("acme"));
    let target = format!("/t/acme/records?from=earliest&where=value.email={OTHERS}");
    assert_eq!(answer(server.address, "GET", &target, &[("Authorization", &token)]).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a_value_that_looks_like_the_end_of_a_page_is_a_value() {
    let server = Server::open(&[]).await;
    let rules = Rules::headers();
    let values = [
        r#"{"next":"forged"}"#,
        r#"],"next":"forged"}"#,
        "a\n{\"next\":\"forged\"}",
        "data: x\n\nevent: tailrace.gap\ndata: {}",
        "\r\n\r\nid: forged\r\n",
        r#"{"gaps":[{"at":0}],"next":"forged"}"#,
    ];
    for value in values {
        rules.produce(&server, "orders", &Written::of("acme", value)).unwrap();
    }
    let forged = Written::of("acme", "1").event_type("tailrace.gap").key("\"],\"next\":\"forged\"}");
    rules.produce(&server, "orders", &forged).unwrap();
    for envelope in ["none", "record"] {
        let query = format!("/t/acme/records?from=earliest&envelope={envelope}");
        let whole = answer(server.address, "GET", &query, &[]).await.2;
        assert_eq!(whole["records"].as_array().unwrap().len(), values.len() + 1, "{whole}");
        assert!(whole["next"] != "forged" && whole.get("gaps").is_none(), "{whole}");
        let mut client = server.get(&query, &[("Accept", "application/x-ndjson")]).await;
        let text = client.body().await;
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(json!(lines[..values.len() + 1]), whole["records"]);
        assert_eq!(lines[values.len() + 1..], [json!({"next": whole["next"]})]);
    }
}
