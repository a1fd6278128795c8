//! What another way out than a plain event stream over HTTP/1.1 adds to a delivery.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::floor_process::To;
use crate::pace::Pace;
use crate::producer::{Flow, TENANT, Topic, tenant};
use crate::scenario::{Scenario, Stage};
use crate::server::Server;
use crate::slice::{self, Slice};
use crate::way::Way;

const CLIENTS: usize = 1000;
const PARTITIONS: i32 = 12;

/// The time before the first slice.
const WARM_UP: Duration = Duration::from_secs(2);

const SINGLE: Pace = Pace::single(20);
const BURSTS: Pace = Pace { rate: 400, burst: 20 };

pub(crate) struct WayOut {
    name: &'static str,
    title: &'static str,
    way: Way,
    pace: Pace,
    /// The highest allowed cost, as a multiple of the plain event stream's.
    target: f64,
    /// The highest allowed size, likewise, if it is to be smaller.
    size: Option<f64>,
}

pub(crate) const TLS: WayOut = WayOut {
    name: "tls",
    title: "1,000 clients over TLS, one event at a time",
    way: Way::Tls,
    pace: SINGLE,
    target: 1.2,
    size: None,
};

pub(crate) const TLS_BURSTS: WayOut = WayOut {
    name: "tls-bursts",
    title: "1,000 clients over TLS, bursts of 20",
    way: Way::Tls,
    pace: BURSTS,
    target: 1.35,
    size: None,
};

pub(crate) const WEB_SOCKET: WayOut = WayOut {
    name: "websocket",
    title: "1,000 clients over WebSockets, one event at a time",
    way: Way::WebSocket,
    pace: SINGLE,
    target: 1.02,
    size: None,
};

pub(crate) const WEB_SOCKET_BURSTS: WayOut = WayOut {
    name: "websocket-bursts",
    title: "1,000 clients over WebSockets, bursts of 20",
    way: Way::WebSocket,
    pace: BURSTS,
    target: 1.02,
    size: None,
};

pub(crate) const HTTP2: WayOut = WayOut {
    name: "http2",
    title: "1,000 clients over HTTP/2, 10 a connection, one event at a time",
    way: Way::Http2,
    pace: SINGLE,
    target: 1.0,
    size: None,
};

pub(crate) const HTTP2_BURSTS: WayOut = WayOut {
    name: "http2-bursts",
    title: "1,000 clients over HTTP/2, 10 a connection, bursts of 20",
    way: Way::Http2,
    pace: BURSTS,
    target: 1.0,
    size: None,
};

pub(crate) const ZSTD: WayOut = WayOut {
    name: "zstd",
    title: "1,000 clients with zstd, one event at a time",
    way: Way::Zstd,
    pace: SINGLE,
    target: 1.0,
    size: Some(0.333),
};

pub(crate) const ZSTD_BURSTS: WayOut = WayOut {
    name: "zstd-bursts",
    title: "1,000 clients with zstd, bursts of 20",
    way: Way::Zstd,
    pace: BURSTS,
    target: 1.0,
    size: Some(0.25),
};

pub(crate) const GZIP: WayOut = WayOut {
    name: "gzip",
    title: "1,000 clients with gzip, one event at a time",
    way: Way::Gzip,
    pace: SINGLE,
    target: 1.0,
    size: Some(0.333),
};

pub(crate) const GZIP_BURSTS: WayOut = WayOut {
    name: "gzip-bursts",
    title: "1,000 clients with gzip, bursts of 20",
    way: Way::Gzip,
    pace: BURSTS,
    target: 1.0,
    size: Some(0.25),
};

/// A server with its clients and a topic of its own, so that it rests while the other one is measured.
struct Side {
    topic: Topic,
    server: Server,
    clients: Clients,
}

impl Scenario for WayOut {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (triples, seconds) = stage.pick((7, 4), (1, 2));
        let time = Duration::from_secs(seconds);
        stage.say("two servers with their clients");
        let mut plain = Side::start(stage, Way::Sse)?;
        let mut other = Side::start(stage, self.way)?;
        self.slice(stage, &mut other, WARM_UP)?;
        self.slice(stage, &mut plain, WARM_UP)?;
        let mut point = Point::new("");
        let mut before = self.slice(stage, &mut plain, time)?;
        for triple in 1..=triples {
            stage.say(format!("triple {triple} of {triples}"));
            let beside = self.slice(stage, &mut other, time)?;
            let after = self.slice(stage, &mut plain, time)?;
            self.add(&mut point, [&before, &beside, &after]);
            before = after;
        }
        other.server.stop();
        plain.server.stop();
        let extent = format!(
            "{triples} triples, each of a slice of {seconds} s {} between two over plain HTTP/1.1",
            self.way.label()
        );
        Ok(Report { extent, points: vec![point] })
    }
}

impl WayOut {
    fn slice(&self, stage: &Stage, side: &mut Side, time: Duration) -> Result<Slice> {
        let source = (stage.bootstrap(), &side.topic);
        let flow = Flow { orders: self.way.is_compressed(), ..Flow::one_tenant(self.pace) };
        let load = (flow, To::All(CLIENTS));
        slice::on_server(&side.server, &mut side.clients, source, load, time)
            .with_context(|| format!("measure a server, which said:\n{}", side.server.said()))
    }

    fn add(&self, point: &mut Point, [before, other, after]: [&Slice; 3]) {
        let plain = (before.cpu_us() + after.cpu_us()) / 2.0;
        point.add("deliveries per second", 0, other.deliveries_per_second());
        point.add("server CPU per delivery this way, µs", 3, other.cpu_us());
        point.add("the same over plain HTTP/1.1, µs", 3, plain);
        point.add_target("the first / the second, ×", 3, self.target, other.cpu_us() / plain);
        if let Some(size) = self.size {
            let plain = (before.bytes_per_delivery + after.bytes_per_delivery) / 2.0;
            point.add("bytes of a delivery this way", 0, other.bytes_per_delivery);
            point.add("the same over plain HTTP/1.1", 0, plain);
            point.add_target("bytes, the first / the second, ×", 3, size, other.bytes_per_delivery / plain);
        }
        point.add("produce → client, p50, this way, ms", 2, other.p50_ms);
        point.add("produce → client, p99, this way, ms", 2, other.p99_ms);
        point.add("produce → client, p50, plain, ms", 2, after.p50_ms);
        point.add("produce → client, p99, plain, ms", 2, after.p99_ms);
        point.add("generator's CPU this way, % of a core", 0, other.generator * 100.0);
        point.add("deliveries missing at the end", 0, other.missing + after.missing);
    }
}

impl Side {
    fn start(stage: &Stage, way: Way) -> Result<Side> {
        let doors = way.doors()?;
        let topic = stage.topic(PARTITIONS)?;
        let server = stage.server(&topic, &doors.settings())?;
        let clients = doors.clients(&server, |_| tenant(TENANT, 0))?.greeted(CLIENTS)?;
        Ok(Side { topic, server, clients })
    }
}
