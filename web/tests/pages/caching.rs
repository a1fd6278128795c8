//! Who may keep a page.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use crate::support::{Client, SECRET, Server};
use crate::{RECORDS, next, page};

const PUBLIC: &str = "public, max-age=3600, immutable";

async fn with_records(mut server: Server) -> Server {
    (0..10).for_each(|n| server.append("acme", &format!("n{n}")));
    server
}

fn control(client: &Client) -> (&str, bool) {
    (&client.headers["cache-control"], client.headers.contains_key("etag"))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_full_page_from_an_id_in_its_address_is_kept() {
    let server = with_records(Server::open(&[]).await).await;
    let id = next(&page(&server, "from=earliest&limit=2").await).to_owned();
    for by in ["last_event_id", "from"] {
        let full = server.get(&format!("{RECORDS}?limit=3&{by}={id}"), &[]).await;
        assert_eq!(control(&full), (PUBLIC, true), "{by}");
        assert!(full.headers.contains_key("vary"));
    }
    let header = [("Last-Event-ID", &*id)];
    for (query, headers) in [
        // It begins at another place each time.
        ("from=earliest&limit=3".to_owned(), &[][..]),
        ("from=-5&limit=3".to_owned(), &[]),
        ("limit=3".to_owned(), &[]),
        // More may come.
        (format!("limit=8&last_event_id={id}x"), &[]),
        (format!("limit=9&last_event_id={id}"), &[]),
        // What the header says is not in the address.
        ("limit=3".to_owned(), &header),
        (format!("limit=3&last_event_id={id}"), &header),
        // The position is another one than the id says.
        ("limit=3&from=earliest&last_event_id=nonsense".to_owned(), &[]),
    ] {
        let other = server.get(&format!("{RECORDS}?{query}"), headers).await;
        assert_eq!((other.status, control(&other)), (200, ("no-store", false)), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_what_is_asked_for_by_somebody_is_not_kept_for_others() {
    let server = with_records(Server::open(&[]).await).await;
    let id = next(&page(&server, "from=earliest&limit=2").await).to_owned();
    for header in [("Authorization", "Basic YTpi"), ("Cookie", "session=ann")] {
        let own = server.get(&format!("{RECORDS}?limit=3&last_event_id={id}"), &[header]).await;
        assert_eq!(control(&own), ("private, no-cache", true), "{header:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_the_client_has_is_not_sent_again() {
    let server = with_records(Server::open(&[]).await).await;
    let id = next(&page(&server, "from=earliest&limit=2").await).to_owned();
    let target = format!("{RECORDS}?limit=3&last_event_id={id}");
    let tag = server.get(&target, &[]).await.headers["etag"].clone();
    let mut again = server.get(&target, &[("If-None-Match", &tag)]).await;
    assert_eq!((again.status, control(&again), &again.headers["etag"]), (304, (PUBLIC, true), &tag));
    // Nothing follows the head: the connection takes the next request.
    use tokio::io::AsyncWriteExt;
    again.socket.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut next = Client::answer(again.socket).await;
    assert_eq!((next.status, next.json().await["records"].as_array().unwrap().len()), (200, 3));
    // Another page has another tag.
    let other =
        server.get(&format!("{RECORDS}?limit=4&last_event_id={id}"), &[("If-None-Match", &tag)]).await;
    assert_eq!(other.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tokens_nothing_is_public() {
    let claims = json!({"tenant_id": "acme", "scope": "event:read:acme", "exp": 4_000_000_000_u32});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap();
    let server = with_records(Server::start(&["--auth", "jwt", "--jwt-secret", SECRET]).await).await;
    let get = async |query: &str| {
        let mut client = server.get(&format!("{RECORDS}?{query}&access_token={token}"), &[]).await;
        let body = client.json().await;
        (client, body)
    };
    let (first, body) = get("from=earliest&limit=2").await;
    assert_eq!(control(&first), ("no-store", false));
    let (second, _) = get(&format!("limit=2&last_event_id={}", next(&body))).await;
    assert_eq!(control(&second), ("private, no-cache", true));
    let refused = server.get(RECORDS, &[("If-None-Match", "*")]).await;
    assert_eq!((refused.status, &*refused.headers["cache-control"]), (401, "no-store"));
}
