//! Which pages of other origins may read streams.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, header};
use parking_lot::Mutex;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// A refused origin is logged at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// How long a browser may cache the response to a preflight.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// The list of allowed origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// `*`
    Any,
    Exact(String),
    /// `http://localhost:*`, stored without the colon and the star: any port, or none.
    AnyPort(String),
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Origins, String> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Origin::parse)
            .collect::<Result<_, _>>()
            .map(Origins)
    }
}

impl Origin {
    fn parse(text: &str) -> Result<Origin, String> {
        let accepted = || {
            format!(
                "{text:?} is not an origin, which is a scheme, a host and perhaps a port; accepted: a comma-separated list such as \
                 https://app.example.com, http://localhost:* or *"
            )
        };
        if text == "*" {
            return Ok(Origin::Any);
        }
        let (scheme, authority) = text.split_once("://").ok_or_else(accepted)?;
        let host_end = authority.strip_suffix(":*").unwrap_or(authority);
        let wrong = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@' | '*');
        if scheme.is_empty() || host_end.is_empty() || host_end.contains(wrong) || !text.is_ascii() {
            return Err(accepted());
        }
        let lower = text.to_ascii_lowercase();
        Ok(match lower.strip_suffix(":*") {
            Some(base) => Origin::AnyPort(base.to_owned()),
            None => Origin::Exact(lower),
        })
    }

    fn allows(&self, origin: &str) -> bool {
        match self {
            Origin::Any => true,
            Origin::Exact(exact) => exact == origin,
            Origin::AnyPort(base) => origin.strip_prefix(base.as_str()).is_some_and(is_port),
        }
    }
}

fn is_port(rest: &str) -> bool {
    match rest.strip_prefix(':') {
        None => rest.is_empty(),
        Some(port) => !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()),
    }
}

impl Origins {
    /// Whether the list has `*`.
    pub(crate) fn allows_any(&self) -> bool {
        self.0.contains(&Origin::Any)
    }

    pub(crate) fn allows(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.0.iter().any(|allowed| allowed.allows(&origin))
    }

    fn as_setting(&self) -> String {
        let text = |origin: &Origin| match origin {
            Origin::Any => "*".to_owned(),
            Origin::Exact(exact) => exact.clone(),
            Origin::AnyPort(base) => format!("{base}:*"),
        };
        self.0.iter().map(text).collect::<Vec<_>>().join(",")
    }
}

/// The layer around all routes, since pages must be able to read problem documents and refusals, too. `with_cookies`: pages of
/// these origins may send the cookies of their visitor.
pub(crate) fn layer(origins: Origins, with_cookies: bool) -> CorsLayer {
    let said = Arc::new(Mutex::new(None));
    let allow = AllowOrigin::predicate(move |origin, request| {
        let Ok(origin) = origin.to_str() else { return false };
        let allowed = origins.allows(origin);
        if !allowed && !is_own(origin, request) {
            say_refused(&origins, origin, &said);
        }
        allowed
    });
    CorsLayer::new()
        .allow_origin(allow)
        .allow_credentials(with_cookies)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("traceparent"),
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::IF_NONE_MATCH,
        ])
        .expose_headers([header::ETAG, header::RETRY_AFTER, header::WWW_AUTHENTICATE])
        .max_age(PREFLIGHT_AGE)
}

/// Whether the page comes from this server itself: it needs no permission, though browsers send its origin with some requests.
pub(crate) fn is_own(origin: &str, request: &Parts) -> bool {
    let host = request.headers.get(header::HOST).and_then(|host: &HeaderValue| host.to_str().ok());
    let host = host.or(request.uri.authority().map(|authority| authority.as_str()));
    let origin_host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == origin_host
}

fn say_refused(origins: &Origins, origin: &str, said: &Mutex<Option<Instant>>) {
    let mut last = said.lock();
    if last.is_some_and(|at| at.elapsed() < SAY_EVERY) {
        return;
    }
    *last = Some(Instant::now());
    drop(last);
    let before = origins.as_setting();
    let comma = if before.is_empty() { "" } else { "," };
    tracing::warn!(%origin, "a page of another origin was refused; to allow it, set TAILRACE_CORS_ORIGINS={before}{comma}{origin}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(text: &str) -> Origins {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_for_the_port_is_any_port_of_that_host_alone() {
        let list = origins("http://localhost:*, https://app.example.com");
        assert!(list.allows("http://localhost:5173") && list.allows("http://localhost"));
        assert!(list.allows("https://APP.example.com"));
        assert!(!list.allows("http://localhost.evil.com") && !list.allows("http://localhost:80.evil.com"));
        assert!(!list.allows("https://localhost:5173") && !list.allows("https://app.example.com:8443"));
        assert!(!list.allows("null"));
    }

    #[test]
    fn a_star_is_any_origin_and_nothing_is_none() {
        assert!(origins("*").allows("https://anywhere.example"));
        assert!(!origins("").allows("https://anywhere.example"));
    }

    #[test]
    fn what_is_no_origin_is_refused_with_what_is_accepted() {
        for wrong in ["localhost", "https://a.example/path", "https://*.example.com", "://x", "https://u@h"] {
            let error = wrong.parse::<Origins>().unwrap_err();
            assert!(error.contains("http://localhost:*"), "{error}");
        }
    }
}
