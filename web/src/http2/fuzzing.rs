//! For the fuzz targets: what a connection does with bytes, however they come.

use super::connection::{Connection, Event};
use crate::moment::Moment;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Served {
    /// What was sent, and whether the connection goes on.
    pub sent: Vec<u8>,
    pub goes_on: bool,
    /// The requests, and the most streams at once.
    pub requests: usize,
    pub streams: usize,
}

/// Serves a client that sends these bytes in parts of this size. Also returns the most bytes that were kept.
pub fn serve(bytes: &[u8], part: usize) -> (Served, usize) {
    let now = Moment::START;
    let (mut connection, mut events, mut kept) = (Connection::new(true, now), Vec::new(), 0);
    let mut served = Served { sent: Vec::new(), goes_on: true, requests: 0, streams: 0 };
    for part in bytes.chunks(part.max(1)) {
        served.goes_on = connection.receive(part, now, &mut events);
        for event in events.drain(..) {
            if let Event::Request(number, _) = event {
                served.requests += 1;
                let _ = connection.own(number, ());
            }
        }
        served.streams = served.streams.max(connection.owners().count());
        kept = kept.max(connection.kept());
        if !served.goes_on {
            break;
        }
    }
    served.sent = connection.out().take().concat();
    (served, kept)
}
