//! The console, the boards of the demo, and the client module: files of the binary, and the names that the console offers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rust_embed::{Embed, EmbeddedFile};
use serde_json::json;

use crate::app::App;

/// The files of web/assets. A debug build reads them when they are asked for, so that a page can be edited while it is served.
#[derive(Embed)]
#[folder = "assets/"]
struct Assets;

/// What pages may do: run and show files of their own server, and send requests to it. Nothing that gets into a page, such as an
/// event's text, runs, and no page may embed them in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Windows that other pages open of these, and requests of theirs for them, get nothing of them.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
/// The most topics of one response. A longer list is of no use to choose from, and anybody may request it as often as they
/// like.
const MAX_TOPICS: usize = 1000;
/// The boards of the demo: the ends of their paths, and their titles.
const BOARDS: [(&str, &str); 4] =
    [("orders", "Orders"), ("metrics", "Metrics"), ("logs", "Logs"), ("notifications", "Notifications")];

/// Adds the routes of the console, and of the boards where the server is the demo.
pub(crate) fn add_to(router: Router<Arc<App>>, is_demo: bool) -> Router<Arc<App>> {
    let router = router
        .route("/", get(console))
        .route("/console.json", get(names))
        .route("/assets/{*path}", get(asset));
    match is_demo {
        true => router
            .route("/demo", get(async || Redirect::to("demo/orders")))
            .route("/demo/{board}", get(board)),
        false => router,
    }
}

/// Whether there is something at this path where the console is served.
pub(crate) fn has(path: &str) -> bool {
    matches!(path, "/" | "/console.json") || path.starts_with("/assets/")
}

async fn console(headers: HeaderMap) -> Response<Body> {
    page("console/index.html", &headers)
}

async fn board(Path(board): Path<String>, headers: HeaderMap) -> Response<Body> {
    match BOARDS.iter().any(|(name, _)| *name == board) {
        true => page(&format!("demo/{board}.html"), &headers),
        false => no_file(),
    }
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response<Body> {
    let mut response = file(&path, &headers);
    response.headers_mut().insert(RESOURCE_POLICY, SAME_ORIGIN);
    response
}

/// Pages of other origins import it, as far as CORS allows them to.
pub(crate) async fn module(headers: HeaderMap) -> Response<Body> {
    file("tailrace.js", &headers)
}

fn page(path: &str, asked: &HeaderMap) -> Response<Body> {
    let mut response = file(path, asked);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, SAME_ORIGIN);
    headers.insert(RESOURCE_POLICY, SAME_ORIGIN);
    response
}

/// A file, or its absence. A browser asks again each time, and gets the content only if it is another one.
fn file(path: &str, asked: &HeaderMap) -> Response<Body> {
    let Some(EmbeddedFile { data, metadata }) = Assets::get(path) else { return no_file() };
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&metadata.sha256_hash()[..12]));
    let is_known = asked.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = Response::new(if is_known { Body::empty() } else { Body::from(data) });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_str(&tag).expect("base64 is ASCII"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn no_file() -> Response<Body> {
    (StatusCode::NOT_FOUND, "there is no such file\n").into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

/// The topics that are served, the tenants and the boards that the program offers, and what the console starts with. Where tokens
/// are required, topics and tenants are empty: the page needs no token, so anybody can read these names.
async fn names(State(app): State<Arc<App>>) -> Response<Body> {
    let (mut topics, mut tenants) = (Vec::new(), &[][..]);
    if app.settings.is_open() {
        topics = app.bridge.topics();
        tenants = &app.settings.demo_tenants;
    }
    let topics: Vec<&str> = topics.iter().take(MAX_TOPICS).map(|topic| &**topic.name()).collect();
    let start = tenants.first().map(|tenant| json!({ "tenant": tenant }));
    let is_demo = !app.settings.demo_tenants.is_empty();
    let boards = BOARDS.iter().filter(|_| is_demo);
    let boards: Vec<_> =
        boards.map(|(name, title)| json!({ "path": format!("demo/{name}"), "title": title })).collect();
    let offered = json!({ "topics": topics, "tenants": tenants, "boards": boards, "start": start });
    let mut response = Response::new(Body::from(offered.to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, SAME_ORIGIN);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> impl Iterator<Item = (String, String)> {
        Assets::iter().filter(|path| path.ends_with(".html")).map(|path| {
            let text = Assets::get(&path).unwrap().data;
            (path.to_string(), String::from_utf8(text.into_owned()).unwrap())
        })
    }

    #[test]
    fn pages_have_nothing_that_the_policy_would_block() {
        assert!(!POLICY.contains("unsafe") && pages().count() > BOARDS.len());
        for (path, page) in pages() {
            // These would be blocked, and nobody would notice but the reader of a browser's log.
            for inline in
                [" style=\"", " onclick=", " onload=", "javascript:", "<style", "<script>", "https://"]
            {
                let in_link = inline == "https://" && page.contains("href=\"https://");
                assert!(!page.contains(inline) || in_link, "{path}: {inline}");
            }
        }
    }

    #[test]
    fn every_file_that_a_page_asks_for_is_there_with_its_type() {
        for (path, page) in pages() {
            let asked: Vec<&str> = page
                .split(['"', '\''])
                .filter_map(|text| text.trim_start_matches(['.', '/']).strip_prefix("assets/"))
                .collect();
            assert!(!asked.is_empty(), "{path} has no files");
            for name in asked {
                assert!(Assets::get(name).is_some(), "{path}: {name} is missing");
                assert_ne!(content_type(name), "text/plain; charset=utf-8", "{path}: {name}");
            }
        }
    }

    #[test]
    fn every_board_has_its_page() {
        for (name, _) in BOARDS {
            assert!(Assets::get(&format!("demo/{name}.html")).is_some(), "{name}");
        }
    }

    #[test]
    fn a_file_that_a_browser_has_is_not_sent_again() {
        let first = file("tailrace.js", &HeaderMap::new());
        let asked = HeaderMap::from_iter([(IF_NONE_MATCH, first.headers()[ETAG].clone())]);
        let (again, missing) = (file("tailrace.js", &asked), file("../Cargo.toml", &asked));
        assert_eq!((first.status(), again.status()), (StatusCode::OK, StatusCode::NOT_MODIFIED));
        assert_eq!(
            (&again.headers()[ETAG], missing.status()),
            (&first.headers()[ETAG], StatusCode::NOT_FOUND)
        );
    }
}
