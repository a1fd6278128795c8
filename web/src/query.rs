//! The parameters of a stream or a page. Every error names its parameter; for an unknown parameter, it also names the most
//! similar known one.

mod names;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use percent_encoding::percent_decode_str;
use tailrace_bridge::{Envelope, EventName, Filter, Framing, Span, StartFrom, SubscribeRequest, TenantId};

#[cfg(test)]
pub(crate) use self::names::PARAMETERS;
pub(crate) use self::names::{ACCESS_TOKEN, LIMIT, MAX_LIMIT, MAX_WAIT, Parameter, Route, Values};
use self::names::{NAMES, unknown};
use crate::accept;
use crate::problem::Problem;
use crate::settings::{HEARTBEAT_BOUNDS, RETRY_BOUNDS, WebSettings};

/// The most values of one repeatable parameter; each is kept for as long as the stream.
const MAX_VALUES: usize = 256;
/// A client may ask for at most one heartbeat a second, or for the server's default where that is shorter.
const FASTEST_HEARTBEAT: Duration = Duration::from_secs(1);
/// How far a client's clock may be ahead of the server's: within this, a time in the future counts as now.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The parameters as received, split by name.
pub(crate) struct Raw {
    route: Route,
    /// The values of each of [`NAMES`], in the order of these.
    values: [Vec<String>; NAMES.len()],
}

/// What a stream and a page have in common; a page ignores the rest.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) topics: Vec<String>,
    pub(crate) filter: Filter,
    pub(crate) from: StartFrom,
    /// Whether the client gets, of what it has missed, only the newest record of each key.
    pub(crate) conflate: bool,
    pub(crate) framing: Framing,
    pub(crate) event_name: EventName,
    pub(crate) envelope: Envelope,
    pub(crate) heartbeat: Duration,
    /// Whether a heartbeat is an event that scripts see.
    pub(crate) heartbeat_event: bool,
    pub(crate) retry: Duration,
}

/// What a stream has where its request does not say.
pub(crate) struct Defaults {
    pub(crate) framing: Framing,
    pub(crate) envelope: Envelope,
    pub(crate) heartbeat: Duration,
    pub(crate) retry: Duration,
}

impl Defaults {
    pub(crate) fn of(settings: &WebSettings, route: Route, framing: Framing) -> Defaults {
        let WebSettings { envelope, heartbeat, retry, .. } = *settings;
        let envelope = match (route, envelope) {
            // Records of a page have no event around them that would say what they are.
            (Route::Records, Envelope::None) => Envelope::Record,
            (_, envelope) => envelope,
        };
        Defaults { framing, envelope, heartbeat, retry }
    }
}

/// What a request asks for.
#[derive(Debug)]
pub struct ReadParameters {
    pub request: SubscribeRequest,
    pub heartbeat: Duration,
    pub heartbeat_event: bool,
    pub retry: Duration,
    pub access_token: Option<String>,
}

/// Why it is refused: the parameter, which of its values (0 is the first), and the column in it.
#[derive(Debug)]
pub struct ParameterError {
    pub name: String,
    pub index: usize,
    pub column: Option<usize>,
    pub detail: String,
}

/// Reads a query string and the header `Last-Event-ID` as the route of streams does, with defaults of its own and no masks
/// lifted.
///
/// # Errors
/// The first parameter that cannot be used.
pub fn read_parameters(
    query: &str,
    headers: &HeaderMap,
    tenant: TenantId,
) -> Result<ReadParameters, ParameterError> {
    let read = || {
        let raw = Raw::split(query, Route::Events)?;
        let last_event_id = raw.last_event_id(headers)?;
        let access_token = raw.one(ACCESS_TOKEN)?.map(str::to_owned);
        let (heartbeat, retry) = (Duration::from_secs(15), Duration::from_secs(2));
        let framing = raw.framing(Route::Events, headers)?;
        let query = raw.read(&Defaults { framing, envelope: Envelope::None, heartbeat, retry })?;
        Ok(ReadParameters {
            request: query.request(tenant, false, last_event_id),
            heartbeat: query.heartbeat,
            heartbeat_event: query.heartbeat_event,
            retry: query.retry,
            access_token,
        })
    };
    read().map_err(|problem: Problem| match problem {
        Problem::Parameter { name, index, column, detail } => ParameterError { name, index, column, detail },
        other => unreachable!("parameters give no other problem: {other:?}"),
    })
}

impl Query {
    /// Whether the client keeps state by key, and is told of keys that no longer meet its filter.
    pub(crate) fn by_key(&self) -> bool {
        self.conflate || self.from == StartFrom::Snapshot
    }

    pub(crate) fn request(
        &self,
        tenant: TenantId,
        unmasked: bool,
        last_event_id: Option<String>,
    ) -> SubscribeRequest {
        SubscribeRequest {
            tenant,
            topics: self.topics.clone(),
            filter: self.filter.clone(),
            framing: self.framing,
            event_name: self.event_name,
            envelope: self.envelope,
            unmasked,
            conflate: self.conflate,
            from: self.from.clone(),
            last_event_id,
        }
    }
}

impl Raw {
    /// Splits and decodes a query string; unknown parameters are refused.
    pub(crate) fn split(query: &str, route: Route) -> Result<Raw, Problem> {
        let mut raw = Raw { route, values: Default::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| Problem::parameter(name, "the name is not UTF-8"))?;
            let mut names = NAMES.into_iter().zip(&mut raw.values);
            let known = names.find(|(known, _)| *known == name && route.takes(known));
            let (known, values) = known.ok_or_else(|| unknown(&name, route))?;
            let value = decode(value).ok_or_else(|| at(known, values.len(), "the value is not UTF-8"))?;
            if values.len() == MAX_VALUES {
                return Err(at(known, MAX_VALUES, format!("at most {MAX_VALUES} values are taken")));
            }
            values.push(value);
        }
        Ok(raw)
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let values = NAMES.iter().zip(&self.values).filter(move |(known, _)| **known == name);
        values.flat_map(|(_, values)| values).map(String::as_str)
    }

    fn list(&self, name: &'static str) -> Vec<String> {
        self.all(name).map(str::to_owned).collect()
    }

    /// The value of a parameter that may be given once only.
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(at(name, 1, "it may be given once")),
        }
    }

    /// The header has precedence over the parameter. An empty value counts as none, like the header that a browser without an
    /// id omits.
    pub(crate) fn last_event_id(&self, headers: &HeaderMap) -> Result<Option<String>, Problem> {
        let parameter = self.one("last_event_id")?;
        let header = headers.get("last-event-id");
        let header = header.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let id = header.filter(|id| !id.is_empty()).or(parameter.map(str::to_owned));
        Ok(id.filter(|id| !id.is_empty()))
    }

    /// How a stream is written: as the route and `format=` have it, else as the header `Accept` prefers.
    pub(crate) fn framing(&self, route: Route, headers: &HeaderMap) -> Result<Framing, Problem> {
        match (route, self.format()?) {
            (Route::Events, None) if accept::wants_lines(headers) => Ok(Framing::Ndjson),
            (Route::Events, None) => Ok(Framing::Sse),
            (Route::Events, Some(Framing::WebSocket)) => {
                let detail = "json is the format of WebSockets, /t/{tenant}/ws; accepted here: sse, ndjson";
                Err(Problem::parameter("format", detail))
            }
            (Route::Events, Some(framing)) => Ok(framing),
            (Route::WebSocket, None | Some(Framing::WebSocket)) => Ok(Framing::WebSocket),
            (Route::WebSocket, Some(_)) => {
                let detail = "a WebSocket has the format json; the others are at /t/{tenant}/events";
                Err(Problem::parameter("format", detail))
            }
            // A page is made of what a stream says. A list of topics has no events.
            (Route::Records | Route::Topics, _) => Ok(Framing::Ndjson),
        }
    }

    /// Whether a page is JSON a line.
    pub(crate) fn lines(&self, headers: &HeaderMap) -> Result<bool, Problem> {
        match self.format()? {
            None => Ok(accept::wants_lines(headers)),
            Some(Framing::Ndjson) => Ok(true),
            Some(Framing::WebSocket) => Ok(false),
            Some(Framing::Sse) => {
                let detail = "sse is the format of streams, /t/{tenant}/events; accepted here: json, ndjson";
                Err(Problem::parameter("format", detail))
            }
        }
    }

    fn format(&self) -> Result<Option<Framing>, Problem> {
        let format = self.one("format")?;
        format.map(str::parse).transpose().map_err(|error: String| Problem::parameter("format", error))
    }

    /// Parses the values; a missing parameter gets the server's default.
    pub(crate) fn read(&self, defaults: &Defaults) -> Result<Query, Problem> {
        let (heartbeat, heartbeat_event) = self.heartbeat(defaults.heartbeat)?;
        Ok(Query {
            topics: self.topics()?,
            filter: self.filter()?,
            from: self.from()?,
            conflate: self.conflate()?,
            framing: defaults.framing,
            event_name: self.event_name()?,
            envelope: self.envelope(defaults.envelope)?,
            heartbeat,
            heartbeat_event,
            retry: self.retry(defaults.retry)?,
        })
    }

    fn topics(&self) -> Result<Vec<String>, Problem> {
        let mut topics: Vec<String> = Vec::new();
        for (index, topic) in self.all("topic").enumerate() {
            if topic.is_empty() {
                return Err(at("topic", index, "the name of a topic is needed"));
            }
            if topic.contains(',') {
                let each = topic.split(',').map(|one| one.trim().escape_debug());
                let each = each.map(|one| format!("topic={one}")).collect::<Vec<_>>();
                return Err(at("topic", index, format!("one topic each: {}", each.join("&"))));
            }
            if !topics.iter().any(|known| known == topic) {
                topics.push(topic.to_owned());
            }
        }
        Ok(topics)
    }

    fn filter(&self) -> Result<Filter, Problem> {
        Filter::parse(&self.list("type"), &self.list("key"), &self.list("where")).map_err(|error| {
            Problem::Parameter {
                name: error.parameter.to_owned(),
                index: error.index,
                column: Some(error.column),
                detail: error.message,
            }
        })
    }

    fn from(&self) -> Result<StartFrom, Problem> {
        match self.one("from")? {
            None => Ok(StartFrom::Latest),
            Some(text) => {
                let from = text.parse().map_err(|error: String| match self.route {
                    // A page of a snapshot is refused later.
                    Route::Records => Problem::parameter("from", error.replace(" snapshot,", "")),
                    _ => Problem::parameter("from", error),
                })?;
                check_past(&from, text)?;
                Ok(from)
            }
        }
    }

    /// By what records are conflated: there is only the key.
    fn conflate(&self) -> Result<bool, Problem> {
        match self.one("conflate")? {
            None => Ok(false),
            Some("key") => Ok(true),
            Some(text) => {
                let detail = format!("{text:?} is nothing to conflate by; accepted: key");
                Err(Problem::parameter("conflate", detail))
            }
        }
    }

    fn envelope(&self, default: Envelope) -> Result<Envelope, Problem> {
        match self.one("envelope")? {
            None => Ok(default),
            Some(text) => text.parse().map_err(|error: String| Problem::parameter("envelope", error)),
        }
    }

    fn event_name(&self) -> Result<EventName, Problem> {
        match self.one("event")? {
            None => Ok(EventName::Type),
            Some(text) => text.parse().map_err(|error: String| Problem::parameter("event", error)),
        }
    }

    /// `event`, a time, or both, if the parameter is given twice.
    fn heartbeat(&self, default: Duration) -> Result<(Duration, bool), Problem> {
        let (mut every, mut event) = (default, false);
        for (index, text) in self.all("heartbeat").enumerate() {
            if text == "event" {
                event = true;
            } else {
                every = bounded("heartbeat", index, text, heartbeat_bounds(default))?;
            }
        }
        Ok((every, event))
    }

    fn retry(&self, default: Duration) -> Result<Duration, Problem> {
        match self.one("retry")? {
            None => Ok(default),
            Some(text) => bounded("retry", 0, text, RETRY_BOUNDS),
        }
    }
}

/// What a client may ask for, where the server's own is `default`.
fn heartbeat_bounds(default: Duration) -> (Duration, Duration) {
    (FASTEST_HEARTBEAT.min(default), HEARTBEAT_BOUNDS.1)
}

/// Refuses a time in the future: the stream would send earlier records, or nothing, as if it were stuck.
fn check_past(from: &StartFrom, text: &str) -> Result<(), Problem> {
    let StartFrom::Time(millis) = *from else { return Ok(()) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ahead = Duration::from_millis(millis.unsigned_abs()).saturating_sub(now);
    if ahead <= CLOCK_SKEW {
        return Ok(());
    }
    let detail = format!(
        "{text:?} lies {} s ahead of the server's clock; a stream begins in the past, or now: latest",
        ahead.as_secs()
    );
    Err(Problem::parameter("from", detail))
}

pub(crate) fn bounded(
    name: &'static str,
    index: usize,
    text: &str,
    (low, high): (Duration, Duration),
) -> Result<Duration, Problem> {
    let span: Span = text.parse().map_err(|error: String| at(name, index, error))?;
    match span.get() {
        span if span < low || span > high => {
            let (low, high) = (Span::new(low), Span::new(high));
            Err(at(name, index, format!("{text:?} is out of bounds; accepted: {low} to {high}")))
        }
        span => Ok(span),
    }
}

/// Decodes form encoding: a plus is a space.
pub(crate) fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}

pub(crate) fn at(name: &'static str, index: usize, detail: impl Into<String>) -> Problem {
    Problem::Parameter { name: name.to_owned(), index, column: None, detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn detail(query: &str) -> String {
        match Raw::split(query, Route::Events) {
            Err(Problem::Parameter { detail, .. }) => detail,
            _ => panic!("{query} was taken"),
        }
    }

    #[test]
    fn values_are_form_encoded_and_come_in_order() {
        let raw = Raw::split("where=value.a%3D1+2&topic=b&where=key=x&&topic=a", Route::Events).unwrap();
        assert_eq!(raw.list("where"), ["value.a=1 2", "key=x"]);
        assert_eq!(raw.topics().unwrap(), ["b", "a"]);
    }

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        for (typo, meant) in [
            ("topics", "topic"),
            ("lastEventId", "last_event_id"),
            ("form", "from"),
            ("wehre", "where"),
            ("filter", "where"),
            ("since", "from"),
            ("event_type", "type"),
        ] {
            assert!(detail(&format!("{typo}=1")).contains(&format!("{meant:?}")), "{typo}");
        }
        assert!(detail("colour=1").contains("accepted: topic, type,"));
        assert!(detail("tenant=acme").contains("/t/{tenant}/events"));
        assert!(detail("limit=5").contains("pages") && detail("cursor=5").contains("last_event_id"));
    }

    #[test]
    fn a_page_has_no_heartbeat_and_a_stream_no_limit() {
        let names = |route: Route| route.names().collect::<Vec<_>>();
        assert!(names(Route::Events).contains(&"retry") && !names(Route::Events).contains(&"limit"));
        assert!(names(Route::Records).contains(&"limit") && !names(Route::Records).contains(&"retry"));
        for (query, says) in [("heartbeat=1s", "streams"), ("limt=5", "\"limit\""), ("count=5", "\"limit\"")]
        {
            match Raw::split(query, Route::Records) {
                Err(Problem::Parameter { detail, .. }) => assert!(detail.contains(says), "{detail}"),
                _ => panic!("{query} was taken"),
            }
        }
    }

    #[test]
    fn a_page_is_not_told_to_begin_with_a_snapshot() {
        for (route, offers) in [(Route::Events, true), (Route::Records, false)] {
            let Err(Problem::Parameter { detail, .. }) = Raw::split("from=soon", route).unwrap().from()
            else {
                panic!("it was taken");
            };
            assert_eq!(detail.contains("snapshot"), offers, "{detail}");
        }
    }

    #[test]
    fn several_topics_in_one_value_are_taken_apart_for_who_wrote_them() {
        match Raw::split("topic=a&topic=orders,%20logs", Route::Events).unwrap().topics() {
            Err(Problem::Parameter { index: 1, detail, .. }) => {
                assert!(detail.contains("topic=orders&topic=logs"), "{detail}")
            }
            other => panic!("{other:?}"),
        }
        match Raw::split("topic=a%0a%00a,b", Route::Events).unwrap().topics() {
            Err(Problem::Parameter { detail, .. }) => assert!(!detail.contains('\n'), "{detail}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_documentation_has_every_parameter_and_no_other() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
        let page = std::fs::read_to_string(path).unwrap();
        let table = page.split("### Parameters").nth(1).and_then(|rest| rest.split("\n### ").next()).unwrap();
        let documented = table.lines().filter_map(|line| line.strip_prefix("| `")?.split("=`").next());
        assert_eq!(documented.collect::<Vec<_>>(), NAMES);
    }

    #[test]
    fn one_parameter_does_not_fill_the_memory() {
        assert!(detail(&"key=a&".repeat(MAX_VALUES + 1)).contains("at most"));
    }

    proptest! {
        #[test]
        fn nothing_that_can_be_typed_breaks_it(query in ".{0,200}", name in proptest::sample::select(&NAMES[..])) {
            let _ = Raw::split(&query, Route::Events);
            if let Ok(raw) = Raw::split(&format!("{name}={query}"), Route::Events) {
                let _ = (raw.topics(), raw.filter(), raw.from(), raw.conflate(), raw.envelope(Envelope::None), raw.event_name());
                let _ = (raw.heartbeat(Duration::from_secs(15)), raw.retry(Duration::from_secs(2)));
            }
        }
    }
}
