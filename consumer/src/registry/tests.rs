//! The registry against a small HTTP server that does what it is told.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use tailrace_formats::Options;
use tailrace_formats::confluent::SchemaId;

use super::server::{Reply, Server, UNKNOWN, found, json};
use super::{Look, Registry, Schema};
use crate::clock::now_millis;
use crate::settings::{Login, RegistrySettings, Secret};

const PATIENCE: Duration = Duration::from_secs(20);

fn settings(urls: &[String], login: Login) -> RegistrySettings {
    let urls = urls.iter().map(|url| url.parse().expect("a URL")).collect();
    RegistrySettings { urls, login, authorities: Vec::new() }
}

fn registry(urls: &[String]) -> Registry {
    Registry::start(&settings(urls, Login::None), Options::default()).expect("started")
}

const ID: SchemaId = SchemaId::Id(17);

/// Looks, for a record of now, until it is not pending.
fn settled(registry: &Registry, id: SchemaId) -> Look {
    let (timestamp, until) = (now_millis(), Instant::now() + PATIENCE);
    loop {
        let answers = registry.answers();
        match registry.look(id, timestamp) {
            Look::Pending if Instant::now() < until => registry.wait(answers, Duration::from_millis(50)),
            look => return look,
        }
    }
}

/// That it is pending for so long, and why.
fn pending(registry: &Registry, time: Duration) -> String {
    let until = Instant::now() + time;
    while Instant::now() < until {
        let look = registry.look(ID, now_millis());
        assert!(matches!(look, Look::Pending), "{look:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    registry.why(ID)
}

#[test]
fn a_schema_is_asked_for_once_below_the_path_of_the_address() {
    let server = Server::start(|_| found());
    let registry = registry(&[server.url()]);
    for _ in 0..3 {
        assert!(matches!(settled(&registry, ID), Look::Found(found) if matches!(found.schema, Schema::Json)));
    }
    let guid = SchemaId::Guid([
        0x89, 0x79, 0x17, 0x62, 0x23, 0x36, 0x41, 0x86, 0x96, 0x74, 0x29, 0x9b, 0x90, 0xa8, 2, 0xe2,
    ]);
    assert!(matches!(settled(&registry, guid), Look::Found(_)));
    assert_eq!(
        server.asked(),
        [
            "/apis/ccompat/v7/schemas/ids/17?fetchMaxId=false",
            "/apis/ccompat/v7/schemas/guids/89791762-2336-4186-9674-299b90a802e2",
        ]
    );
}

#[test]
fn nothing_that_is_no_answer_of_a_registry_makes_a_schema_unknown() {
    let huge = "x".repeat(super::client::MAX_ANSWER + 1);
    for (reply, why) in [
        (json(401, "{}"), "refuses these credentials (status 401)"),
        (json(403, "{}"), "refuses these credentials (status 403)"),
        (json(500, r#"{"error_code":50001}"#), "answers with the status 500"),
        (json(503, "{}"), "answers with the status 503"),
        (json(302, ""), "redirects (status 302)"),
        (json(404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#), "answers as no registry does"),
        (Reply(404, "text/html", "not here".to_owned()), "answers as no registry does"),
        (Reply(200, "text/html", huge), "answers as no registry does"),
        (Reply(200, "text/html", "<html>log in</html>".to_owned()), "answers as no registry does"),
        (json(200, r#"{"schema":"{}"#), "answers as no registry does"),
        (json(200, r#"{"error_code":40403}"#), "answers as no registry does"),
    ] {
        let server = Server::start(move |_| reply.clone());
        let why_not = pending(&registry(&[server.url()]), Duration::from_millis(700));
        assert!(why_not.contains(why), "{why_not}");
        let asked = server.asked().len();
        assert!((2..=6).contains(&asked), "asked {asked} times: {why}");
        assert!(server.asked().iter().all(|path| path.contains("/schemas/ids/17")), "{:?}", server.asked());
    }
}

#[test]
fn a_registry_that_is_down_is_asked_until_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let (address, url) =
        (listener.local_addr().expect("bound"), format!("http://{}", listener.local_addr().expect("bound")));
    drop(listener);
    let registry = registry(&[url]);
    let why = pending(&registry, Duration::from_millis(500));
    assert!(why.starts_with("schema 17 is not known: the schema registry at 127.0.0.1:"), "{why}");
    assert!(why.contains("does not answer") && registry.has_failed(ID), "{why}");
    let _server = Server::at(TcpListener::bind(address).expect("the port is free"), |_| found());
    assert!(matches!(settled(&registry, ID), Look::Found(_)));
    assert!(!registry.has_failed(ID));
}

#[test]
fn a_registry_that_goes_away_keeps_what_it_gave() {
    let server = Server::start(|_| found());
    let registry = registry(&[server.url()]);
    assert!(matches!(settled(&registry, ID), Look::Found(_)));
    drop(server);
    assert!(matches!(registry.look(ID, now_millis()), Look::Found(_)));
}

#[test]
fn an_id_that_appears_a_second_later_is_found() {
    let server = Server::start(|request| if request.before < 2 { json(404, UNKNOWN) } else { found() });
    let registry = registry(&[server.url()]);
    let begun = Instant::now();
    assert!(matches!(settled(&registry, ID), Look::Found(_)));
    assert!(begun.elapsed() >= Duration::from_millis(1_900), "{:?}", begun.elapsed());
}

#[test]
fn an_id_that_never_appears_is_unknown_ten_seconds_after_the_record_and_not_before() {
    let server = Server::start(|_| json(404, UNKNOWN));
    let registry = registry(&[server.url()]);
    let begun = Instant::now();
    let old = now_millis() - 3_600_000;
    assert!(matches!(settled(&registry, ID), Look::Unknown));
    assert!((9_900..12_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert!(matches!(registry.look(ID, old), Look::Unknown));
}

#[test]
fn an_id_is_unknown_only_where_every_address_says_so() {
    let follower = Server::start(|_| json(404, UNKNOWN));
    let leader = Server::start(|_| found());
    let both = registry(&[follower.url(), leader.url()]);
    assert!(matches!(settled(&both, ID), Look::Found(_)));
    let old = now_millis() - 3_600_000;
    let broken = Server::start(|_| json(500, "{}"));
    let both = registry(&[follower.url(), broken.url()]);
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        assert!(matches!(both.look(ID, old), Look::Pending));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(both.why(ID).contains("status 500"), "{}", both.why(ID));
}

#[test]
fn addresses_are_tried_in_their_order() {
    let first = Server::start(|_| found());
    let second = Server::start(|_| found());
    let both = registry(&[first.url(), second.url()]);
    assert!(matches!(settled(&both, ID), Look::Found(_)));
    assert_eq!((first.asked().len(), second.asked().len()), (1, 0));
    drop(first);
    assert!(matches!(settled(&both, SchemaId::Id(18)), Look::Found(_)));
    assert_eq!(second.asked().len(), 1);
}

#[test]
fn a_schema_comes_with_all_that_it_refers_to() {
    let server = Server::start(|request| {
        let path = request.path.strip_prefix("/apis/ccompat/v7").unwrap_or_default();
        let message =
            |name: &str, import: &str| format!("syntax = \\\"proto3\\\"; {import} message {name} {{}}");
        let import = |name: &str| format!("import \\\"{name}\\\";");
        let reference = |name: &str| format!(r#"[{{"name":"{name}","subject":"s/{name}","version":3}}]"#);
        let answer = |text: String, references: &str| {
            json(200, format!(r#"{{"schema":"{text}","schemaType":"PROTOBUF","references":{references}}}"#))
        };
        match path {
            "/schemas/ids/17?fetchMaxId=false" => {
                answer(message("A", &import("b.proto")), &reference("b.proto"))
            }
            "/subjects/s%2Fb.proto/versions/3?deleted=true" => {
                answer(message("B", &import("c.proto")), &reference("c.proto"))
            }
            "/subjects/s%2Fc.proto/versions/3?deleted=true" => answer(message("C", ""), "null"),
            _ => json(500, "{}"),
        }
    });
    let registry = registry(&[server.url()]);
    let look = settled(&registry, ID);
    assert!(matches!(&look, Look::Found(found) if matches!(found.schema, Schema::Protobuf(_))), "{look:?}");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn references_in_a_circle_have_an_end() {
    let server = Server::start(|request| {
        let name = if request.path.contains("ids/17") { "a" } else { "b" };
        json(
            200,
            format!(r#"{{"schema":"{{}}","references":[{{"name":"{name}","subject":"s","version":1}}]}}"#),
        )
    });
    let look = settled(&registry(&[server.url()]), ID);
    assert!(matches!(&look, Look::Found(found) if matches!(found.schema, Schema::Bad(_))), "{look:?}");
    assert!(server.asked().len() <= 4, "{:?}", server.asked());
}

#[test]
fn a_schema_that_cannot_be_used_is_found_and_bad() {
    for reply in [
        json(200, r#"{"schema":"{\"type\":\"recrod\"}"}"#),
        json(200, r#"{"schema":"message X {","schemaType":"PROTOBUF"}"#),
        json(200, r#"{"schema":"x","schemaType":"THRIFT"}"#),
        json(200, format!(r#"{{"schema":"{}"}}"#, "x".repeat(super::client::MAX_ANSWER))),
    ] {
        let server = Server::start(move |_| reply.clone());
        let look = settled(&registry(&[server.url()]), ID);
        assert!(matches!(&look, Look::Found(found) if matches!(found.schema, Schema::Bad(_))), "{look:?}");
    }
}

#[test]
fn a_slow_registry_holds_up_nothing_but_its_own_schema() {
    let server = Server::start(|request| {
        if request.path.contains("/17") {
            std::thread::sleep(Duration::from_secs(2));
        }
        found()
    });
    let registry = registry(&[server.url()]);
    let begun = Instant::now();
    assert!(matches!(registry.look(ID, now_millis()), Look::Pending));
    assert!(matches!(settled(&registry, SchemaId::Id(18)), Look::Found(_)));
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert!(matches!(settled(&registry, ID), Look::Found(_)));
    drop(registry);
}

#[test]
fn a_registry_is_told_who_asks() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "t0ken\n").expect("written");
    let server = Server::start(|request| {
        match request.authorization.as_deref() {
            // `user:pass`
            Some("Basic dXNlcjpwYXNz" | "Bearer t0ken" | "Bearer t1ken") => found(),
            _ => json(401, "{}"),
        }
    });
    let basic = Login::Basic { user: "user".to_owned(), password: Secret::Text("pass".to_owned()) };
    let bearer = Login::Bearer(Secret::File(file.path().to_owned()));
    for login in [basic, bearer] {
        let registry =
            Registry::start(&settings(&[server.url()], login), Options::default()).expect("started");
        assert!(matches!(settled(&registry, ID), Look::Found(_)));
        // A token that was replaced is used from then on, and a file that is gone is waited for.
        std::fs::write(file.path(), "t1ken\n").expect("written");
        assert!(matches!(settled(&registry, SchemaId::Id(18)), Look::Found(_)));
    }
    let gone = Login::Bearer(Secret::File("/nowhere/token".into()));
    let registry = Registry::start(&settings(&[server.url()], gone), Options::default()).expect("started");
    let why = pending(&registry, Duration::from_millis(300));
    assert!(why.contains("the file of the token: it cannot be read"), "{why}");
}
