use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use axum::http::HeaderMap;
use clap::Parser;
use proptest::prelude::*;
use tailrace_bridge::Framing;

use super::events::EVENTS;
use super::*;
use crate::problem::ProblemCode;
use crate::query::{PARAMETERS, Raw, Values};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    web: crate::Args,
}

const JWT: [&str; 5] =
    ["--auth", "jwt", "--jwt-secret", "a secret that is long enough for HS256", "--jwt-cookie"];

fn settings(flags: &[&str]) -> WebSettings {
    Cli::parse_from(["tailrace"].iter().chain(flags)).web.settings().unwrap()
}

/// A server with tokens, by all ways.
fn with_tokens() -> WebSettings {
    settings(&[&JWT[..], &["session"]].concat())
}

fn open() -> WebSettings {
    settings(&["--auth", "none"])
}

fn openapi(settings: &WebSettings) -> Value {
    openapi::document(&Server { settings, has_one_tenant: false })
}

fn asyncapi(settings: &WebSettings) -> Value {
    asyncapi::document(&Server { settings, has_one_tenant: false })
}

/// What a reference within the document leads to.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(target) => document.pointer(&target[1..]).unwrap_or_else(|| panic!("{target} leads nowhere")),
        None => value,
    }
}

/// The names of the query's parameters of a path.
fn names(document: &Value, path: &str) -> Vec<String> {
    let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
    let parameters = parameters.iter().map(|parameter| resolved(document, parameter));
    let of_query = parameters.filter(|parameter| parameter["in"] == "query");
    of_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_route_has_its_parameters_and_no_other() {
    let document = openapi(&with_tokens());
    for route in Route::ALL {
        for path in [route.path().to_owned(), format!("{OF_TENANT}{}", route.path())] {
            let mut described = names(&document, &path);
            // The token is part of how requests are authenticated.
            let scheme = &document["components"]["securitySchemes"]["access_token"];
            assert_eq!((&scheme["type"], &scheme["in"]), (&json!("apiKey"), &json!("query")));
            described.push(scheme["name"].as_str().unwrap().to_owned());
            let own: Vec<&str> = route.parameters().map(|parameter| parameter.name).collect();
            assert_eq!(described, own, "{path}");
            assert!(own.iter().all(|name| Raw::split(&format!("{name}=1"), route).is_ok()), "{path}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_everything_is_referred_to() {
    for settings in [open(), with_tokens()] {
        for document in [openapi(&settings), asyncapi(&settings)] {
            let mut found = BTreeSet::new();
            references(&document, &mut found);
            assert!(found.len() > 20, "{found:?}");
            for target in &found {
                assert!(document.pointer(&target[1..]).is_some(), "{target} leads nowhere");
            }
            for (kind, members) in document["components"].as_object().unwrap() {
                let used = |name: &&String| {
                    kind == "securitySchemes" || found.contains(&format!("#/components/{kind}/{name}"))
                };
                let idle: Vec<&String> =
                    members.as_object().unwrap().keys().filter(|name| !used(name)).collect();
                assert!(idle.is_empty(), "{kind}: {idle:?}");
            }
        }
    }
}

/// The code of a package without its tests, as text.
fn sources(package: &str) -> Vec<String> {
    fn visit(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "description" {
                visit(&path, found);
            } else if name.ends_with(".rs") && !name.contains("tests") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src"), &mut found);
    found
}

#[test]
fn every_event_that_the_code_can_send_is_described_and_no_other() {
    // A file, attributes of spans, and the type of a CloudEvent that has none.
    const NO_EVENTS: [&str; 4] = ["tailrace.js", "tailrace.streams", "tailrace.tenant", "tailrace.record"];
    let mut sent = BTreeSet::new();
    for text in ["bridge", "web"].into_iter().flat_map(sources) {
        for rest in text.split("\"tailrace.").skip(1) {
            let (name, _) = rest.split_once('"').unwrap_or_default();
            if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                sent.insert(format!("tailrace.{name}"));
            }
        }
    }
    sent.retain(|name| !NO_EVENTS.contains(&&**name));
    assert_eq!(sent, EVENTS.iter().map(|event| event.name.to_owned()).collect());
}

#[test]
fn every_event_is_in_the_documentation_and_in_both_documents() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    let page = fs::read_to_string(path).unwrap();
    let table = page.split("### Control events").nth(1).and_then(|rest| rest.split("\n### ").next()).unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `tailrace")?.split(" | ").next());
    let documented: BTreeSet<String> = cells
        .flat_map(|cell| {
            format!("`tailrace{cell}").split(", ").map(|name| name.replace('`', "")).collect::<Vec<_>>()
        })
        .collect();
    let own: BTreeSet<String> = EVENTS.iter().map(|event| event.name.to_owned()).collect();
    assert_eq!(documented, own);
    let settings = with_tokens();
    let (open, asynchronous) = (openapi(&settings), asyncapi(&settings));
    for schema in ["StreamEvent", "StreamObject"] {
        let all = open["components"]["schemas"][schema]["oneOf"].as_array().unwrap();
        let named =
            all.iter().filter_map(|one| one["properties"]["event"]["const"].as_str()).map(str::to_owned);
        assert_eq!(named.collect::<BTreeSet<_>>(), own, "{schema}");
    }
    for (channel, more) in [("events", 1), ("webSocketOfTenant", 2)] {
        let messages = asynchronous["channels"][channel]["messages"].as_object().unwrap();
        assert!(
            own.iter().all(|name| messages.contains_key(name)) && messages.len() == own.len() + more,
            "{channel}"
        );
    }
}

#[test]
fn every_code_of_a_problem_is_described_with_its_status() {
    let document = openapi(&with_tokens());
    let mut described = BTreeSet::new();
    let refusals = document["components"]["responses"].as_object().unwrap().values();
    for response in refusals.filter(|refusal| refusal.get("content").is_some()) {
        let schema = &response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"];
        let codes = schema["code"]["enum"].as_array().unwrap().iter().map(|code| code.as_str().unwrap());
        described.extend(codes.map(|code| (schema["status"]["const"].as_u64().unwrap(), code.to_owned())));
    }
    let own = ProblemCode::all().map(|code| (u64::from(code.status().as_u16()), code.as_str().to_owned()));
    assert_eq!(described, own.collect());
}

#[test]
fn what_the_settings_rule_out_is_not_described() {
    let (open, tokens) = (openapi(&open()), openapi(&with_tokens()));
    assert!(open.get("security").is_none() && open["components"].get("securitySchemes").is_none());
    assert!(open["components"]["responses"].get("Unauthorized").is_none());
    assert!(open["paths"].get("/events").is_none() && tokens["paths"].get("/events").is_some());
    assert!(open["paths"].get("/console.json").is_some() && tokens["paths"].get("/console.json").is_none());
    let schemes = |document: &Value| {
        document["components"]["securitySchemes"].as_object().unwrap().keys().cloned().collect()
    };
    let all: Vec<String> = schemes(&tokens);
    assert_eq!(all, ["access_token", "bearer", "cookie"]);
    assert_eq!(tokens["components"]["securitySchemes"]["cookie"]["name"], "session");
    let header_only: Vec<String> =
        schemes(&openapi(&settings(&[&JWT[..4], &["--jwt-query", "off"]].concat())));
    assert_eq!(header_only, ["bearer"]);
    let one = Server { settings: &self::open(), has_one_tenant: true };
    let paths = openapi::document(&one)["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        paths,
        ["/asyncapi.json", "/console.json", "/events", "/openapi.json", "/records", "/topics", "/ws"]
    );
    let sealed = |document: &Value| {
        document["components"]["schemas"]["Topics"]["properties"]["topics"]["items"]["properties"]["partitions"]
            ["items"]["required"]
            == json!(["partition"])
    };
    assert!(!sealed(&tokens));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{}\n", "0123456789abcdef".repeat(4))).unwrap();
    let path = file.path().to_str().unwrap();
    assert!(sealed(&openapi(&settings(&["--auth", "none", "--id-key-file", path]))));
}

#[test]
fn defaults_are_those_of_the_server() {
    let flags = ["--auth", "none", "--heartbeat", "500ms", "--retry", "3s", "--envelope", "cloudevents"];
    let document = openapi(&settings(&flags));
    let parameter = |name: &str| document["components"]["parameters"][name]["schema"].clone();
    assert_eq!(parameter("heartbeat")["default"], json!(["500ms"]));
    // Whoever asks may have what the server has by itself.
    assert_eq!(parameter("heartbeat")["items"]["anyOf"][1]["x-minimum"], "500ms");
    assert_eq!(
        (&parameter("retry")["default"], &parameter("envelope")["default"]),
        (&json!("3s"), &json!("cloudevents"))
    );
    let document = openapi(&open());
    let default = |name: &str| document["components"]["parameters"][name]["schema"]["default"].clone();
    assert_eq!((default("envelope"), default("envelope_of_records")), (json!("none"), json!("record")));
    assert_eq!((default("limit"), default("heartbeat")), (json!(100), json!(["15s"])));
}

/// Whether the server takes these values of a parameter.
fn is_taken(query: &str, route: Route) -> bool {
    let settings = open();
    let read = || {
        let raw = Raw::split(query, route)?;
        let framing = raw.framing(route, &HeaderMap::new())?;
        let query = raw.read(&Defaults::of(&settings, route, framing))?;
        raw.last_event_id(&HeaderMap::new())?;
        raw.one(crate::query::ACCESS_TOKEN)?;
        if route == Route::Records {
            crate::records::Wanted::read(&raw, &query, &HeaderMap::new())?;
        }
        Ok::<(), crate::problem::Problem>(())
    };
    read().is_ok()
}

#[test]
fn defaults_bounds_and_words_are_taken_and_what_is_beyond_is_not() {
    let settings = open();
    for route in Route::ALL {
        let server = Server { settings: &settings, has_one_tenant: false };
        let defaults = server.defaults(route);
        for parameter in route.parameters() {
            let takes = |value: &str| is_taken(&format!("{}={value}", parameter.name), route);
            if let Some(default) = (parameter.default)(route, &defaults) {
                assert!(takes(&default), "{route:?}: {}={default}", parameter.name);
            }
            match &parameter.values {
                Values::Word(words) => {
                    assert!(words(route).iter().all(|word| takes(word)), "{route:?}: {}", parameter.name);
                    assert!(!takes("another"), "{}", parameter.name);
                }
                Values::Number(low, high) => {
                    assert!(takes(&low.to_string()) && takes(&high.to_string()));
                    assert!(!takes(&(low - 1).to_string()) && !takes(&(high + 1).to_string()));
                }
                Values::Time { bounds, word } => {
                    let (low, high) = bounds(&defaults);
                    let (low, high) = (low.as_millis() as u64, high.as_millis() as u64);
                    assert!(takes(&format!("{low}ms")) && takes(&format!("{high}ms")), "{}", parameter.name);
                    assert!(low == 0 || !takes(&format!("{}ms", low - 1)), "{}", parameter.name);
                    assert!(
                        !takes(&format!("{}ms", high + 1)) && word.is_none_or(takes),
                        "{}",
                        parameter.name
                    );
                }
                Values::Start => {
                    let words = parameters::schema(parameter, route, &defaults)["anyOf"][0]["enum"].clone();
                    let words: Vec<&str> =
                        words.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
                    assert!(words.iter().all(|word| takes(word)));
                    assert_eq!(takes("snapshot"), words.contains(&"snapshot"), "{route:?}");
                    let most = tailrace_bridge::StartFrom::MAX_LAST;
                    assert!(
                        takes(&format!("-{most}"))
                            && !takes(&format!("-{}", most + 1))
                            && takes(&format!("from={ID}")[5..])
                    );
                }
                Values::Text | Values::Topic | Values::Type | Values::Condition => {}
            }
        }
        let formats = Framing::ALL.into_iter().filter(|format| is_taken(&format!("format={format}"), route));
        let mut own = route.formats().to_vec();
        own.sort_by_key(|format| Framing::ALL.iter().position(|known| known == format));
        assert_eq!(formats.collect::<Vec<_>>(), own, "{route:?}");
    }
}

#[test]
fn what_may_be_given_several_times_is_taken_so_and_nothing_else_is() {
    for parameter in PARAMETERS {
        let route = parameter.routes[0];
        let value = match parameter.values {
            Values::Condition => "key=a",
            Values::Time { .. } => "5s",
            Values::Word(words) => words(route)[0],
            Values::Number(low, _) => &low.to_string(),
            Values::Start => "latest",
            Values::Text | Values::Topic | Values::Type => "a",
        };
        let times =
            |times: usize| is_taken(&vec![format!("{}={value}", parameter.name); times].join("&"), route);
        assert!(times(parameter.times), "{} is not taken {} times", parameter.name, parameter.times);
        assert!(!times(parameter.times + 1), "{} is taken more often", parameter.name);
    }
}

#[test]
fn codes_of_the_last_message_are_those_of_problems_that_pass_and_those_of_an_end() {
    use crate::end::{DRAIN_CODES, LAST_CODES, error_codes};
    let all: BTreeSet<&str> = error_codes().chain(DRAIN_CODES).collect();
    assert_eq!(all, LAST_CODES.into_iter().collect());
    let passing = crate::problem::PassingCode::ALL.map(crate::problem::PassingCode::as_str);
    assert!(passing.iter().all(|code| error_codes().any(|known| known == *code)));
}

proptest! {
    #[test]
    fn a_type_that_the_schema_takes_is_taken(name in "[a-z.]{1,12}|open|error|message|tailrace[.][a-z]{0,3}") {
        let is_other = matches!(&*name, "open" | "error") || name.starts_with("tailrace.");
        prop_assert_eq!(is_taken(&format!("type={name}"), Route::Events), !is_other);
    }
}
