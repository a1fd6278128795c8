//! Tokens, and what is tried with them: each test is an attack, or a change of keys while the server runs. RFC 8725 has the
//! list.

mod issuer;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use issuer::{Answer, Issuer, Signer, ed25519, good, p256, p384, rsa, set};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use support::{Client, SECRET, Server, args};
use tailrace_bridge::TopicId;

const EVENTS: &str = "/t/acme/events";
/// How long it takes at most until a changed file is read: it is looked at every two seconds.
const FILE_READ: Duration = Duration::from_secs(8);
/// The issuer is asked for its keys at most that often.
const ISSUER_PAUSE: Duration = Duration::from_secs(10);

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({"tenant_id": "acme", "scope": "event:read:acme", "exp": now() + 600, "sub": "me"})
}

fn hs(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).unwrap()
}

fn token(claims: &Value) -> String {
    hs(Algorithm::HS256, SECRET.as_bytes(), claims)
}

/// A token with this header, signed with the secret as HS256 whatever the header says.
fn with_header(header: &str) -> String {
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims().to_string()));
    sign(&message)
}

/// A token with this payload.
fn with_payload(payload: &[u8]) -> String {
    sign(&format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(payload)))
}

fn sign(message: &str) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

async fn server(flags: &[&str]) -> Server {
    Server::start(&[&["--auth", "jwt"], flags].concat()).await
}

async fn with_secret(flags: &[&str]) -> Server {
    server(&[&["--jwt-secret", SECRET], flags].concat()).await
}

async fn get(server: &Server, token: &str) -> Client {
    server.get(EVENTS, &[("Authorization", &format!("Bearer {token}"))]).await
}

async fn status(server: &Server, token: &str) -> u16 {
    get(server, token).await.status
}

/// Waits until the token is answered with this status.
async fn becomes(server: &Server, token: &str, wanted: u16, within: Duration) {
    let begun = Instant::now();
    loop {
        let got = status(server, token).await;
        if got == wanted {
            return;
        }
        assert!(begun.elapsed() < within, "{got} after {within:?}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str, content: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("tailrace-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        Scratch(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_is_taken_from_the_keys_of_its_kind() {
    use Algorithm::{HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    let secret = "a secret that is long enough for all three of them, HS256, HS384, HS512";
    let secrets = server(&["--jwt-secret", secret]).await;
    for algorithm in [HS256, HS384, HS512] {
        assert_eq!(
            status(&secrets, &hs(algorithm, secret.as_bytes(), &claims())).await,
            200,
            "{algorithm:?}"
        );
    }
    let (rsa, p256, p384, ed25519) = (rsa(RS256), p256(), p384(), ed25519());
    let pem =
        Scratch::new("all.pem", &[&*rsa.pem, &p256.pem, &p384.pem, &ed25519.pem].join("text between\n"));
    let jwks =
        Scratch::new("all.json", &set(&[rsa.jwk("1"), p256.jwk("2"), p384.jwk("3"), ed25519.jwk("4")]));
    for flags in [["--jwt-public-key-file", pem.path()], ["--jwt-jwks-file", jwks.path()]] {
        let server = server(&flags).await;
        for algorithm in [RS256, RS384, RS512, PS256, PS384, PS512] {
            let signer = Signer { algorithm, ..rsa.clone() };
            assert_eq!(status(&server, &signer.sign(None, &claims())).await, 200, "{algorithm:?}");
        }
        for signer in [&p256, &p384, &ed25519] {
            assert_eq!(status(&server, &signer.sign(None, &claims())).await, 200, "{:?}", signer.algorithm);
        }
        assert_eq!(status(&server, &token(&claims())).await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alg_none_is_no_signature() {
    let server = with_secret(&[]).await;
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        let signed = with_header(&header);
        assert_eq!(status(&server, &signed).await, 401, "{alg} with a signature");
        let unsigned = signed.rsplit_once('.').unwrap().0;
        assert_eq!(status(&server, &format!("{unsigned}.")).await, 401, "{alg} without one");
    }
    let good = token(&claims());
    assert_eq!(status(&server, good.rsplit_once('.').unwrap().0).await, 401, "no third part");
    assert_eq!(status(&server, &format!("{}.", good.rsplit_once('.').unwrap().0)).await, 401, "an empty one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_key_is_no_secret() {
    let rsa = rsa(Algorithm::RS256);
    let file = Scratch::new("confused.pem", &rsa.pem);
    let server = server(&["--jwt-public-key-file", file.path()]).await;
    let der = pem::parse(&rsa.pem).unwrap();
    for secret in [rsa.pem.as_bytes(), rsa.pem.trim().as_bytes(), der.contents()] {
        for algorithm in [Algorithm::HS256, Algorithm::HS512] {
            assert_eq!(status(&server, &hs(algorithm, secret, &claims())).await, 401);
        }
    }
    assert_eq!(status(&server, &rsa.sign(None, &claims())).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_algorithms_that_are_configured_bound_those_of_the_keys() {
    let rsa = rsa(Algorithm::RS256);
    let jwk = json!({"kty": "RSA", "n": rsa.jwk["n"], "e": rsa.jwk["e"], "alg": "PS256"});
    let file = Scratch::new("bound.json", &set(&[jwk]));
    let by_key = server(&["--jwt-jwks-file", file.path()]).await;
    let pss = Signer { algorithm: Algorithm::PS256, ..rsa.clone() };
    assert_eq!(status(&by_key, &pss.sign(None, &claims())).await, 200);
    assert_eq!(status(&by_key, &rsa.sign(None, &claims())).await, 401, "the key is for PS256");
    let file = Scratch::new("bound.pem", &rsa.pem);
    let by_setting = server(&["--jwt-public-key-file", file.path(), "--jwt-algorithms", "RS512,PS256"]).await;
    let mut refused = get(&by_setting, &rsa.sign(None, &claims())).await;
    assert_eq!(
        (refused.status, refused.json().await["detail"].as_str().unwrap()),
        (401, "the token must be signed with RS512, PS256")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_token_brings_or_points_to_is_not_used() {
    let server = with_secret(&[]).await;
    let (own, trap) = (p256(), Issuer::start(good(&[])).await);
    let headers = [
        json!({"alg": "ES256", "jwk": own.jwk}),
        json!({"alg": "ES256", "jku": trap.url()}),
        json!({"alg": "ES256", "x5u": trap.url()}),
        json!({"alg": "ES256", "kid": trap.url()}),
        json!({"alg": "ES256", "x5c": ["MIIB"]}),
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode("mine")}}),
    ];
    for header in headers {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims().to_string())
        );
        let signature = match header["alg"] == "ES256" {
            true => jsonwebtoken::crypto::sign(message.as_bytes(), &own.key, Algorithm::ES256),
            false => jsonwebtoken::crypto::sign(
                message.as_bytes(),
                &EncodingKey::from_secret(b"mine"),
                Algorithm::HS256,
            ),
        };
        assert_eq!(status(&server, &format!("{message}.{}", signature.unwrap())).await, 401, "{header}");
    }
    assert_eq!(trap.asked(), 0);
    // What is only pointed to does no harm beside a good signature.
    assert_eq!(
        status(&server, &with_header(&json!({"alg": "HS256", "jku": trap.url()}).to_string())).await,
        200
    );
    assert_eq!(trap.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_ambiguous_or_asks_for_more_is_refused() {
    let server = with_secret(&[]).await;
    assert_eq!(status(&server, &with_header(r#"{"alg":"HS256"}"#)).await, 200);
    let headers = [
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"logout+jwt"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"typ":"JWT"}"#,
        "[]",
        "",
    ];
    for header in headers {
        assert_eq!(status(&server, &with_header(header)).await, 401, "{header}");
    }
    for id in ["../../../etc/passwd", "' OR 1=1 --", "key\u{0}", "\r\nSet-Cookie: a=b"] {
        // Identifiers are compared; a secret has none, so that any is taken.
        assert_eq!(status(&server, &with_header(&json!({"alg": "HS256", "kid": id}).to_string())).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_readers_understand_differently_are_refused() {
    let server = with_secret(&[]).await;
    let later = now() + 600;
    let payloads = [
        format!(r#"{{"tenant_id":"acme","tenant_id":"other","scope":"event:read:acme","exp":{later}}}"#),
        format!(r#"{{"tenant_id":"acme","scope":"event:read:acme","exp":1,"exp":{later}}}"#),
        format!(r#"{{"tenant_id":"acme","scope":"event:read:acme","exp":"{later}"}}"#),
        format!(r#"{{"tenant_id":"acme","scope":"event:read:acme","exp":{later},"nbf":"0"}}"#),
        r#"{"tenant_id":"acme","scope":"event:read:acme","exp":-1}"#.to_owned(),
        r#"{"tenant_id":"acme","scope":"event:read:acme","exp":1e308}"#.to_owned(),
        r#"{"tenant_id":"acme","scope":"event:read:acme","exp":1180591620717411303424}"#.to_owned(),
        r#"{"tenant_id":"acme","scope":"event:read:acme","exp":null}"#.to_owned(),
        r#"{"tenant_id":"acme","scope":"event:read:acme"}"#.to_owned(),
        "null".to_owned(),
        "[1]".to_owned(),
        String::new(),
    ];
    for payload in payloads {
        assert_eq!(status(&server, &with_payload(payload.as_bytes())).await, 401, "{payload}");
    }
    assert_eq!(status(&server, &with_payload(&[b"{\"a\":\"", &[0xff][..], b"\"}"].concat())).await, 401);
    let fraction = format!(r#"{{"tenant_id":"acme","scope":"event:read:acme","exp":{later}.25}}"#);
    assert_eq!(status(&server, &with_payload(fraction.as_bytes())).await, 200);
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert_eq!(status(&server, &with_payload(deep.as_bytes())).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_any_size_and_shape_are_answered() {
    let server = with_secret(&[]).await;
    for text in ["", ".", "..", "....", "a.b.c", "=.=.=", "%00", "\u{e9}"] {
        let status = status(&server, text).await;
        assert!(status == 401, "{text:?} {status}");
    }
    assert_eq!(status(&server, &"a".repeat(20 * 1024)).await, 401);
    // More than a request's head may have.
    let long = "a".repeat(64 * 1024);
    let mut socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let head = format!("GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {long}\r\n\r\n");
    // The server may answer, and close, before it has read all.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(status(&server, &token(&claims())).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_character_of_a_token_cannot_be_changed() {
    let server = with_secret(&[]).await;
    let good = token(&claims());
    for at in (0..good.len()).step_by(7).chain([good.len() - 1]) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = match bytes[at] {
            b'A' => b'B',
            b'.' => b'-',
            _ => b'A',
        };
        let changed = String::from_utf8(bytes).unwrap();
        assert_eq!(status(&server, &changed).await, 401, "at {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_is_wrong_and_repeats_nothing_of_the_token() {
    let server = with_secret(&[]).await;
    let mut none = server.get(EVENTS, &[]).await;
    assert_eq!(none.headers["www-authenticate"], "Bearer realm=\"tailrace\"");
    assert!(none.json().await["detail"].as_str().unwrap().starts_with("send a token: the header"));
    let mut expired = claims();
    expired["exp"] = json!(now() - 31);
    let token = self::token(&expired);
    let mut refused = get(&server, &token).await;
    let challenge =
        "Bearer realm=\"tailrace\", error=\"invalid_token\", error_description=\"the token has expired\"";
    assert_eq!(refused.headers["www-authenticate"], challenge);
    let body = refused.body().await;
    assert!(token.split('.').all(|part| !body.contains(part)), "{body}");
    let mut narrow = claims();
    narrow["scope"] = json!("event:read:other");
    let refused = get(&server, &self::token(&narrow)).await;
    assert_eq!(refused.status, 403);
    let challenge = "Bearer realm=\"tailrace\", error=\"insufficient_scope\", scope=\"event:read:acme\"";
    assert_eq!(refused.headers["www-authenticate"], challenge);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_of_one_topic_opens_that_topic_alone() {
    let mut server = with_secret(&[]).await;
    let start = tailrace_bridge::Start { offset: 0, epoch: 0, log_start: 0 };
    server.bridge.add_topic("payments", TopicId([9; 16]), &[start]);
    let mut narrow = claims();
    narrow["scope"] = json!("event:read:acme:orders event:read:other");
    let token = token(&narrow);
    let header = format!("Bearer {token}");
    let with = [("Authorization", header.as_str())];
    let get = |target: &str| {
        let target = format!("{EVENTS}{target}");
        let (address, header) = (server.address, header.clone());
        async move { Client::request(address, "GET", &target, &[("Authorization", &header)]).await }
    };
    for (target, status) in [
        ("?topic=orders", 200),
        ("?topic=payments", 403),
        ("?topic=orders&topic=payments", 403),
        ("?topic=paymentz", 403),
    ] {
        assert_eq!(get(target).await.status, status, "{target}");
    }
    // A name that is near to one of a topic that may not be read is not completed.
    let text = get("?topic=paymentz").await.body().await;
    assert!(!text.contains("payments\"") && text.contains("paymentz"), "{text}");
    let mut all = server.get(EVENTS, &with).await;
    let partition = server.bridge.topic("payments").unwrap().partitions()[0].clone();
    let record = tailrace_bridge::NewRecord {
        offset: 0,
        epoch: 0,
        timestamp: 1,
        key: None,
        value: Some(b"secret"),
        headers: tailrace_bridge::Headers::default(),
        tenant: tailrace_bridge::TenantId::new("acme").unwrap(),
        event_type: None,
        form: tailrace_bridge::Form::default(),
    };
    server.bridge.append(&partition, &[record], tailrace_bridge::Position { offset: 1, epoch: 0 });
    server.append("acme", "public");
    assert_eq!(all.next_record().await.data.as_deref(), Some("public"));
    narrow["scope"] = json!("event:read:acme:nothing");
    assert_eq!(self::get(&server, &self::token(&narrow)).await.status, 404);
    narrow["scope"] = json!("event:read:*:payments");
    let mut payments =
        server.get(&format!("{EVENTS}?from=earliest&access_token={}", self::token(&narrow)), &[]).await;
    assert_eq!(payments.next_record().await.data.as_deref(), Some("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_may_be_found_by_a_pointer_and_the_keys_beside_each_other() {
    let signer = ed25519();
    let file = Scratch::new("beside.pem", &signer.pem);
    let flags = ["--jwt-tenant-claim", "/org/tenants", "--jwt-public-key-file", file.path()];
    let server = with_secret(&flags).await;
    let claims = json!({"org": {"tenants": ["x", "acme"]}, "scope": "event:read:*", "exp": now() + 60});
    assert_eq!(status(&server, &token(&claims)).await, 200);
    assert_eq!(status(&server, &signer.sign(Some("any"), &claims)).await, 200);
    assert_eq!(status(&server, &token(&self::claims())).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_a_way_in_only_for_pages_that_may_read() {
    let server = with_secret(&["--jwt-cookie", "session", "--cors-origins", "https://app.example"]).await;
    let cookie = format!("theme=dark; session={}", token(&claims()));
    let status = |more: &'static [(&'static str, &'static str)]| {
        let (address, cookie) = (server.address, cookie.clone());
        async move {
            let headers: Vec<(&str, &str)> =
                [("Cookie", cookie.as_str())].into_iter().chain(more.iter().copied()).collect();
            Client::request(address, "GET", EVENTS, &headers).await
        }
    };
    let allowed = status(&[("Origin", "https://app.example")]).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.headers["access-control-allow-credentials"], "true");
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(status(&[("Sec-Fetch-Site", "same-origin")]).await.status, 200);
    for foreign in [
        &[("Origin", "https://evil.example")][..],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Origin", "null")],
    ] {
        assert_eq!(status(foreign).await.status, 401, "{foreign:?}");
    }
    // Without the setting, a cookie is nothing.
    let plain = with_secret(&[]).await;
    let refused = plain.get(EVENTS, &[("Cookie", &cookie)]).await;
    assert_eq!((refused.status, refused.headers.get("access-control-allow-credentials")), (401, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_can_be_closed_to_tokens() {
    let server = with_secret(&["--jwt-query", "off"]).await;
    let mut refused = server.get(&format!("{EVENTS}?access_token={}", token(&claims())), &[]).await;
    assert_eq!(refused.status, 401);
    assert!(refused.json().await["detail"].as_str().unwrap().contains("TAILRACE_JWT_QUERY"));
    assert_eq!(status(&server, &token(&claims())).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_told_before_its_token_expires_and_ends_within_the_leeway() {
    let server = with_secret(&["--jwt-leeway", "1s", "--token-notice", "2s"]).await;
    let mut short = claims();
    short["exp"] = json!(now() + 3);
    let begun = Instant::now();
    let mut client = get(&server, &token(&short)).await;
    let notice = client.next_is("tailrace.status").await;
    assert_eq!(notice.json()["code"], "token_expiring");
    let remaining = notice.json()["remaining_ms"].as_u64().unwrap();
    assert!(remaining <= 2000 && notice.id.is_none(), "{remaining}");
    let told = begun.elapsed();
    let last = client.next_is("tailrace.error").await;
    assert_eq!(last.json()["code"], "token_expired");
    assert!(begun.elapsed() - told >= Duration::from_millis(remaining.saturating_sub(200)));
    assert!(begun.elapsed() < Duration::from_millis(4500), "{:?}", begun.elapsed());
    assert_eq!(client.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_secrets_is_read_again_and_a_wrong_one_changes_nothing() {
    let (old, new) = ("the old secret, long enough for HS256", "the new secret, long enough for HS256");
    let file = Scratch::new("secrets", old);
    let server = server(&["--jwt-secret-file", file.path()]).await;
    let (with_old, with_new) =
        (hs(Algorithm::HS256, old.as_bytes(), &claims()), hs(Algorithm::HS256, new.as_bytes(), &claims()));
    assert_eq!((status(&server, &with_old).await, status(&server, &with_new).await), (200, 401));
    fs::write(&file.0, format!("{new}\n{old}\n")).unwrap();
    becomes(&server, &with_new, 200, FILE_READ).await;
    assert_eq!(status(&server, &with_old).await, 200, "the old one works until it is gone");
    for wrong in ["short", "", "\n\n"] {
        let before =
            server.metric("tailrace_key_reloads_total{source=\"secret_file\",result=\"refused\"}").await;
        fs::write(&file.0, wrong).unwrap();
        let begun = Instant::now();
        while server.metric("tailrace_key_reloads_total{source=\"secret_file\",result=\"refused\"}").await
            == before
        {
            assert!(begun.elapsed() < FILE_READ);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!((status(&server, &with_old).await, status(&server, &with_new).await), (200, 200));
    }
    fs::remove_file(&file.0).unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!((status(&server, &with_old).await, status(&server, &with_new).await), (200, 200));
    fs::write(&file.0, new).unwrap();
    becomes(&server, &with_old, 401, FILE_READ).await;
    assert_eq!(status(&server, &with_new).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_new_key_is_taken_without_a_restart_and_an_old_one_until_it_is_gone() {
    let (old, new) = (p256(), rsa(Algorithm::RS256));
    let issuer = Issuer::start(good(&[old.jwk("old")])).await;
    let server = server(&["--jwt-jwks-url", &issuer.url()]).await;
    let (with_old, with_new) = (old.sign(Some("old"), &claims()), new.sign(Some("new"), &claims()));
    becomes(&server, &with_old, 200, ISSUER_PAUSE).await;
    issuer.set(good(&[old.jwk("old"), new.jwk("new")]));
    // It was asked a moment ago: until it is asked again, the key may be a good one.
    let mut early = get(&server, &with_new).await;
    assert_eq!((early.status, early.json().await["code"].as_str()), (503, Some("not_ready")));
    let header = format!("Bearer {with_new}");
    let mut again = server.get(EVENTS, &[("Authorization", &header), ("Last-Event-ID", "an-id")]).await;
    assert_eq!(again.status, 200, "a browser that comes back would never try again after a status");
    assert_eq!(again.next_is("tailrace.error").await.json()["code"], "not_ready");
    becomes(&server, &with_new, 200, ISSUER_PAUSE * 2).await;
    assert_eq!(status(&server, &with_old).await, 200);
    issuer.set(good(&[new.jwk("new")]));
    // A key that nobody has makes it ask again.
    becomes(&server, &p256().sign(Some("nobody"), &claims()), 401, ISSUER_PAUSE * 2).await;
    becomes(&server, &with_old, 401, ISSUER_PAUSE * 2).await;
    assert_eq!(status(&server, &with_new).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_down_at_the_start_keeps_nobody_out_for_good() {
    let signer = p256();
    let issuer = Issuer::start(Answer::Closed).await;
    let server = with_secret(&["--jwt-jwks-url", &issuer.url()]).await;
    let theirs = signer.sign(Some("k"), &claims());
    assert_eq!(status(&server, &theirs).await, 503);
    assert_eq!(status(&server, &token(&claims())).await, 200, "other keys work");
    assert_eq!(status(&server, &hs(Algorithm::HS256, b"another", &claims())).await, 401);
    let note = "note: the keys at TAILRACE_JWT_JWKS_URL cannot be read: ";
    assert!(readiness(&server).await.contains(note), "{}", readiness(&server).await);
    issuer.set(good(&[signer.jwk("k")]));
    becomes(&server, &theirs, 200, ISSUER_PAUSE * 2).await;
    assert!(!readiness(&server).await.contains(note), "{}", readiness(&server).await);
}

/// What `/readyz` says.
async fn readiness(server: &Server) -> String {
    Client::request(server.admin, "GET", "/readyz", &[]).await.body().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_answers_garbage_leaves_the_last_good_keys() {
    let signer = p256();
    let issuer = Issuer::start(good(&[signer.jwk("k")])).await;
    let server = server(&["--jwt-jwks-url", &issuer.url()]).await;
    let token = signer.sign(Some("k"), &claims());
    becomes(&server, &token, 200, ISSUER_PAUSE).await;
    let redirect = Answer::Status("302 Found", set(&[p256().jwk("k")]));
    // Wrong key sets are tested with the parser: each answer here takes as long as the issuer is left alone.
    for answer in [redirect, Answer::Endless, Answer::Slow] {
        let asked = issuer.asked();
        issuer.set(answer);
        let other = p256().sign(Some("other"), &claims());
        let begun = Instant::now();
        while issuer.asked() == asked {
            assert!(begun.elapsed() < ISSUER_PAUSE * 2);
            let status = status(&server, &other).await;
            assert!(matches!(status, 401 | 503), "{status}");
            assert_eq!(self::status(&server, &token).await, 200);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert_eq!(status(&server, &token).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_keys_asks_the_issuer_once() {
    let signer = p256();
    let issuer = Issuer::start(good(&[signer.jwk("k")])).await;
    let server = server(&["--jwt-jwks-url", &issuer.url()]).await;
    becomes(&server, &signer.sign(Some("k"), &claims()), 200, ISSUER_PAUSE).await;
    issuer.asked_times(1).await;
    let forged = p256();
    let begun = Instant::now();
    for at in 0..200 {
        let status = status(&server, &forged.sign(Some(&format!("forged-{at}")), &claims())).await;
        assert!(matches!(status, 401 | 503), "{status}");
    }
    let windows = begun.elapsed().as_secs() / ISSUER_PAUSE.as_secs() + 1;
    assert!(issuer.asked() as u64 <= 1 + windows, "asked {} times", issuer.asked());
}

#[test]
fn a_setting_of_keys_that_cannot_be_used_says_why() {
    let good = Scratch::new("good.pem", &ed25519().pem);
    let private = Scratch::new("private.pem", &issuer::private_pem());
    let (empty, garbage) = (Scratch::new("empty.pem", ""), Scratch::new("garbage.pem", "not PEM"));
    let short = Scratch::new("short", "short");
    let no_set = Scratch::new("set.json", r#"{"keys":[{"kty":"oct","k":"AA"}]}"#);
    let cases: [(&[&str], &str, &str); 18] = [
        (&["--jwt-public-key-file", "/nowhere/key.pem"], "TAILRACE_JWT_PUBLIC_KEY_FILE", "No such file"),
        (&["--jwt-public-key-file", "/dev/zero"], "TAILRACE_JWT_PUBLIC_KEY_FILE", "not a file"),
        (&["--jwt-public-key-file", private.path()], "TAILRACE_JWT_PUBLIC_KEY_FILE", "-pubout"),
        (&["--jwt-public-key-file", empty.path()], "TAILRACE_JWT_PUBLIC_KEY_FILE", "no key"),
        (&["--jwt-public-key-file", garbage.path()], "TAILRACE_JWT_PUBLIC_KEY_FILE", "key"),
        (
            &["--jwt-public-key-file", good.path(), "--jwt-algorithms", "RS256"],
            "TAILRACE_JWT_PUBLIC_KEY_FILE",
            "TAILRACE_JWT_ALGORITHMS",
        ),
        (&["--jwt-secret-file", short.path()], "TAILRACE_JWT_SECRET_FILE", "32 or more"),
        (&["--jwt-jwks-file", no_set.path()], "TAILRACE_JWT_JWKS_FILE", "none of its 1 keys"),
        (&["--jwt-jwks-url", "issuer.example/keys"], "TAILRACE_JWT_JWKS_URL", "https://"),
        (&["--jwt-jwks-url", "file:///etc/passwd"], "TAILRACE_JWT_JWKS_URL", "https://"),
        (&["--jwt-jwks-url", "https://a:secret@issuer.example/"], "TAILRACE_JWT_JWKS_URL", "https://"),
        (
            &["--jwt-jwks-url", "https://issuer.example/", "--jwt-algorithms", "HS256"],
            "TAILRACE_JWT_ALGORITHMS",
            "RS256",
        ),
        (&["--jwt-secret", SECRET, "--jwt-algorithms", "HS512"], "TAILRACE_JWT_ALGORITHMS", "HS256"),
        (&["--jwt-secret", SECRET, "--jwt-algorithms", "none"], "TAILRACE_JWT_ALGORITHMS", "EdDSA"),
        (&["--jwt-secret", SECRET, "--jwt-leeway", "11m"], "TAILRACE_JWT_LEEWAY", "10m"),
        (
            &["--jwt-secret", SECRET, "--jwt-tenant-claim", "/a~2"],
            "TAILRACE_JWT_TENANT_CLAIM",
            "JSON pointer",
        ),
        (&["--jwt-secret", SECRET, "--jwt-cookie", "a b"], "TAILRACE_JWT_COOKIE", "name of a cookie"),
        (
            &["--jwt-secret", SECRET, "--jwt-cookie", "s", "--cors-origins", "*"],
            "TAILRACE_CORS_ORIGINS",
            "every page",
        ),
    ];
    for (flags, variable, part) in cases {
        let error = args(flags).settings().err().unwrap_or_else(|| panic!("{flags:?} were taken"));
        assert_eq!(error.variable, variable, "{flags:?}");
        let text = error.to_string();
        assert!(text.contains(part) && !text.contains("secret@"), "{text}");
    }
}

#[test]
fn what_is_set_beside_no_authentication_is_said() {
    let doubts = |flags: &[&str]| {
        args(&[&["--auth", "none", "--listen", "127.0.0.1:0"], flags].concat()).settings().unwrap().doubts()
    };
    assert_eq!(doubts(&[]), Vec::<String>::new());
    let said = doubts(&["--jwt-jwks-url", "https://issuer.example/keys", "--jwt-secret", SECRET]);
    assert!(said[0].starts_with("TAILRACE_JWT_SECRET, TAILRACE_JWT_JWKS_URL is set"), "{said:?}");
    let plain = args(&["--jwt-jwks-url", "http://issuer.example/keys"]).settings().unwrap().doubts();
    assert!(plain.iter().any(|doubt| doubt.contains("https is safe")), "{plain:?}");
}
