//! The operators' routes over real sockets: who may call them, what they show, and how an operator ends streams.
//!
//! What may go wrong. Before: no token, a wrong one, a file that changes; a page of a browser, also by a name that points to
//! loopback. During: a parameter that is missing, empty, doubled or misspelt, and would widen what is meant; a stream that
//! opens, closes, replays or is blocked at the moment of the order. After: others are ended, too; a record is lost or repeated;
//! something stays in the counts.

#[path = "support/pki.rs"]
mod pki;
mod support;
#[path = "ways/way.rs"]
mod way;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use support::{Client, SECRET, Server};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use way::{Ask, End, Reader, Way};

const TOKEN: &str = "an-operators-token-of-more-than-32-bytes";
const OTHER_TOKEN: &str = "another-token-of-an-operator-of-32-bytes";
const GUARDED: [&str; 3] = ["/streams", "/tenants", "/config"];
const PATIENCE: Duration = Duration::from_secs(20);

/// A file of tokens that is gone after the test.
struct TokenFile(PathBuf);

impl TokenFile {
    fn of(name: &str, text: &str) -> TokenFile {
        let file = format!("tailrace-admin-{}-{name}", std::process::id());
        let file = TokenFile(std::env::temp_dir().join(file));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// With a token, on an address that others reach.
async fn guarded(file: &TokenFile) -> Server {
    Server::open(&["--admin-listen", "0.0.0.0:0", "--admin-token-file", file.path()]).await
}

async fn ask(server: &Server, method: &str, target: &str, headers: &[(&str, &str)]) -> Client {
    Client::request(server.admin, method, target, headers).await
}

/// The status of a request as it is, without a header of the client's own.
async fn raw(server: &Server, request: &str) -> u16 {
    let mut socket = TcpStream::connect(server.admin).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    Client::answer(socket).await.status
}

async fn list(server: &Server, target: &str) -> Vec<Value> {
    let mut answer = ask(server, "GET", target, &[]).await;
    assert_eq!(answer.status, 200, "{target}");
    serde_json::from_value(answer.json().await).unwrap()
}

async fn revoke(server: &Server, query: &str) -> u64 {
    let mut answer = ask(server, "DELETE", &format!("/streams?{query}"), &[]).await;
    assert_eq!(answer.status, 200, "{query}");
    answer.json().await["revoked"].as_u64().unwrap()
}

/// Waits until the list of this target has so many elements.
async fn until(server: &Server, target: &str, count: usize) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let found = list(server, target).await;
        if found.len() == count {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{target}: not {count}, but {found:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn open(way: Way, server: &Server, ask: Ask) -> Reader {
    let mut reader = Reader::open(way, server.address, &ask).await;
    assert!(reader.next().await.unwrap().id.is_some());
    reader
}

/// Neither ended nor disturbed.
async fn still_open(server: &mut Server, reader: &mut Reader) {
    server.append("acme", "still here");
    assert_eq!(reader.next_record().await.data.as_deref(), Some("still here"));
}

/// The last block is the operator's order, with an id to come back with.
fn last_word(blocks: &[support::Block], reader: &Reader) -> String {
    assert_eq!(reader.end, Some(End::Clean));
    let last = blocks.last().unwrap();
    assert!(last.is("tailrace.error"), "{last:?}");
    assert_eq!(last.json()["code"], "revoked");
    assert_eq!(last.json()["retry_ms"].as_u64(), last.retry);
    assert_eq!(blocks.iter().filter(|block| block.is("tailrace.error")).count(), 1);
    last.id.clone().unwrap()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn jwt(subject: &str, tenant: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let scope = format!("event:read:{tenant}");
    let claims = json!({"sub": subject, "tenant_id": tenant, "scope": scope, "exp": now + 600});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

// ------------------------------------------------------------------ who may call

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_without_a_token_answers_as_before_and_nothing_else() {
    let mut server = Server::open(&["--admin-listen", "0.0.0.0:0"]).await;
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(&server, "GET", open, &[]).await.status, 200, "{open}");
    }
    let mut reader = open(Way::Writer, &server, Ask::of("acme")).await;
    for (method, target) in
        GUARDED.map(|path| ("GET", path)).into_iter().chain([("DELETE", "/streams?tenant=acme")])
    {
        for headers in [&[][..], &[("Authorization", bearer(TOKEN).as_str())], &[("Host", "localhost")]] {
            let mut answer = ask(&server, method, target, headers).await;
            assert_eq!(answer.status, 403, "{method} {target}");
            assert!(answer.body().await.contains("TAILRACE_ADMIN_TOKEN_FILE"));
        }
    }
    still_open(&mut server, &mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_with_a_wrong_one_or_with_it_elsewhere_nobody_is_let_in() {
    let file = TokenFile::of("wrong", &format!("{TOKEN}\n{OTHER_TOKEN}\n"));
    let server = guarded(&file).await;
    let basic = format!("Basic {TOKEN}");
    let (prefix, longer) = (bearer(&TOKEN[..39]), format!("{}x", bearer(TOKEN)));
    let (both, upper) = (bearer(&format!("{TOKEN}{OTHER_TOKEN}")), bearer(&TOKEN.to_uppercase()));
    let token_of_a_stream = bearer(&jwt("ann", "acme"));
    for wrong in [&basic, TOKEN, "Bearer", "Bearer ", &prefix, &longer, &both, &upper, &token_of_a_stream] {
        for path in GUARDED {
            let answer = ask(&server, "GET", path, &[("Authorization", wrong)]).await;
            assert_eq!(answer.status, 401, "{path} {wrong}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"tailrace\"");
        }
    }
    for elsewhere in ["access_token", "token", "authorization"] {
        let answer = ask(&server, "GET", &format!("/streams?{elsewhere}={TOKEN}"), &[]).await;
        assert_eq!(answer.status, 401, "{elsewhere}");
    }
    for (name, value) in [("Cookie", format!("token={TOKEN}")), ("X-Api-Key", TOKEN.to_owned())] {
        assert_eq!(ask(&server, "GET", "/streams", &[(name, &value)]).await.status, 401, "{name}");
    }
    let (good, other) = (bearer(TOKEN), bearer(OTHER_TOKEN));
    let twice = [("Authorization", good.as_str()), ("Authorization", "Bearer x")];
    assert_eq!(ask(&server, "GET", "/streams", &twice).await.status, 401);
    assert_eq!(ask(&server, "DELETE", "/streams?tenant=acme", &[]).await.status, 401);
    for good in [good, other, format!("bEARER  {TOKEN}")] {
        for path in GUARDED {
            assert_eq!(ask(&server, "GET", path, &[("Authorization", &good)]).await.status, 200, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_out_of_the_file_opens_nothing_any_more() {
    let file = TokenFile::of("rotate", TOKEN);
    let server = guarded(&file).await;
    let (old, new) = (bearer(TOKEN), bearer(OTHER_TOKEN));
    let status =
        async |token: &str| ask(&server, "GET", "/streams", &[("Authorization", token)]).await.status;
    assert_eq!((status(&old).await, status(&new).await), (200, 401));
    file.write(OTHER_TOKEN);
    assert_eq!((status(&old).await, status(&new).await), (401, 200));
    // Half of a file that is being written: nobody is locked out, and nobody gets in by what it has.
    file.write("half");
    assert_eq!((status(&old).await, status(&new).await, status("Bearer half").await), (401, 200, 401));
}

/// A page has a name of its own point to loopback, and its requests go there as requests to itself.
#[tokio::test(flavor = "multi_thread")]
async fn dns_rebinding_reads_nothing_and_ends_nothing() {
    let mut server = Server::open(&[]).await;
    let mut reader = open(Way::Writer, &server, Ask::of("acme")).await;
    let port = server.admin.port();
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "[::]", ""] {
        for (method, target) in [("GET", "/streams"), ("GET", "/config"), ("DELETE", "/streams?tenant=acme")]
        {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
            let status = raw(&server, &request).await;
            assert!(status == 403 || (host.is_empty() && status == 400), "{host}: {status}");
        }
    }
    let local = format!("localhost:{port}");
    for (status, request) in [
        (403, "GET /streams HTTP/1.1\r\n\r\n".to_owned()),
        (403, format!("GET /streams HTTP/1.1\r\nHost: {local}\r\nHost: evil.example\r\n\r\n")),
        (403, format!("GET http://evil.example/streams HTTP/1.1\r\nHost: {local}\r\n\r\n")),
        (403, format!("GET http://{local}/streams HTTP/1.1\r\nHost: evil.example\r\n\r\n")),
        (200, format!("GET /streams HTTP/1.1\r\nHost: {local}\r\n\r\n")),
        (200, "GET /streams HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned()),
        (200, format!("GET /streams HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n")),
        // Whoever checks health and scrapes metrics may have another name for it.
        (200, "GET /healthz HTTP/1.1\r\nHost: tailrace-0.pods\r\n\r\n".to_owned()),
        (200, "GET /metrics HTTP/1.1\r\nHost: tailrace-0.pods\r\n\r\n".to_owned()),
    ] {
        assert_eq!(raw(&server, &request).await, status, "{request}");
    }
    still_open(&mut server, &mut reader).await;
}

/// The status over HTTP/2, whose authority takes the place of the header Host.
async fn over_http_2(server: &Server, authority: &str, host: Option<&str>) -> u16 {
    let socket = TcpStream::connect(server.admin).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = hyper::Request::get(format!("http://{authority}/streams"));
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let mut client = client.ready().await.unwrap();
    let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
    let status = answer.await.unwrap().status().as_u16();
    connection.abort();
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn dns_rebinding_over_http_2_reads_nothing() {
    let server = Server::open(&[]).await;
    let local = format!("localhost:{}", server.admin.port());
    assert_eq!(over_http_2(&server, "evil.example", None).await, 403);
    assert_eq!(over_http_2(&server, "evil.example", Some(&local)).await, 403);
    assert_eq!(over_http_2(&server, &local, Some("evil.example")).await, 403);
    assert_eq!(over_http_2(&server, &local, None).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_cannot_delete_and_is_not_told_that_it_may() {
    let file = TokenFile::of("page", TOKEN);
    let mut with_token = guarded(&file).await;
    let mut on_loopback = Server::open(&["--cors-origins", "*"]).await;
    let token = bearer(TOKEN);
    for server in [&mut with_token, &mut on_loopback] {
        let mut reader = open(Way::Writer, server, Ask::of("acme")).await;
        for page in [
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
            ("Sec-Fetch-Site", "same-origin"),
        ] {
            let headers = [page, ("Authorization", token.as_str())];
            for (method, target) in
                [("DELETE", "/streams?tenant=acme"), ("GET", "/streams"), ("GET", "/config")]
            {
                let answer = ask(server, method, target, &headers).await;
                assert_eq!(answer.status, 403, "{method} {page:?}");
                assert!(!answer.headers.keys().any(|name| name.starts_with("access-control")));
            }
        }
        // What a page asks before it may send more than a form can.
        let preflight = [
            ("Origin", "https://evil.example"),
            ("Access-Control-Request-Method", "DELETE"),
            ("Access-Control-Request-Headers", "authorization"),
        ];
        let answer = ask(server, "OPTIONS", "/streams?tenant=acme", &preflight).await;
        assert!([403, 405].contains(&answer.status));
        assert!(!answer.headers.keys().any(|name| name.starts_with("access-control")));
        // What a form can send.
        let disguised = [("X-HTTP-Method-Override", "DELETE"), ("Authorization", token.as_str())];
        for target in ["/streams?tenant=acme", "/streams?tenant=acme&_method=DELETE"] {
            let answer = ask(server, "POST", target, &disguised).await;
            assert_eq!(answer.status, 405);
        }
        still_open(server, &mut reader).await;
    }
    // An operator types it into a browser.
    let typed = [("Sec-Fetch-Site", "none")];
    assert_eq!(ask(&on_loopback, "GET", "/streams", &typed).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_own_address_has_none_of_the_operators_routes() {
    let server = Server::open(&[]).await;
    for path in GUARDED {
        assert_eq!(server.get(path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(Client::request(server.address, "DELETE", "/streams?tenant=acme", &[]).await.status, 404);
}

// ------------------------------------------------------------------ what is shown

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_shown_as_it_is_and_not_any_more_when_it_has_ended() {
    let mut server = Server::start(&["--auth", "jwt", "--jwt-secret", SECRET]).await;
    assert!(list(&server, "/streams").await.is_empty() && list(&server, "/tenants").await.is_empty());
    let token = bearer(&jwt("ann\u{1b}[2J", "acme"));
    let target = "/t/acme/events?topic=orders";
    let mut client = server.get(target, &[("Authorization", &token)]).await;
    client.next_is("tailrace.synced").await;
    let before = until(&server, "/streams?tenant=acme", 1).await[0].clone();
    for n in 0..3 {
        server.append("acme", &format!("{n}"));
        client.next_record().await;
    }
    let shown = list(&server, "/streams").await[0].clone();
    assert_eq!(shown["id"], before["id"]);
    assert_eq!(shown["id"].as_str().unwrap().len(), 16);
    assert_eq!((&shown["tenant"], &shown["subject"]), (&json!("acme"), &json!("ann\u{1b}[2J")));
    assert_eq!((&shown["address"], &shown["topics"]), (&json!("127.0.0.1"), &json!(["orders"])));
    assert_eq!(
        (&shown["state"], &shown["behind"], &shown["waits_ms"]),
        (&json!("live"), &json!(0), &json!(0))
    );
    let more = |name: &str| shown[name].as_u64().unwrap() - before[name].as_u64().unwrap();
    assert_eq!(more("events"), 3);
    assert!(more("bytes") > 3 * "id: \ndata: 0\n\n".len() as u64);
    let since = shown["since"].as_str().unwrap();
    assert!(since.len() == 20 && since.ends_with('Z') && since.starts_with("20"), "{since}");
    let tenants = list(&server, "/tenants").await;
    assert_eq!(tenants.len(), 1);
    for (name, value) in
        [("tenant", json!("acme")), ("streams", json!(1)), ("events", json!(3)), ("lagging", json!(0))]
    {
        assert_eq!(tenants[0][name], value, "{name}");
    }
    drop(client);
    until(&server, "/streams", 0).await;
    assert!(list(&server, "/tenants").await.is_empty());
}

/// A tenant's streams, and no token, secret or filter of anybody.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_has_sent_in_confidence_is_not_shown() {
    let server = Server::start(&["--auth", "jwt", "--jwt-secret", SECRET]).await;
    let token = jwt("ann", "acme");
    let target = format!("/t/acme/events?where=value.iban=DE42&access_token={token}");
    let _client = server.get(&target, &[]).await;
    until(&server, "/streams", 1).await;
    for path in GUARDED {
        let shown = ask(&server, "GET", path, &[]).await.body().await;
        for confidential in [token.as_str(), SECRET, "DE42", "iban"] {
            assert!(!shown.contains(confidential), "{path}: {shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_sorted_and_bounded() {
    let mut server = Server::open(&[]).await;
    let mut readers = Vec::new();
    for (tenant, count) in [("a", 1), ("b", 3), ("c", 2)] {
        for _ in 0..count {
            readers.push(open(Way::Writer, &server, Ask::of(tenant)).await);
        }
    }
    until(&server, "/streams", 6).await;
    assert_eq!(list(&server, "/streams?tenant=b").await.len(), 3);
    assert!(list(&server, "/streams?subject=b").await.is_empty());
    let names = |all: Vec<Value>| {
        all.iter().map(|one| one["tenant"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(names(list(&server, "/streams?sort=tenant").await), "abbbcc");
    assert_eq!(names(list(&server, "/tenants").await), "bca");
    assert_eq!(names(list(&server, "/tenants?sort=tenant&limit=2").await), "ab");
    server.append("c", "one");
    for reader in &mut readers[4..] {
        reader.next_record().await;
    }
    assert_eq!(names(list(&server, "/streams?sort=events&limit=2").await), "cc");
    assert_eq!(names(list(&server, "/tenants?sort=events").await), "cab");
    let mut lines = ask(&server, "GET", "/streams?limit=4", &[("Accept", "application/x-ndjson")]).await;
    assert_eq!(
        (lines.headers["content-type"].as_str(), lines.headers["x-total-count"].as_str()),
        ("application/x-ndjson", "6")
    );
    assert_eq!(lines.headers["cache-control"], "no-store");
    let text = lines.body().await;
    assert_eq!(text.lines().count(), 4);
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).unwrap().is_object()));
    for wrong in [
        "limit=0",
        "limit=10001",
        "limit=x",
        "limit=-1",
        "sort=x",
        "tenant=",
        "tenant=a&tenant=b",
        "tenants=a",
        "tenant=%ff",
    ] {
        let mut answer = ask(&server, "GET", &format!("/streams?{wrong}"), &[]).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(wrong.starts_with(answer.json().await["parameter"].as_str().unwrap()), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_lagging_and_first() {
    let mut server = Server::open(&[]).await;
    let _calm = open(Way::Writer, &server, Ask::of("calm")).await;
    let slow = open(Way::Writer, &server, Ask::of("acme").room(16 * 1024)).await;
    let padding = "x".repeat(20_000);
    (0..300).for_each(|n| server.append("acme", &format!("{n} {padding}")));
    let begin = Instant::now();
    loop {
        let streams = list(&server, "/streams").await;
        if streams[0]["state"] == "lagging" {
            assert_eq!((&streams[0]["tenant"], &streams[1]["state"]), (&json!("acme"), &json!("live")));
            assert!(streams[0]["behind"].as_u64().unwrap() > 100, "{streams:?}");
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{streams:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let tenants = list(&server, "/tenants?sort=behind").await;
    assert_eq!((&tenants[0]["tenant"], &tenants[0]["lagging"]), (&json!("acme"), &json!(1)));
    drop(slow);
}

// ------------------------------------------------------------------ the order to end

/// Its tenant's streams end with a last word on every way, others go on, and whoever comes back misses nothing.
async fn revoked_streams_end(way: Way) {
    let mut server = Server::open(&[]).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(open(way, &server, Ask::of("acme")).await);
    }
    let mut other = open(way, &server, Ask::of("other")).await;
    until(&server, "/streams", 4).await;
    server.append("acme", "one");
    for reader in &mut readers {
        assert_eq!(reader.next_record().await.data.as_deref(), Some("one"));
    }
    // Nothing else is due for much longer: the order itself wakes them.
    let begin = Instant::now();
    assert_eq!(revoke(&server, "tenant=acme").await, 3);
    let mut ids = Vec::new();
    for mut reader in readers {
        let blocks = reader.rest().await;
        assert!(blocks.iter().all(|block| block.event.is_some()), "{blocks:?}");
        ids.push(last_word(&blocks, &reader));
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(until(&server, "/streams", 1).await[0]["tenant"], "other");
    server.append("acme", "two");
    server.append("other", "three");
    assert_eq!(other.next_record().await.data.as_deref(), Some("three"));
    // Without tokens nothing keeps the client from coming back, exactly where it was.
    let mut again = Reader::open(way, server.address, &Ask::of("acme").last_event_id(&ids[0])).await;
    assert_eq!(again.next_record().await.data.as_deref(), Some("two"));
    assert_eq!(revoke(&server, "tenant=nobody").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_stream_over_http_1_1() {
    revoked_streams_end(Way::Writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_stream_over_http_1_0() {
    revoked_streams_end(Way::Http10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_stream_over_http_2() {
    revoked_streams_end(Way::Http2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_and_ids_mean_one_each_and_both_together_less() {
    let server = Server::start(&["--auth", "jwt", "--jwt-secret", SECRET]).await;
    let mut clients = Vec::new();
    for (subject, tenant) in [("ann", "acme"), ("ann", "other"), ("bob", "acme"), ("bob", "other")] {
        let token = bearer(&jwt(subject, tenant));
        let mut client = server.get(&format!("/t/{tenant}/events"), &[("Authorization", &token)]).await;
        assert_eq!(client.status, 200);
        client.next_is("tailrace.synced").await;
        clients.push(client);
    }
    until(&server, "/streams", 4).await;
    assert_eq!(revoke(&server, "subject=ann&tenant=acme").await, 1);
    assert_eq!(clients[0].next_is("tailrace.error").await.json()["code"], "revoked");
    until(&server, "/streams", 3).await;
    let bobs = list(&server, "/streams?subject=bob&tenant=other").await;
    let id = bobs[0]["id"].as_str().unwrap();
    assert_eq!(revoke(&server, &format!("id={id}&tenant=acme")).await, 0);
    assert_eq!(revoke(&server, &format!("id={id}")).await, 1);
    clients[3].next_is("tailrace.error").await;
    assert_eq!(revoke(&server, "subject=ann").await, 1);
    clients[1].next_is("tailrace.error").await;
    assert_eq!(until(&server, "/streams", 1).await[0]["subject"], "bob");
}

/// Nothing that is missing, empty, misspelt or not an id is taken for everything.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_says_nothing_ends_nobody() {
    let mut server = Server::open(&[]).await;
    let mut reader = open(Way::Writer, &server, Ask::of("acme")).await;
    let id = until(&server, "/streams", 1).await[0]["id"].as_str().unwrap().to_owned();
    let (upper, short) = (id.to_uppercase(), &id[1..]);
    let mut wrong: Vec<String> = [
        "",
        "tenant=",
        "id=",
        "subject=",
        "tenant",
        "tennant=x&tenant=x",
        "all=true",
        "tenant=acme&x=",
        "id=*",
        "id=0",
        "tenant=acme&tenant=acme",
        "tenant=*",
        "limit=1&tenant=acme",
        "id=../streams",
        "tenant=%00",
    ]
    .map(str::to_owned)
    .into();
    wrong.extend([
        format!("id={short}"),
        format!("id=0x{short}"),
        format!("id={id}&id={id}"),
        format!("id=+{short}"),
    ]);
    if upper != id {
        wrong.push(format!("id={upper}"));
    }
    for wrong in wrong {
        assert_eq!(ask(&server, "DELETE", &format!("/streams?{wrong}"), &[]).await.status, 400, "{wrong}");
    }
    for target in [format!("/streams/{id}"), "/tenants?tenant=acme".to_owned(), "/config".to_owned()] {
        let status = ask(&server, "DELETE", &target, &[]).await.status;
        assert!([404, 405].contains(&status), "{target}: {status}");
    }
    // An id that is not that of a stream, and one of the event stream itself.
    assert_eq!(revoke(&server, "id=0000000000000000").await, 0);
    still_open(&mut server, &mut reader).await;
}

/// A client that takes nothing keeps what was written for it before, gets nothing after, and is not open for longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_stream_is_revoked_and_gets_no_record_more() {
    for way in [Way::Writer, Way::Http2] {
        let mut server = Server::open(&[]).await;
        let mut reader = open(way, &server, Ask::of("acme").room(16 * 1024)).await;
        let padding = "x".repeat(20_000);
        (0..300).for_each(|n| server.append("acme", &format!("{n} {padding}")));
        let begin = Instant::now();
        while list(&server, "/streams").await[0]["state"] != "lagging" {
            assert!(begin.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(revoke(&server, "tenant=acme").await, 1);
        let blocks = reader.rest().await;
        let id = last_word(&blocks, &reader);
        let records: Vec<_> =
            blocks.iter().filter(|block| block.event.is_none() && block.data.is_some()).collect();
        assert!(!records.is_empty() && records.len() < 300, "{way:?}: {}", records.len());
        for (n, record) in records.iter().enumerate() {
            assert_eq!(record.data.as_deref(), Some(format!("{n} {padding}").as_str()));
        }
        assert_eq!(records.last().and_then(|record| record.id.clone()), Some(id));
        until(&server, "/streams", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_waits_for_its_pace_is_revoked_at_once() {
    for way in [Way::Writer, Way::Http2] {
        let mut server = Server::open(&["--stream-event-rate", "10/h"]).await;
        let mut reader = open(way, &server, Ask::of("acme")).await;
        (0..9).for_each(|n| server.append("acme", &n.to_string()));
        reader.next_record().await;
        let begin = Instant::now();
        assert_eq!(revoke(&server, "tenant=acme").await, 1);
        last_word(&reader.rest().await, &reader);
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_race_with_opens_and_closes_and_the_counts_return_to_zero() {
    let server = std::sync::Arc::new(Server::open(&[]).await);
    let mut tasks = Vec::new();
    for n in 0..4 {
        let server = std::sync::Arc::clone(&server);
        tasks.push(tokio::spawn(async move {
            for round in 0..25 {
                let way = if round % 2 == 0 { Way::Writer } else { Way::Http2 };
                let mut reader = Reader::open(way, server.address, &Ask::of("acme")).await;
                if n % 2 == 0 {
                    revoke(&server, "tenant=acme").await;
                    last_word(&reader.rest().await, &reader);
                } else {
                    // It goes without waiting for anything, maybe while it is ended.
                    drop(reader);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    until(&server, "/streams", 0).await;
    assert!(list(&server, "/tenants").await.is_empty());
}
