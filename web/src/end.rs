//! Why a stream ended, for its last block, the metrics and the log.

use std::io;

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client or the network ended it.
    Client,
    /// The process stops.
    Drain,
    /// The process stopped before the client had read its last block.
    Cut,
    /// The client read nothing for too long.
    Timeout,
    /// The client read too slowly, while slow clients together held too much memory.
    Slow,
    /// The age limit.
    MaxAge,
    /// The token has expired.
    TokenExpired,
    /// An operator has ended it.
    Revoked,
}

impl End {
    pub(crate) const ALL: [End; 8] = [
        End::Client,
        End::Drain,
        End::Cut,
        End::Timeout,
        End::Slow,
        End::MaxAge,
        End::TokenExpired,
        End::Revoked,
    ];

    /// The reason that an error of the socket stands for.
    pub(crate) fn of(error: &io::Error) -> End {
        if error.kind() == io::ErrorKind::TimedOut { End::Timeout } else { End::Client }
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            End::Client => "client",
            End::Drain => "drain",
            End::Cut => "cut",
            End::Timeout => "timeout",
            End::Slow => "slow",
            End::MaxAge => "max_age",
            End::TokenExpired => "token_expired",
            End::Revoked => "revoked",
        }
    }
}

/// The codes of the last message of a stream, in the order of the codes with which WebSockets are closed.
pub(crate) const LAST_CODES: [&str; 9] = [
    "draining",
    "max_age",
    "token_expired",
    "revoked",
    "rate_limited",
    "too_many_streams",
    "not_ready",
    "overloaded",
    "internal",
];
/// Those of `tailrace.drain`.
pub(crate) const DRAIN_CODES: [&str; 2] = ["draining", "max_age"];

/// Those of `tailrace.error`. A reconnect to a server that stops is refused, and has the code of a drain.
pub(crate) fn error_codes() -> impl Iterator<Item = &'static str> {
    LAST_CODES.into_iter().filter(|code| *code != "max_age")
}

/// The code with which a WebSocket is closed (RFC 6455, section 7.4.2), by the code of the last message. Codes from 4000 on are a
/// program's own.
pub(crate) fn close_code(code: &str) -> u16 {
    let at = LAST_CODES.iter().position(|known| *known == code).unwrap_or(LAST_CODES.len() - 1);
    4000 + at as u16
}

/// Why a page ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageEnd {
    /// It has as many records as were asked for.
    Limit,
    /// It has as many bytes as a page may have.
    Size,
    /// There is nothing more.
    Synced,
    /// Its time is over.
    Time,
    /// The process stops.
    Drain,
    /// The token has expired.
    TokenExpired,
    /// An operator has ended it.
    Revoked,
    /// The client has left before the page was whole.
    Client,
}

impl PageEnd {
    pub(crate) const ALL: [PageEnd; 8] = [
        PageEnd::Limit,
        PageEnd::Size,
        PageEnd::Synced,
        PageEnd::Time,
        PageEnd::Drain,
        PageEnd::TokenExpired,
        PageEnd::Revoked,
        PageEnd::Client,
    ];

    pub(crate) fn reason(self) -> &'static str {
        match self {
            PageEnd::Limit => "limit",
            PageEnd::Size => "size",
            PageEnd::Synced => "synced",
            PageEnd::Time => "time",
            PageEnd::Drain => "drain",
            PageEnd::TokenExpired => "token_expired",
            PageEnd::Revoked => "revoked",
            PageEnd::Client => "client",
        }
    }

    /// Whether it has all that fits in a page.
    pub(crate) fn is_full(self) -> bool {
        matches!(self, PageEnd::Limit | PageEnd::Size)
    }
}
