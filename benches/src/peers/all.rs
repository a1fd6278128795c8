//! All servers, in the order in which they are measured and stand in the tables.

use super::peer::Peer;
use super::{durable_streams, floor, kafka_sse, mercure, nchan, ours};

/// Ours first: the floor writes frames of the size that ours had.
pub(crate) const PEERS: [Peer; 7] = [
    ours::PEER,
    floor::PEER,
    durable_streams::PEER,
    durable_streams::EACH,
    nchan::PEER,
    mercure::PEER,
    kafka_sse::PEER,
];
