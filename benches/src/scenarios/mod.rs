//! All scenarios, in the order in which they run and are on the page.

mod connect;
mod decode;
mod fanout;
mod held;
mod isolation;
mod latency;
mod linger;
mod memory;
mod replay;
mod snapshot;
mod spread;
mod storm;
mod tls_storm;
mod way_in;
mod way_out;

use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Box<dyn Scenario>> {
    vec![
        Box::new(fanout::ONE),
        Box::new(fanout::BURSTS),
        Box::new(memory::ONE_VIEW),
        Box::new(memory::OWN_VIEWS),
        Box::new(memory::TLS),
        Box::new(memory::WEB_SOCKET),
        Box::new(memory::HTTP2),
        Box::new(memory::ZSTD),
        Box::new(latency::Latency),
        Box::new(linger::Linger),
        Box::new(spread::TENANTS),
        Box::new(spread::FILTERS),
        Box::new(spread::PREFIXES),
        Box::new(spread::RANGES),
        Box::new(replay::Replay),
        Box::new(snapshot::Snapshot),
        Box::new(storm::PLAIN),
        Box::new(storm::TLS),
        Box::new(storm::HTTP2),
        Box::new(isolation::Isolation),
        Box::new(connect::Connect),
        Box::new(way_out::TLS),
        Box::new(way_out::TLS_BURSTS),
        Box::new(way_out::WEB_SOCKET),
        Box::new(way_out::WEB_SOCKET_BURSTS),
        Box::new(way_out::HTTP2),
        Box::new(way_out::HTTP2_BURSTS),
        Box::new(way_out::ZSTD),
        Box::new(way_out::ZSTD_BURSTS),
        Box::new(way_out::GZIP),
        Box::new(way_out::GZIP_BURSTS),
        Box::new(tls_storm::TlsStorm),
        Box::new(held::Held),
        Box::new(way_in::HEADER),
        Box::new(way_in::JSON),
        Box::new(decode::Decode),
    ]
}
