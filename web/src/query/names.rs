//! The names of parameters: which route has which, and what was likely meant by a name that it does not have.

use crate::problem::Problem;

/// All names, in the order of the documentation.
pub(super) const NAMES: [&str; 14] = [
    "topic",
    "type",
    "key",
    "where",
    "from",
    "conflate",
    "last_event_id",
    "format",
    "envelope",
    "limit",
    "wait",
    "heartbeat",
    "retry",
    "access_token",
];
/// Those that only pages have, and those that only streams have.
const OF_PAGES: [&str; 2] = ["limit", "wait"];
const OF_STREAMS: [&str; 3] = ["conflate", "heartbeat", "retry"];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A stream.
    Events,
    /// The same over a WebSocket.
    WebSocket,
    /// A page.
    Records,
}

impl Route {
    /// The path where the tenant is plain, and the end of the path of a tenant.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Route::Events => "/events",
            Route::WebSocket => "/ws",
            Route::Records => "/records",
        }
    }

    /// The route of a request with this path, with `{tenant}` in the place of the tenant.
    pub(crate) fn template(self, path: &str) -> &'static str {
        match self {
            _ if path == self.path() => self.path(),
            Route::Events => "/t/{tenant}/events",
            Route::WebSocket => "/t/{tenant}/ws",
            Route::Records => "/t/{tenant}/records",
        }
    }

    /// Whether it has the parameter.
    pub(super) fn takes(self, name: &str) -> bool {
        match self {
            Route::Events | Route::WebSocket => !OF_PAGES.contains(&name),
            Route::Records => !OF_STREAMS.contains(&name),
        }
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(move |name| self.takes(name))
    }
}

/// Wrong names that are no typing errors, each with the parameter that is likely meant.
const OTHER_NAMES: [(&str, &str); 26] = [
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
    ("event", "type"),
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
        _ if OF_PAGES.contains(&name) => "it is a parameter of pages, /t/{tenant}/records".to_owned(),
        _ if OF_STREAMS.contains(&name) => {
            format!("it is a parameter of streams; accepted here: {}", accepted())
        }
        Some(known) => format!("there is no such parameter; the nearest is {known:?}"),
        None if lower == "tenant" => format!("the tenant is in the path: /t/{{tenant}}{}", route.path()),
        None => format!("there is no such parameter; accepted: {}", accepted()),
    };
    Problem::parameter(name, detail)
}
