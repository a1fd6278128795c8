//! What must hold for any request: its parameters, the token in its headers, and the header of that token. Run by the fuzz
//! targets, and over the corpus by a plain test.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::header::{AUTHORIZATION, COOKIE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;
use tailrace_bridge::{Envelope, Filter, StartFrom, TenantId};
use tailrace_web::{
    KeyRing, ParameterError, ReadParameters, SourceError, TokenError, TokenSources, Tries, read_parameters,
};

/// The parameters that are documented.
const PARAMETERS: [&str; 11] = [
    "topic",
    "type",
    "key",
    "where",
    "from",
    "conflate",
    "last_event_id",
    "envelope",
    "heartbeat",
    "retry",
    "access_token",
];
/// Those that may be given once.
const SINGLE: [&str; 6] = ["from", "conflate", "last_event_id", "envelope", "retry", "access_token"];

type Pairs = Vec<(String, String)>;

/// The first line is a query string, the second the header `Last-Event-ID`. A request is what its parameters say, however they
/// are encoded and in whatever order those of different names come; one that is refused is refused at one of its parameters.
pub(crate) fn parameters(input: &[u8]) {
    let split = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let Ok(query) = std::str::from_utf8(&input[..split]) else { return };
    let header = input.get(split + 1..).unwrap_or_default();
    let Ok(header) = HeaderValue::from_bytes(header) else { return };
    let pairs = decoded(query);
    match (read(query, &header), &pairs) {
        (Ok(read), Some(pairs)) => is_what_was_asked(&read, pairs, &header),
        (Ok(_), None) => panic!("bytes that are no text were taken: {query:?}"),
        (Err(error), _) => is_at_a_parameter(&error, query, pairs.as_ref()),
    }
    if let Some(pairs) = pairs {
        is_the_same_in_other_words(query, pairs, &header);
    }
}

fn read(query: &str, header: &HeaderValue) -> Result<ReadParameters, ParameterError> {
    let headers = HeaderMap::from_iter([(HeaderName::from_static("last-event-id"), header.clone())]);
    read_parameters(query, &headers, TenantId::new("acme").expect("a tenant"))
}

/// Form encoding by the URL standard, with no code of the server. `None`: something in it is not UTF-8.
fn decoded(query: &str) -> Option<Pairs> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| Some((form_decoded(name)?, form_decoded(value)?))).collect()
}

fn form_decoded(text: &str) -> Option<String> {
    let mut rest = text.as_bytes();
    let mut bytes = Vec::new();
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match (first, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after;
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("ASCII");
                u8::from_str_radix(digits, 16).expect("two digits")
            }
            _ => *first,
        });
    }
    String::from_utf8(bytes).ok()
}

fn all<'a>(pairs: &'a Pairs, name: &str) -> Vec<&'a str> {
    pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect()
}

fn owned(values: Vec<&str>) -> Vec<String> {
    values.into_iter().map(str::to_owned).collect()
}

fn is_what_was_asked(read: &ReadParameters, pairs: &Pairs, header: &HeaderValue) {
    let all = |name: &str| all(pairs, name);
    assert!(pairs.iter().all(|(name, _)| PARAMETERS.contains(&&**name)), "{pairs:?}");
    assert!(SINGLE.iter().all(|name| all(name).len() <= 1), "{pairs:?}");
    assert!(PARAMETERS.iter().all(|name| all(name).len() <= 256));
    let request = &read.request;
    assert_eq!((request.tenant.as_str(), request.unmasked), ("acme", false));

    let mut topics: Vec<&str> = Vec::new();
    for topic in all("topic") {
        assert!(!topic.is_empty() && !topic.contains(','), "{topic:?}");
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    assert_eq!(request.topics, topics);
    let filter = Filter::parse(&owned(all("type")), &owned(all("key")), &owned(all("where")));
    assert_eq!(filter.as_ref(), Ok(&request.filter));
    let from = all("from").first().map_or(Ok(StartFrom::Latest), |text| text.parse());
    assert_eq!(from.as_ref(), Ok(&request.from));
    assert_eq!(request.conflate, !all("conflate").is_empty());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    if let StartFrom::Time(millis) = request.from {
        let time = Duration::from_millis(millis.try_into().expect("it is never negative"));
        assert!(time <= now + Duration::from_secs(61), "{time:?}");
    }
    let envelope = all("envelope").first().map_or(Ok(Envelope::None), |text| text.parse());
    assert_eq!(envelope, Ok(request.envelope));

    let id = String::from_utf8_lossy(header.as_bytes()).into_owned();
    let id = if id.is_empty() { all("last_event_id").first().copied().unwrap_or_default() } else { &id };
    assert_eq!(request.last_event_id.as_deref().unwrap_or_default(), id);
    assert_ne!(request.last_event_id.as_deref(), Some(""));
    assert_eq!(read.access_token.as_deref(), all("access_token").first().copied());
    assert!((1..=3600).contains(&read.heartbeat.as_secs()), "{:?}", read.heartbeat);
    assert_eq!(read.heartbeat_event, all("heartbeat").contains(&"event"));
    assert!((10..=3_600_000).contains(&read.retry.as_millis()), "{:?}", read.retry);
}

fn is_at_a_parameter(error: &ParameterError, query: &str, pairs: Option<&Pairs>) {
    // An answer, and a line of the log, is bounded by the request.
    assert!(error.detail.len() <= 1000 + 12 * query.len(), "{} bytes", error.detail.len());
    assert!(!error.detail.contains(['\n', '\r']), "{:?}", error.detail);
    let Some(pairs) = pairs else { return };
    let values = all(pairs, &error.name);
    let Some(value) = values.get(error.index) else {
        panic!("{} has no value {}: {query:?}", error.name, error.index);
    };
    if let Some(column) = error.column {
        assert!((1..=value.chars().count() + 1).contains(&column), "column {column} of {value:?}");
    }
}

/// Every byte escaped, those of one name together.
fn is_the_same_in_other_words(query: &str, mut pairs: Pairs, header: &HeaderValue) {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let written = |pairs: &Pairs| {
        let pairs = pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
        pairs.collect::<Vec<_>>().join("&")
    };
    let same = read(&written(&pairs), header);
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    let sorted = read(&written(&pairs), header);
    match (read(query, header), same, sorted) {
        (Ok(read), Ok(same), Ok(sorted)) => {
            assert_eq!(format!("{read:?}"), format!("{same:?}"));
            assert_eq!(format!("{read:?}"), format!("{sorted:?}"));
            is_refused_with_one_more(query, &pairs, header);
        }
        (Err(error), Err(same), Err(_)) => {
            assert_eq!((error.name, error.index, error.column), (same.name, same.index, same.column));
        }
        (read, same, sorted) => panic!("{query:?} is read in different ways: {read:?}, {same:?}, {sorted:?}"),
    }
}

fn is_refused_with_one_more(query: &str, pairs: &Pairs, header: &HeaderValue) {
    let error = read(&format!("{query}&colour=1"), header).expect_err("it is no parameter");
    assert_eq!(error.name, "colour");
    for name in SINGLE.into_iter().filter(|name| !all(pairs, name).is_empty()) {
        let error = read(&format!("{query}&{name}="), header).expect_err("it may be given once");
        assert_eq!((error.name.as_str(), error.index), (name, 1));
    }
}

/// A token of somebody else, which no input has.
const OTHER: &str = "5d1f0e7ac3b29846e0f1a7d2c4b39685";

/// Each line is a header, or, after a `?`, the value of `access_token=`. A token is a part of what was sent: of the header
/// `Authorization` if there is one, else the parameter, else the cookie of the right name, where a page may send that. What
/// else is sent before or after does not change it, and no message repeats it.
pub(crate) fn credentials(input: &[u8]) {
    let mut headers = HeaderMap::new();
    let mut parameter = None;
    for line in input.split(|byte| *byte == b'\n') {
        if let Some(value) = line.strip_prefix(b"?") {
            parameter = std::str::from_utf8(value).ok();
        } else if let Some((name, value)) = header_of(line) {
            headers.append(name, value);
        }
    }
    for query in [true, false] {
        for cookie in [Some("session"), None] {
            let sources = TokenSources {
                query,
                cookie: cookie.map(str::to_owned),
                origins: "https://app.example, http://localhost:*".parse().expect("two origins"),
            };
            takes_one_token(&sources, &headers, parameter);
        }
    }
}

fn header_of(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}

fn request(headers: &HeaderMap, more: &[(&'static str, &'static str)]) -> Parts {
    let (mut parts, ()) = Request::builder().uri("/events").body(()).expect("a request").into_parts();
    parts.headers = headers.clone();
    for (name, value) in more {
        parts.headers.append(*name, HeaderValue::from_static(value));
    }
    parts
}

fn takes_one_token(sources: &TokenSources, headers: &HeaderMap, parameter: Option<&str>) {
    let sent = request(headers, &[]);
    let taken = sources.token(&sent, parameter);
    let authorization: Vec<&HeaderValue> = sent.headers.get_all(AUTHORIZATION).iter().collect();
    match (&authorization[..], parameter) {
        ([], None) => takes_a_cookie_if_any(sources, headers, &sent),
        ([], Some(parameter)) if sources.query => assert_eq!(taken, Ok(parameter)),
        ([], Some(_)) => assert_eq!(taken, Err(SourceError::Query)),
        ([one], _) => {
            assert_eq!(taken.as_deref().ok(), bearer(one));
            let alone = HeaderMap::from_iter([(AUTHORIZATION, (*one).clone())]);
            assert_eq!(sources.token(&request(&alone, &[]), None), taken, "it alone decides");
        }
        _ => assert_eq!(taken, Err(SourceError::Repeated)),
    }
    // One more header is never the second of two that may be chosen from.
    let with_other =
        request(headers, &[("authorization", "Bearer 5d1f0e7ac3b29846e0f1a7d2c4b39685"), ("x-other", "a")]);
    let expected = if authorization.is_empty() { Ok(OTHER) } else { Err(SourceError::Repeated) };
    assert_eq!(sources.token(&with_other, parameter), expected);
}

/// RFC 6750, section 2.1: the scheme, whose case does not matter, a space, and the token.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let is_scheme = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    (is_scheme && text.is_ascii()).then(|| text[7..].trim())
}

fn takes_a_cookie_if_any(sources: &TokenSources, headers: &HeaderMap, sent: &Parts) {
    let taken = sources.token(sent, None);
    if let Ok(token) = taken {
        assert!(sources.cookie.is_some() && !token.is_empty());
        let values = cookies(&sent.headers);
        assert!(!values.is_empty() && values.iter().all(|value| *value == token.as_bytes()), "{values:?}");
    }
    if let Err(error) = &taken {
        assert!(!matches!(error, SourceError::Repeated | SourceError::NotBearer | SourceError::Query));
    }
    let mut among_others = headers.clone();
    among_others.remove(COOKIE);
    for line in sent.headers.get_all(COOKIE) {
        let line =
            ["city=Zürich; ".as_bytes(), line.as_bytes(), b"; sessions=x; =; Session=y; session"].concat();
        among_others.append(COOKIE, HeaderValue::from_bytes(&line).expect("no control characters"));
    }
    assert_eq!(sources.token(&request(&among_others, &[]), None), taken, "other cookies change nothing");

    let with_other = request(headers, &[("cookie", "session=5d1f0e7ac3b29846e0f1a7d2c4b39685")]);
    match sources.token(&with_other, None) {
        Ok(token) => assert!(token == OTHER && taken != Ok(token), "of two cookies, one was taken"),
        Err(error) => assert!(!error.to_string().contains(OTHER), "{error}"),
    }
    if sent.headers.get_all(HOST).iter().all(|host| host != "evil.example") {
        let of_another_page = request(headers, &[("origin", "https://evil.example")]);
        assert!(sources.token(&of_another_page, None).is_err(), "another site has used the cookie");
    }
    if sources.cookie.is_none() {
        assert!(matches!(taken, Err(SourceError::Missing(_))));
    }
}

/// The values of all cookies of the name, as bytes (RFC 6265, section 5.4): other cookies may have any.
fn cookies(headers: &HeaderMap) -> Vec<&[u8]> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    let values = pairs.filter_map(|pair| pair.strip_prefix(b"session="));
    values
        .map(|value| value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
        .collect()
}

/// Public keys of three kinds.
const KEY_SET: &str = r#"{"keys":[
{"kty":"EC","crv":"P-256","kid":"ec","x":"j-tY5ER-dK4-qUIkOSkYQtR0cjInrAzbbUkZc4tzUn8","y":"gyREaukMwHGoJG7oQKIIp-Ojw06tSU3HZAArf7Dajjk"},
{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"HLzYzXcURk1QPlJK1WajVzcC7iHarcAAKNJay4VXnQ8"},
{"kty":"RSA","e":"AQAB","n":"koNgZWQxAouuY7JREzTboyYFoBQ7oEbRav5pDXEJteH7bLuO37ddTcLEYATrjW3x3v4-LNoWSuNbWdc2cjW11nCqRgorh4bGcDxwKPyXPeVfCc6U19Imx7rjtjBc1kN8g6JgFpTv3jnWnKAXhDjOGePC6nt79kTuJpdPfJT2p4lyxYcOumWBDj-X6c2Z6Ner-T8rAjp7rG5S79v8-mUgOKenvwAE9cWrxDnVShq8wz7_b72KQEgqGE7FftV-xpcibSgbqiHIc7OliiutiJOuEvjayGDSMfZ-23efBcDnt6Pz97_dpTXN36gTiKLuK3DHLfqsG4TbHyPvmFnsZKbMOw"}
]}"#;
/// More secrets than a token is tried with.
const SECRETS: usize = 40;
/// The most keys that a token is tried with.
const MAX_TRIES: usize = 16;
const ALGORITHMS: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
    "EdDSA",
];

static ALL_KEYS: LazyLock<KeyRing> = LazyLock::new(|| ring(&[]));
static ONE_ALGORITHM: LazyLock<KeyRing> = LazyLock::new(|| ring(&["ES256"]));

fn ring(algorithms: &[&str]) -> KeyRing {
    let secrets: Vec<String> = (0..SECRETS).map(secret).collect();
    KeyRing::parse(&secrets.join("\n"), KEY_SET, algorithms).expect("keys that can be used")
}

/// 64 bytes, which are enough for all three hashes.
fn secret(number: usize) -> String {
    format!("{number:02}-{}", "5d1f0e7ac3b29846e0f1a7d2c4b39685".repeat(2)).chars().take(64).collect()
}

/// A header of a token, in JSON. Whatever it says, the token is compared with a few keys of its algorithm and its `kid`, and is
/// verified only where it is signed with one of these; and a header that is refused is so for the reason that is said. Read as a
/// whole token, it is none.
pub(crate) fn token_header(input: &[u8]) {
    if let Ok(Ok(tries)) = std::str::from_utf8(input).map(|token| ALL_KEYS.tries(token)) {
        are_few_and_fit(&tries);
        assert!(!tries.is_verified, "no key has signed it");
    }
    let header = serde_json::from_slice::<Value>(input).ok();
    let tries = ALL_KEYS.tries(&signed(input, secret(0).as_bytes()));
    match (&tries, &header) {
        (Ok(tries), Some(header)) => {
            is_of_the_header(tries, header);
            are_few_and_fit(tries);
            assert_eq!(tries.is_verified, tries.algorithm == "HS256", "{header}");
            no_public_key_is_a_secret(input);
            the_configured_algorithms_bound_those_of_the_header(input, tries);
            members_that_name_keys_are_ignored(header, tries);
            repeated_and_critical_members_are_refused(input);
        }
        (Ok(_), None) => panic!("what is no JSON was read"),
        (Err(error), header) => is_the_reason(*error, input, header.as_ref()),
    }
}

/// A token with that header and an empty payload, signed as by HS256.
fn signed(header: &[u8], secret: &[u8]) -> String {
    let message = format!("{}.e30", URL_SAFE_NO_PAD.encode(header));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.expect("any bytes can be signed"))
}

fn is_of_the_header(tries: &Tries, header: &Value) {
    assert_eq!(header["alg"], tries.algorithm);
    assert_eq!(header.get("kid").map(|id| id.as_str().expect("text")), tries.key_id.as_deref());
    assert!(header.get("crit").is_none());
    assert!(has_known_type(header), "{header}");
}

fn has_known_type(header: &Value) -> bool {
    let Some(typ) = header.get("typ") else { return true };
    let known = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];
    typ.as_str().is_some_and(|typ| known.iter().any(|known| known.eq_ignore_ascii_case(typ)))
}

fn are_few_and_fit(tries: &Tries) {
    assert!(ALGORITHMS.contains(&tries.algorithm), "{}", tries.algorithm);
    assert!(tries.key_id.as_ref().is_none_or(|id| id.len() <= 1024));
    for (id, algorithms) in &tries.keys {
        assert!(algorithms.contains(&tries.algorithm), "{tries:?}");
        assert!(id.is_none() || tries.key_id.is_none() || *id == tries.key_id, "{tries:?}");
    }
    let is_key = |id: &str| tries.key_id.as_deref().is_none_or(|own| own == id);
    let expected = match tries.algorithm {
        "HS256" | "HS384" | "HS512" => MAX_TRIES,
        "ES256" => usize::from(is_key("ec")),
        "EdDSA" => usize::from(is_key("ed")),
        "ES384" => 0,
        _ => 1,
    };
    assert_eq!(tries.keys.len(), expected, "{tries:?}");
}

/// The attack in which a public key, which everybody has, is used as the secret of HMAC.
fn no_public_key_is_a_secret(header: &[u8]) {
    let set: Value = serde_json::from_str(KEY_SET).expect("JSON");
    let bytes = |key: usize, name: &str| {
        URL_SAFE_NO_PAD.decode(set["keys"][key][name].as_str().expect("text")).expect("base64url")
    };
    let point = [&[4][..], &bytes(0, "x"), &bytes(0, "y")].concat();
    for public in [point, bytes(1, "x"), bytes(2, "n"), KEY_SET.as_bytes().to_vec(), Vec::new()] {
        let tries = ALL_KEYS.tries(&signed(header, &public)).expect("it was read before");
        assert!(!tries.is_verified, "{tries:?}");
    }
}

fn the_configured_algorithms_bound_those_of_the_header(header: &[u8], tries: &Tries) {
    let bounded = ONE_ALGORITHM.tries(&signed(header, secret(0).as_bytes())).expect("it was read before");
    assert!(!bounded.is_verified && (bounded.keys.is_empty() || tries.algorithm == "ES256"), "{bounded:?}");
    assert!(bounded.keys.iter().all(|(_, algorithms)| *algorithms == ["ES256"]), "{bounded:?}");
}

fn members_that_name_keys_are_ignored(header: &Value, tries: &Tries) {
    let mut more = header.clone();
    for (name, value) in [
        ("jwk", serde_json::from_str(KEY_SET).expect("JSON")),
        ("jku", Value::from("https://evil.example/keys")),
        ("x5u", Value::from("file:///dev/zero")),
        ("x5c", Value::from(vec!["AAAA"])),
    ] {
        more[name] = value;
    }
    let same = ALL_KEYS.tries(&signed(more.to_string().as_bytes(), secret(0).as_bytes()));
    // With these, a header may be too long.
    assert!(same.as_ref() == Ok(tries) || same == Err(TokenError::TooLong), "{same:?}");
}

fn repeated_and_critical_members_are_refused(header: &[u8]) {
    let members = header.trim_ascii().strip_prefix(b"{").expect("it is an object");
    for (first, why) in
        [(&br#"{"alg":"none","#[..], TokenError::Unreadable), (br#"{"crit":["exp"],"#, TokenError::Critical)]
    {
        let token = signed(&[first, members].concat(), secret(0).as_bytes());
        let refused = ALL_KEYS.tries(&token).expect_err("it is not read");
        assert!(refused == why || refused == TokenError::TooLong, "{refused}");
    }
}

fn is_the_reason(error: TokenError, input: &[u8], header: Option<&Value>) {
    let member = |name: &str| header.and_then(|header| header.get(name));
    let algorithm = member("alg").and_then(Value::as_str);
    match error {
        TokenError::TooLong => assert!(input.len() > 8 * 1024),
        TokenError::Critical => assert!(member("crit").is_some()),
        TokenError::Type => assert!(!has_known_type(header.expect("it was read"))),
        TokenError::Algorithm => assert!(!ALGORITHMS.contains(&algorithm.expect("text"))),
        TokenError::Unreadable => {
            // What is written in one way only has no name twice, and cannot be read for a member alone.
            let is_plain = header.is_some_and(|header| header.to_string().as_bytes() == input);
            let is_key_id = |id: &Value| id.as_str().is_some_and(|id| id.len() <= 1024);
            assert!(!is_plain || algorithm.is_none() || !member("kid").is_none_or(is_key_id), "{header:?}");
        }
    }
}
