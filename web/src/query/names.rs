//! The parameters: one table of what each takes and which routes have it, and what was likely meant by a name that is not in it.

use std::time::Duration;

use tailrace_bridge::{Envelope, EventName, Filter, Framing, Span};

use super::{Defaults, MAX_VALUES, heartbeat_bounds};
use crate::problem::Problem;
use crate::settings::RETRY_BOUNDS;

/// Records of a page whose request does not say, and the most that it may say.
pub(crate) const LIMIT: usize = 100;
pub(crate) const MAX_LIMIT: usize = 1000;
/// The longest wait of a page: proxies give an answer up that has not begun after 60 seconds, most of them.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(55);

/// A parameter.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// A sentence for those who have only the description of the interface.
    pub(crate) about: &'static str,
    pub(crate) routes: &'static [Route],
    /// How often it may be given.
    pub(crate) times: usize,
    pub(crate) values: Values,
    /// What counts where it is not given, as it would be written; `None`: nothing does.
    pub(crate) default: fn(Route, &Defaults) -> Option<String>,
}

impl Parameter {
    /// Whether it has the token of the request, and says nothing of what is asked for.
    pub(crate) fn is_token(&self) -> bool {
        self.name == ACCESS_TOKEN
    }
}

/// What a parameter takes.
pub(crate) enum Values {
    /// Any text.
    Text,
    /// The name of a topic.
    Topic,
    /// The type of a record.
    Type,
    /// A condition, or alternatives of conditions.
    Condition,
    /// Where to begin.
    Start,
    /// One of these words, of which a route may have a part.
    Word(fn(Route) -> Vec<&'static str>),
    /// A whole number, both bounds inclusive.
    Number(usize, usize),
    /// A length of time, both bounds inclusive, or this word.
    Time { bounds: fn(&Defaults) -> (Duration, Duration), word: Option<&'static str> },
}

const STREAMS: &[Route] = &[Route::Events, Route::WebSocket];
const PAGES: &[Route] = &[Route::Records];
/// All that give records.
const RECORDS: &[Route] = &[Route::Events, Route::WebSocket, Route::Records];

/// All of them, in the order of the documentation.
pub(crate) const PARAMETERS: &[Parameter; 15] = &[
    Parameter {
        name: "topic",
        about: "Topics to read, one each; without it, all that are configured.",
        routes: RECORDS,
        times: MAX_VALUES,
        values: Values::Topic,
        default: |_, _| None,
    },
    Parameter {
        name: "type",
        about: "Only records of one of these types; `message` is a record without a type.",
        routes: RECORDS,
        times: Filter::LIMITS.0,
        values: Values::Type,
        default: |_, _| None,
    },
    Parameter {
        name: "key",
        about: "Only records with one of these keys.",
        routes: RECORDS,
        times: MAX_VALUES,
        values: Values::Text,
        default: |_, _| None,
    },
    Parameter {
        name: "where",
        about: "Only records that meet all of these conditions: a field (`key`, `type`, `header.NAME`, `value.path.to.it` or \
                `value/json/pointer`), an operator (`=`, `!=`, `^=`, `<`, `<=`, `>`, `>=`, or `?` for presence) and a value; or \
                alternatives in brackets: `(value.total>100|value.vip?)`.",
        routes: RECORDS,
        times: Filter::LIMITS.1,
        values: Values::Condition,
        default: |_, _| None,
    },
    Parameter {
        name: "from",
        about: "Where to begin: now, at the first record that Kafka still has, so long ago, so many matching records ago, at a \
                time, or at an event id.",
        routes: RECORDS,
        times: 1,
        values: Values::Start,
        default: |_, _| Some("latest".to_owned()),
    },
    Parameter {
        name: "conflate",
        about: "Of what the client has missed, only the newest record of each key.",
        routes: STREAMS,
        times: 1,
        values: Values::Word(|_| vec!["key"]),
        default: |_, _| None,
    },
    Parameter {
        name: "last_event_id",
        about: "The id of the last event that the client has, to continue there; the header `Last-Event-ID` has precedence over \
                it, and it over `from`.",
        routes: RECORDS,
        times: 1,
        values: Values::Text,
        default: |_, _| None,
    },
    Parameter {
        name: "format",
        about: "How records are written; without it, the header `Accept` decides between the formats of the route.",
        routes: RECORDS,
        times: 1,
        values: Values::Word(|route| route.formats().iter().map(|format| format.as_str()).collect()),
        default: |route, _| route.formats().first().map(Framing::to_string),
    },
    Parameter {
        name: "envelope",
        about: "What the data of a record is: its value as it is, an object with all that Kafka has of it, or a CloudEvent.",
        routes: RECORDS,
        times: 1,
        values: Values::Word(|_| Envelope::ALL.map(Envelope::as_str).to_vec()),
        default: |_, defaults| Some(defaults.envelope.to_string()),
    },
    Parameter {
        name: "event",
        about: "What names the event of a record: its type, or nothing, so that an EventSource gets all records as `message`.",
        routes: STREAMS,
        times: 1,
        values: Values::Word(|_| EventName::ALL.map(EventName::as_str).to_vec()),
        default: |_, _| Some(EventName::default().as_str().to_owned()),
    },
    Parameter {
        name: "limit",
        about: "The most records of a page.",
        routes: PAGES,
        times: 1,
        values: Values::Number(1, MAX_LIMIT),
        default: |_, _| Some(LIMIT.to_string()),
    },
    Parameter {
        name: "wait",
        about: "How long an empty page waits for something to come.",
        routes: PAGES,
        times: 1,
        values: Values::Time { bounds: |_| (Duration::ZERO, MAX_WAIT), word: None },
        default: |_, _| Some("0s".to_owned()),
    },
    Parameter {
        name: "heartbeat",
        about: "The time without an event after which a heartbeat is sent, and `event` for heartbeats that scripts see; give it \
                twice for both.",
        routes: STREAMS,
        times: MAX_VALUES,
        values: Values::Time { bounds: |defaults| heartbeat_bounds(defaults.heartbeat), word: Some("event") },
        default: |_, defaults| Some(Span::new(defaults.heartbeat).to_string()),
    },
    Parameter {
        name: "retry",
        about: "The time after which the client reconnects; the server varies it a little.",
        routes: STREAMS,
        times: 1,
        values: Values::Time { bounds: |_| RETRY_BOUNDS, word: None },
        default: |_, defaults| Some(Span::new(defaults.retry).to_string()),
    },
    Parameter {
        name: ACCESS_TOKEN,
        about: "The token, for clients that cannot set the header `Authorization`.",
        routes: &Route::ALL,
        times: 1,
        values: Values::Text,
        default: |_, _| None,
    },
];
/// The parameter that has the token.
pub(crate) const ACCESS_TOKEN: &str = "access_token";

/// All names, in the same order.
pub(super) const NAMES: [&str; PARAMETERS.len()] = {
    let mut names = [""; PARAMETERS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = PARAMETERS[index].name;
        index += 1;
    }
    names
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A stream.
    Events,
    /// The same over a WebSocket.
    WebSocket,
    /// A page.
    Records,
    /// The list of topics.
    Topics,
}

impl Route {
    pub(crate) const ALL: [Route; 4] = [Route::Events, Route::WebSocket, Route::Records, Route::Topics];

    /// The formats that it has, the default first. A page in `json` is one object, a message of a WebSocket another.
    pub(crate) fn formats(self) -> &'static [Framing] {
        match self {
            Route::Events => &[Framing::Sse, Framing::Ndjson],
            Route::WebSocket => &[Framing::WebSocket],
            Route::Records => &[Framing::WebSocket, Framing::Ndjson],
            Route::Topics => &[],
        }
    }

    /// The path where the tenant is plain, and the end of the path of a tenant.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Route::Events => "/events",
            Route::WebSocket => "/ws",
            Route::Records => "/records",
            Route::Topics => "/topics",
        }
    }

    /// The route of a request with this path, with `{tenant}` in the place of the tenant.
    pub(crate) fn template(self, path: &str) -> &'static str {
        match self {
            _ if path == self.path() => self.path(),
            Route::Events => "/t/{tenant}/events",
            Route::WebSocket => "/t/{tenant}/ws",
            Route::Records => "/t/{tenant}/records",
            Route::Topics => "/t/{tenant}/topics",
        }
    }

    /// The parameters that it has.
    pub(crate) fn parameters(self) -> impl Iterator<Item = &'static Parameter> {
        PARAMETERS.iter().filter(move |parameter| parameter.routes.contains(&self))
    }

    /// Whether it has the parameter.
    pub(super) fn takes(self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        self.parameters().map(|parameter| parameter.name)
    }
}

/// Wrong names that are no typing errors, each with the parameter that is likely meant.
const OTHER_NAMES: [(&str, &str); 25] = [
    ("filter", "where"),
    ("query", "where"),
    ("q", "where"),
    ("since", "from"),
    ("start", "from"),
    ("begin", "from"),
    ("offset", "from"),
    ("after", "from"),
    ("snapshot", "from"),
    ("id", "last_event_id"),
    ("lasteventid", "last_event_id"),
    ("last-event-id", "last_event_id"),
    ("event_type", "type"),
    ("channel", "topic"),
    ("token", "access_token"),
    ("jwt", "access_token"),
    ("count", "limit"),
    ("size", "limit"),
    ("per_page", "limit"),
    ("page_size", "limit"),
    ("max", "limit"),
    ("timeout", "wait"),
    ("cursor", "last_event_id"),
    ("next", "last_event_id"),
    ("page", "last_event_id"),
];

/// The error of a name that the route does not have.
pub(super) fn unknown(name: &str, route: Route) -> Problem {
    let lower = name.to_lowercase();
    let meant = OTHER_NAMES.iter().find(|(other, known)| *other == lower && route.takes(known));
    let meant = meant.map(|(_, known)| *known);
    let distance = |known: &&str| strsim::damerau_levenshtein(known, &lower);
    // A known name counts as near if the distance is at most half of its length. Comparing takes as long as both names multiplied,
    // and the distance is at least the difference of their lengths: a request of one long name stays cheap.
    let length = lower.chars().count();
    let comparable = |known: &&str| known.len().abs_diff(length) * 2 <= known.len();
    let nearest = route.names().filter(comparable).min_by_key(distance);
    let nearest = nearest.filter(|known| distance(known) * 2 <= known.len());
    let accepted = || route.names().collect::<Vec<_>>().join(", ");
    let detail = match meant.or(nearest) {
        _ if route == Route::Topics => {
            format!("a list of topics is asked for without it; accepted: {}", accepted())
        }
        _ if Route::Records.takes(name) => "it is a parameter of pages, /t/{tenant}/records".to_owned(),
        _ if Route::Events.takes(name) => {
            format!("it is a parameter of streams; accepted here: {}", accepted())
        }
        Some(known) => format!("there is no such parameter; the nearest is {known:?}"),
        None if lower == "tenant" => format!("the tenant is in the path: /t/{{tenant}}{}", route.path()),
        None => format!("there is no such parameter; accepted: {}", accepted()),
    };
    Problem::parameter(name, detail)
}
