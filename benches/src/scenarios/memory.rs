//! The memory of an idle client, in the server and in the kernel.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::pace::Pace;
use crate::process::{anonymous, kernel_memory, resident};
use crate::producer::{Flow, Topic, fill, tenant};
use crate::scenario::{Scenario, Stage};
use crate::server::Server;
use crate::way::{Doors, Way};

const PARTITIONS: i32 = 12;

/// Events of the burst that a shared view delivers; a view of its own delivers one.
const BURST: u64 = 20;

/// The time without load before memory is measured: longer than the interval at which the server returns free memory.
const CALM: Duration = Duration::from_secs(3);

/// The timeout until the burst has reached all clients.
const DELIVERED: Duration = Duration::from_secs(30);

const TENANT: &str = "idle";

pub(crate) struct Memory {
    name: &'static str,
    title: &'static str,
    /// Each client has a tenant, and so a view, of its own.
    own_view: bool,
    way: Way,
    /// KiB per client.
    target: f64,
}

pub(crate) const ONE_VIEW: Memory = Memory {
    name: "memory",
    title: "Memory of 10,000 idle clients of one view",
    own_view: false,
    way: Way::Sse,
    target: 0.4,
};

pub(crate) const OWN_VIEWS: Memory = Memory {
    name: "memory-own-views",
    title: "Memory of 10,000 idle clients with a tenant each",
    own_view: true,
    way: Way::Sse,
    target: 1.2,
};

pub(crate) const TLS: Memory = Memory {
    name: "memory-tls",
    title: "Memory of 10,000 idle clients of one view over TLS",
    own_view: false,
    way: Way::Tls,
    target: 7.0,
};

pub(crate) const WEB_SOCKET: Memory = Memory {
    name: "memory-websocket",
    title: "Memory of 10,000 idle clients of one view over WebSockets",
    own_view: false,
    way: Way::WebSocket,
    target: 0.4,
};

pub(crate) const HTTP2: Memory = Memory {
    name: "memory-http2",
    title: "Memory of 10,000 idle clients of one view over HTTP/2, 10 a connection",
    own_view: false,
    way: Way::Http2,
    target: 1.0,
};

/// What compresses is a view's, not a client's, so a client may take no more than without.
pub(crate) const ZSTD: Memory = Memory {
    name: "memory-zstd",
    title: "Memory of 10,000 idle clients of one view with zstd",
    own_view: false,
    way: Way::Zstd,
    target: 0.4,
};

/// The memory in use at one moment, in bytes.
struct Used {
    resident: u64,
    anonymous: u64,
    /// What the logs take from the cache: the records of the burst do not count for the clients.
    log: u64,
    slabs: u64,
    buffers: u64,
}

impl Used {
    fn look(server: &Server) -> Result<Used> {
        let (slabs, buffers) = kernel_memory()?;
        let log = server.metric("tailrace_log_memory_bytes")? as u64;
        let (resident, anonymous) = (resident(server.pid())?, anonymous(server.pid())?);
        Ok(Used { resident, anonymous, log, slabs, buffers })
    }
}

impl Scenario for Memory {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (runs, clients) = stage.pick((3, 10_000), (1, 10_000));
        let mut point = Point::new("");
        for run in 1..=runs {
            stage.say(format!("run {run} of {runs}"));
            self.once(stage, clients, &mut point)?;
        }
        let extent = format!(
            "{runs} runs with {clients} clients: growth from a server that has served a few to all connected, \
             one burst delivered, and {CALM:?} of calm"
        );
        Ok(Report { extent, points: vec![point] })
    }
}

impl Memory {
    fn once(&self, stage: &Stage, count: usize, point: &mut Point) -> Result<()> {
        let topic = stage.topic(PARTITIONS)?;
        let doors = self.way.doors()?;
        let server = stage.server(&topic, &doors.settings())?;
        // Memory that remains after the first clients and events does not count for the clients.
        self.serve(stage, &topic, (&server, &doors), 10)?;
        sleep(CALM);
        let before = Used::look(&server)?;
        let mut clients = self.serve(stage, &topic, (&server, &doors), count)?;
        clients.run(CALM)?;
        let after = Used::look(&server)?;
        server.stop();
        let kib = |after: u64, before: u64| (after as f64 - before as f64) / count as f64 / 1024.0;
        point.add_target(
            "server's resident memory a client, KiB",
            2,
            self.target,
            kib(after.resident, before.resident),
        );
        point.add("of it anonymous (heap and stacks), KiB", 2, kib(after.anonymous, before.anonymous));
        point.add("of it the cache's copy of the burst, KiB", 2, kib(after.log, before.log));
        point.add("server's resident memory with all, MiB", 1, after.resident as f64 / 1048576.0);
        point.add("kernel's slabs a client, both ends, KiB", 2, kib(after.slabs, before.slabs));
        point.add("kernel's TCP buffers a client, both ends, KiB", 2, kib(after.buffers, before.buffers));
        Ok(())
    }

    /// Connects `count` clients and delivers a burst to them.
    fn serve(
        &self,
        stage: &Stage,
        topic: &Topic,
        (server, doors): (&Server, &Doors),
        count: usize,
    ) -> Result<Clients> {
        let own_view = self.own_view;
        let own_tenant = move |index| tenant(TENANT, if own_view { index } else { 0 });
        let mut clients = doors.clients(server, own_tenant)?.greeted(count)?;
        let (tenants, events) = if own_view { (count, count as u64) } else { (1, BURST) };
        let pace = Pace { rate: 1, burst: 2 };
        let flow = Flow { tenant: TENANT, tenants, users: 1, pace, orders: false };
        fill(stage.bootstrap(), topic, flow, events, crate::payload::EVENT_BYTES)?;
        let expected = events * (count / tenants) as u64;
        let delivered = clients.run_until(DELIVERED, |seen| seen.deliveries >= expected)?;
        ensure!(delivered, "{} of {expected} deliveries after {DELIVERED:?}", clients.seen.deliveries);
        Ok(clients)
    }
}
