//! What TLS adds to a delivery.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::floor_process::To;
use crate::pace::Pace;
use crate::producer::{Flow, TENANT, Topic, tenant};
use crate::scenario::{Scenario, Stage};
use crate::server::{Server, Setting};
use crate::slice::{self, Slice};
use crate::tls::{self, Tls};
use crate::wire::Transport;

const CLIENTS: usize = 1000;
const PARTITIONS: i32 = 12;

/// The time before the first slice.
const WARM_UP: Duration = Duration::from_secs(2);

pub(crate) struct OverTls {
    name: &'static str,
    title: &'static str,
    pace: Pace,
    /// The highest allowed cost, as a multiple of the same without TLS.
    target: f64,
}

pub(crate) const ONE: OverTls = OverTls {
    name: "tls",
    title: "1,000 clients over TLS, one event at a time",
    pace: Pace::single(20),
    target: 1.2,
};

pub(crate) const BURSTS: OverTls = OverTls {
    name: "tls-bursts",
    title: "1,000 clients over TLS, bursts of 20",
    pace: Pace { rate: 400, burst: 20 },
    target: 1.35,
};

/// A server with its clients and a topic of its own, so that it rests while the other one is measured.
struct Side {
    topic: Topic,
    server: Server,
    clients: Clients,
}

impl Scenario for OverTls {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (triples, seconds) = stage.pick((7, 4), (1, 2));
        let time = Duration::from_secs(seconds);
        let files = Arc::new(Tls::new()?);
        let (certificate, key) = (files.certificate()?, files.key()?);
        stage.say("two servers with their clients");
        let mut plain = Side::start(stage, &[], Transport::Plain)?;
        let mut tls =
            Side::start(stage, &tls::settings(&certificate, &key), Transport::Tls(Arc::clone(&files)))?;
        self.slice(stage, &mut tls, WARM_UP)?;
        self.slice(stage, &mut plain, WARM_UP)?;
        let mut point = Point::new("");
        let mut before = self.slice(stage, &mut plain, time)?;
        for triple in 1..=triples {
            stage.say(format!("triple {triple} of {triples}"));
            let sealed = self.slice(stage, &mut tls, time)?;
            let after = self.slice(stage, &mut plain, time)?;
            self.add(&mut point, [&before, &sealed, &after]);
            before = after;
        }
        tls.server.stop();
        plain.server.stop();
        let extent =
            format!("{triples} triples plain–TLS–plain, in slices of {seconds} s; TLS 1.3, HTTP/1.1");
        Ok(Report { extent, points: vec![point] })
    }
}

impl OverTls {
    fn slice(&self, stage: &Stage, side: &mut Side, time: Duration) -> Result<Slice> {
        let source = (stage.bootstrap(), &side.topic);
        let load = (Flow::one_tenant(self.pace), To::All(CLIENTS));
        slice::on_server(&side.server, &mut side.clients, source, load, time)
            .with_context(|| format!("measure a server, which said:\n{}", side.server.said()))
    }

    fn add(&self, point: &mut Point, [before, tls, after]: [&Slice; 3]) {
        let plain = (before.cpu_us() + after.cpu_us()) / 2.0;
        point.add("deliveries per second", 0, tls.deliveries_per_second());
        point.add("server CPU per delivery over TLS, µs", 3, tls.cpu_us());
        point.add("the same without TLS, µs", 3, plain);
        point.add_target("TLS / plain, ×", 3, self.target, tls.cpu_us() / plain);
        point.add("produce → client, p50, over TLS, ms", 2, tls.p50_ms);
        point.add("produce → client, p99, over TLS, ms", 2, tls.p99_ms);
        point.add("produce → client, p50, without TLS, ms", 2, after.p50_ms);
        point.add("produce → client, p99, without TLS, ms", 2, after.p99_ms);
        point.add("generator's CPU, over TLS, % of a core", 0, tls.generator * 100.0);
        point.add("deliveries missing at the end", 0, tls.missing + after.missing);
    }
}

impl Side {
    fn start(stage: &Stage, settings: &[Setting<'_>], transport: Transport) -> Result<Side> {
        let topic = stage.topic(PARTITIONS)?;
        let server = stage.server(&topic, settings)?;
        let path = format!("/t/{}/events", tenant(TENANT, 0));
        let clients =
            Clients::new(server.address, move |_| path.clone())?.over(transport).greeted(CLIENTS)?;
        Ok(Side { topic, server, clients })
    }
}
