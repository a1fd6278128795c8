//! All servers, in the order in which they are measured and stand in the tables.

use super::own::{AXUM_SSE, AXUM_WS, GO_SSE, GO_WS, NODE_SSE, NODE_WS};
use super::peer::Peer;
use super::{durable_streams, floor, kafka_sse, mercure, nchan, ours, ours_tls};

/// Servers that are compared with each other, and the pages that say how they did.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub(crate) enum Set {
    /// Servers of other projects: docs/peers.md.
    Others,
    /// Event streams and WebSockets, by Tailrace and by programs that one would write: docs/sse-or-websocket.md.
    Own,
}

/// Ours first: the floor writes frames of the size that ours had.
const OTHERS: [Peer; 9] = [
    ours::PEER,
    floor::PEER,
    ours_tls::OWN,
    ours_tls::NGINX,
    durable_streams::PEER,
    durable_streams::EACH,
    nchan::PEER,
    mercure::PEER,
    kafka_sse::PEER,
];

const OWN: [Peer; 9] =
    [ours::PEER, floor::PEER, ours::WEB_SOCKET, GO_SSE, GO_WS, NODE_SSE, NODE_WS, AXUM_SSE, AXUM_WS];

impl Set {
    pub(crate) fn peers(self) -> &'static [Peer] {
        match self {
            Set::Others => &OTHERS,
            Set::Own => &OWN,
        }
    }

    /// The names of the page, of the record, and of the plot.
    pub(crate) fn files(self) -> [&'static str; 3] {
        match self {
            Set::Others => ["peers.md", "peers.json", "benchmarks.svg"],
            Set::Own => ["sse-or-websocket.md", "sse-or-websocket.json", "sse-or-websocket.svg"],
        }
    }

    /// Clients whose memory is measured, and that come all at once.
    pub(crate) fn fleet(self) -> usize {
        match self {
            Set::Others => 5000,
            Set::Own => 10_000,
        }
    }
}
