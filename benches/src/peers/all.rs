//! All servers, in the order in which they are measured and stand in the tables.

use super::peer::Peer;
use super::{durable_streams, floor, kafka_sse, mercure, nchan, ours, ours_tls};

/// Ours first: the floor writes frames of the size that ours had.
pub(crate) const PEERS: [Peer; 9] = [
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
