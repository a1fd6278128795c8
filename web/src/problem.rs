//! The errors before a stream begins, and their RFC 9457 problem documents. All HTTP status codes are chosen here.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use tailrace_bridge::Unserved;

use crate::limit::Reached;
use crate::trace::TraceId;

/// Why a request gets no stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A parameter that cannot be used; `column` (1-based, in characters) is the place of the error in a filter's text.
    Parameter { name: String, index: usize, column: Option<usize>, detail: String },
    /// The tenant's name is not valid, or neither the path nor the token gives exactly one.
    Tenant { detail: String },
    /// No token, or an invalid one.
    Unauthenticated { detail: String, is_missing: bool },
    /// A valid token that does not allow this; `scope` is the one that would, if that is what it lacks.
    Forbidden { detail: String, scope: Option<String> },
    /// Nobody who calls like this may use the route.
    Barred { detail: String },
    /// No such route, or a route that this server's settings rule out.
    NotFound { detail: String },
    /// A topic that is not served to this tenant.
    UnknownTopic { topic: String, nearest: Option<String> },
    /// A topic that is configured, but missing or forbidden in Kafka.
    UnservedTopic { topic: String, why: Unserved },
    /// An id of so many partitions is too long to come back through a proxy.
    TooManyPartitions { partitions: usize, size: usize, limit: usize },
    /// The route exists, but not for this method.
    Method { method: String },
    /// The route is for WebSockets, and the request asks for none that this server speaks.
    Upgrade { detail: String },
    /// The request line contains a character that must be escaped.
    RequestLine { detail: String },
    /// A temporary condition: the request may succeed later.
    Passing(Passing),
}

/// A temporary condition. A client that reconnects gets it within a stream; after an error status, a browser would never
/// reconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passing {
    pub(crate) code: PassingCode,
    pub(crate) detail: String,
    /// The shortest time before the next attempt.
    pub(crate) after: Duration,
    /// The limit that was reached, if it is one.
    pub(crate) limit: Option<Reached>,
}

impl Passing {
    pub(crate) fn new(code: PassingCode, detail: impl Into<String>, after: Duration) -> Passing {
        Passing { code, detail: detail.into(), after, limit: None }
    }

    /// A limit was reached.
    pub(crate) fn limited(code: PassingCode, reached: Reached, after: Duration) -> Passing {
        Passing { code, detail: reached.detail(), after, limit: Some(reached) }
    }

    /// The members that name the limit, in a problem document and in `tailrace.error`.
    pub(crate) fn name_limit(&self, document: &mut Map<String, Value>) {
        let Some(reached) = &self.limit else { return };
        document.insert("limit".to_owned(), json!(reached.limit.name()));
        document.insert("variable".to_owned(), json!(reached.limit.variable()));
        if let Some(value) = reached.told() {
            document.insert("value".to_owned(), json!(value));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassingCode {
    RateLimited,
    TooManyStreams,
    NotReady,
    Draining,
    Overloaded,
}

impl PassingCode {
    pub(crate) const ALL: [PassingCode; 5] = [
        PassingCode::RateLimited,
        PassingCode::TooManyStreams,
        PassingCode::NotReady,
        PassingCode::Draining,
        PassingCode::Overloaded,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            PassingCode::RateLimited => "rate_limited",
            PassingCode::TooManyStreams => "too_many_streams",
            PassingCode::NotReady => "not_ready",
            PassingCode::Draining => "draining",
            PassingCode::Overloaded => "overloaded",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            PassingCode::RateLimited | PassingCode::TooManyStreams => StatusCode::TOO_MANY_REQUESTS,
            PassingCode::NotReady | PassingCode::Draining | PassingCode::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

/// What a problem is, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemCode {
    BadParameter,
    BadTenant,
    BadRequest,
    TooManyPartitions,
    Unauthenticated,
    Forbidden,
    ForbiddenTopic,
    NotFound,
    UnknownTopic,
    MissingTopic,
    MethodNotAllowed,
    UpgradeRequired,
    Passing(PassingCode),
}

impl ProblemCode {
    /// All of them but those that pass, which are [`PassingCode::ALL`].
    const LASTING: [ProblemCode; 12] = [
        ProblemCode::BadParameter,
        ProblemCode::BadTenant,
        ProblemCode::BadRequest,
        ProblemCode::TooManyPartitions,
        ProblemCode::Unauthenticated,
        ProblemCode::Forbidden,
        ProblemCode::ForbiddenTopic,
        ProblemCode::NotFound,
        ProblemCode::UnknownTopic,
        ProblemCode::MissingTopic,
        ProblemCode::MethodNotAllowed,
        ProblemCode::UpgradeRequired,
    ];

    pub(crate) fn all() -> impl Iterator<Item = ProblemCode> {
        let passing = PassingCode::ALL.into_iter().map(ProblemCode::Passing);
        ProblemCode::LASTING.into_iter().chain(passing)
    }

    /// The stable code, also the label of the metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ProblemCode::BadParameter => "bad_parameter",
            ProblemCode::BadTenant => "bad_tenant",
            ProblemCode::BadRequest => "bad_request",
            ProblemCode::TooManyPartitions => "too_many_partitions",
            ProblemCode::Unauthenticated => "unauthenticated",
            ProblemCode::Forbidden => "forbidden",
            ProblemCode::ForbiddenTopic => "forbidden_topic",
            ProblemCode::NotFound => "not_found",
            ProblemCode::UnknownTopic => "unknown_topic",
            ProblemCode::MissingTopic => "missing_topic",
            ProblemCode::MethodNotAllowed => "method_not_allowed",
            ProblemCode::UpgradeRequired => "upgrade_required",
            ProblemCode::Passing(code) => code.as_str(),
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            ProblemCode::BadParameter
            | ProblemCode::BadTenant
            | ProblemCode::BadRequest
            | ProblemCode::TooManyPartitions => StatusCode::BAD_REQUEST,
            ProblemCode::Unauthenticated => StatusCode::UNAUTHORIZED,
            ProblemCode::Forbidden | ProblemCode::ForbiddenTopic => StatusCode::FORBIDDEN,
            ProblemCode::NotFound | ProblemCode::UnknownTopic | ProblemCode::MissingTopic => {
                StatusCode::NOT_FOUND
            }
            ProblemCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ProblemCode::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            ProblemCode::Passing(code) => code.status(),
        }
    }
}

/// What the type of a problem document is, before its code.
pub(crate) const TYPE: &str = "urn:tailrace:problem:";

impl Problem {
    pub(crate) fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Problem {
        Problem::Parameter { name: name.into(), index: 0, column: None, detail: detail.into() }
    }

    fn kind(&self) -> ProblemCode {
        match self {
            Problem::Parameter { .. } => ProblemCode::BadParameter,
            Problem::Tenant { .. } => ProblemCode::BadTenant,
            Problem::Unauthenticated { .. } => ProblemCode::Unauthenticated,
            Problem::Forbidden { .. } | Problem::Barred { .. } => ProblemCode::Forbidden,
            Problem::NotFound { .. } => ProblemCode::NotFound,
            Problem::UnknownTopic { .. } => ProblemCode::UnknownTopic,
            Problem::UnservedTopic { why: Unserved::Missing, .. } => ProblemCode::MissingTopic,
            Problem::UnservedTopic { why: Unserved::Forbidden, .. } => ProblemCode::ForbiddenTopic,
            Problem::TooManyPartitions { .. } => ProblemCode::TooManyPartitions,
            Problem::Method { .. } => ProblemCode::MethodNotAllowed,
            Problem::Upgrade { .. } => ProblemCode::UpgradeRequired,
            Problem::RequestLine { .. } => ProblemCode::BadRequest,
            Problem::Passing(passing) => ProblemCode::Passing(passing.code),
        }
    }

    /// The stable code of the problem, also the label of the metric.
    pub(crate) fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    fn title(&self) -> &'static str {
        match self {
            Problem::Parameter { .. } => "A parameter cannot be used",
            Problem::Tenant { .. } => "Not a tenant's name",
            Problem::Unauthenticated { .. } => "A valid token is needed",
            Problem::Forbidden { .. } => "The token does not allow this",
            Problem::Barred { .. } => "This is not allowed here",
            Problem::NotFound { .. } => "Nothing is here",
            Problem::UnknownTopic { .. } => "Unknown topic",
            Problem::UnservedTopic { .. } => "The topic is not served now",
            Problem::TooManyPartitions { .. } => "The ids of this stream would be too long",
            Problem::Method { .. } => "The method is not allowed here",
            Problem::Upgrade { .. } => "This route is for WebSockets",
            Problem::RequestLine { .. } => "The request cannot be read",
            Problem::Passing(passing) => match passing.code {
                PassingCode::RateLimited => "Too many new streams",
                PassingCode::TooManyStreams => "Too many open streams",
                PassingCode::NotReady => "Not ready yet",
                PassingCode::Draining => "This server is about to stop",
                PassingCode::Overloaded => "Overloaded",
            },
        }
    }

    pub(crate) fn detail(&self) -> String {
        match self {
            Problem::Parameter { detail, .. }
            | Problem::Tenant { detail }
            | Problem::Unauthenticated { detail, .. }
            | Problem::Forbidden { detail, .. }
            | Problem::Barred { detail }
            | Problem::NotFound { detail }
            | Problem::RequestLine { detail }
            | Problem::Passing(Passing { detail, .. }) => detail.clone(),
            Problem::UnknownTopic { topic, nearest: None } => format!("there is no topic {topic:?} here"),
            Problem::UnknownTopic { topic, nearest: Some(nearest) } => {
                format!("there is no topic {topic:?} here; the nearest is {nearest:?}")
            }
            Problem::UnservedTopic { topic, why } => format!("the topic {topic:?} {why}"),
            Problem::TooManyPartitions { partitions, size, limit } => format!(
                "this stream has {partitions} partitions, and an id of all their positions takes {size} bytes; proxies \
                 pass ids up to {limit} bytes (TAILRACE_MAX_ID_SIZE): name fewer topics by topic="
            ),
            Problem::Upgrade { detail } => format!(
                "{detail}: open it with new WebSocket(url), over HTTP/1.1, or read the same as an event stream at /t/{{tenant}}/events"
            ),
            Problem::Method { method } => {
                format!(
                    "{method} is not taken here: streams and pages are read with GET, or HEAD for their headers"
                )
            }
        }
    }

    /// Adds the members that RFC 9457 does not define: where in the request the error is, or which limit was reached.
    fn place(&self, document: &mut Map<String, Value>) {
        match self {
            Problem::Parameter { name, index, column, .. } => {
                document.insert("parameter".to_owned(), json!(name));
                document.insert("index".to_owned(), json!(index));
                if let Some(column) = column {
                    document.insert("column".to_owned(), json!(column));
                }
            }
            Problem::UnknownTopic { topic, .. } | Problem::UnservedTopic { topic, .. } => {
                document.insert("parameter".to_owned(), json!("topic"));
                document.insert("topic".to_owned(), json!(topic));
            }
            Problem::Passing(passing) => passing.name_limit(document),
            _ => {}
        }
    }

    /// The response with the problem document.
    pub(crate) fn response(&self, trace_id: TraceId) -> Response<Body> {
        let status = self.kind().status();
        let mut document = Map::new();
        document.insert("type".to_owned(), json!(format!("{TYPE}{}", self.code())));
        document.insert("title".to_owned(), json!(self.title()));
        document.insert("status".to_owned(), json!(status.as_u16()));
        document.insert("code".to_owned(), json!(self.code()));
        document.insert("detail".to_owned(), json!(self.detail()));
        self.place(&mut document);
        document.insert("trace_id".to_owned(), json!(trace_id.to_string()));
        let mut text = Value::Object(document).to_string();
        text.push('\n');
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        self.headers(response.headers_mut());
        response
    }

    /// What kind of token is asked for, and what is wrong with the one that came (RFC 6750, section 3).
    fn challenge(&self) -> String {
        let mut parts = vec!["Bearer realm=\"tailrace\"".to_owned()];
        match self {
            Problem::Unauthenticated { detail, is_missing: false } => {
                parts.push("error=\"invalid_token\"".to_owned());
                parts.push(format!("error_description={}", quoted(detail)));
            }
            Problem::Forbidden { scope, .. } => {
                parts.push("error=\"insufficient_scope\"".to_owned());
                parts.extend(scope.as_ref().map(|scope| format!("scope={}", quoted(scope))));
            }
            _ => {}
        }
        parts.join(", ")
    }

    fn headers(&self, headers: &mut axum::http::HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match self {
            Problem::Passing(passing) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(passing.after)));
            }
            Problem::Upgrade { .. } => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Problem::Unauthenticated { .. } | Problem::Forbidden { .. } => {
                if let Ok(challenge) = HeaderValue::from_str(&self.challenge()) {
                    headers.insert(WWW_AUTHENTICATE, challenge);
                }
            }
            _ => {}
        }
    }
}

/// A quoted string of a header (RFC 9110, section 5.6.4) in the characters that RFC 6750 allows in one.
fn quoted(text: &str) -> String {
    let is_allowed = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    format!("\"{}\"", text.chars().filter(is_allowed).collect::<String>())
}

/// `Retry-After` has only whole seconds; 0 would mean at once.
fn whole_seconds(after: Duration) -> u64 {
    (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_list_of_codes_has_all_of_them_and_each_once() {
        let source = include_str!("problem.rs");
        let variants =
            source.split("enum ProblemCode {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
        let lasting = variants.lines().filter(|line| line.trim_end().ends_with(',') && !line.contains('('));
        assert_eq!(lasting.count(), ProblemCode::LASTING.len());
        let codes: Vec<&str> = ProblemCode::all().map(ProblemCode::as_str).collect();
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len(), "{codes:?}");
    }

    #[test]
    fn the_documentation_has_every_code_with_its_status() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
        let page = std::fs::read_to_string(path).unwrap();
        let table =
            page.split("| status | code |").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
        let mut documented = BTreeSet::new();
        for line in table.lines().skip(2) {
            let mut cells = line.split('|').skip(1).map(str::trim);
            let (status, codes) = (cells.next().unwrap(), cells.next().unwrap());
            documented.extend(codes.split(", ").map(|code| (status.to_owned(), code.replace('`', ""))));
        }
        let own =
            ProblemCode::all().map(|code| (code.status().as_u16().to_string(), code.as_str().to_owned()));
        assert_eq!(documented, own.collect());
    }
}
