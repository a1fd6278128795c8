//! The cost of a delivery where one event is sent to a thousand clients, compared with the floor.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::floor_process::{FloorProcess, To};
use crate::frame::learn;
use crate::pace::Pace;
use crate::producer::{Flow, TENANT, tenant};
use crate::scenario::{Scenario, Stage};
use crate::slice::{self, Slice};

const CLIENTS: usize = 1000;
const PARTITIONS: i32 = 12;

/// The time before the first slice, in which the server's bytes are captured for the floor.
const WARM_UP: Duration = Duration::from_secs(2);

pub(crate) struct Fanout {
    name: &'static str,
    title: &'static str,
    pace: Pace,
    /// The highest allowed cost, as a multiple of the floor's.
    target: f64,
}

pub(crate) const ONE: Fanout = Fanout {
    name: "fan-out",
    title: "1,000 clients, one event at a time",
    pace: Pace::single(20),
    target: 1.12,
};

pub(crate) const BURSTS: Fanout = Fanout {
    name: "fan-out-bursts",
    title: "1,000 clients, bursts of 20",
    pace: Pace { rate: 400, burst: 20 },
    target: 1.15,
};

impl Scenario for Fanout {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (triples, seconds) = stage.pick((7, 4), (1, 2));
        let (flow, to, time) = (Flow::one_tenant(self.pace), To::All(CLIENTS), Duration::from_secs(seconds));
        let topic = stage.topic(PARTITIONS)?;
        let source = (stage.bootstrap(), &topic);
        let server = stage.server(&topic, &[])?;
        stage.say("the server without clients");
        let alone = (0..stage.pick(3, 1)).map(|_| slice::reading_alone(&server, source, flow, time / 2));
        let alone = alone.collect::<Result<Vec<_>>>()?;
        let reading = alone.iter().sum::<f64>() / alone.len() as f64;

        let mut floor = FloorProcess::start()?;
        let mut floor_clients = Clients::connect(floor.address, CLIENTS, |_| "/".to_owned())?;
        let path = format!("/t/{}/events", tenant(TENANT, 0));
        let mut clients = Clients::connect(server.address, CLIENTS, move |_| path.clone())?;
        clients.capture();
        slice::on_server(&server, &mut clients, source, (flow, to), WARM_UP)?;
        floor.frame(&learn(&clients.captured(), self.pace.burst as usize)?)?;

        let mut point = Point::new("");
        stage.say("the floor");
        let mut before = slice::on_floor(&mut floor, &mut floor_clients, (self.pace, to), time)?;
        for triple in 1..=triples {
            stage.say(format!("triple {triple} of {triples}"));
            clients.capture();
            let ours = slice::on_server(&server, &mut clients, source, (flow, to), time)
                .with_context(|| format!("measure the server, which said:\n{}", server.said()))?;
            floor.frame(&learn(&clients.captured(), self.pace.burst as usize)?)?;
            let after = slice::on_floor(&mut floor, &mut floor_clients, (self.pace, to), time)?;
            self.add(&mut point, [&before, &ours, &after], reading);
            before = after;
        }
        alone.iter().for_each(|share| point.add("server CPU without clients, % of a core", 2, share * 100.0));
        server.stop();
        let extent = format!("{triples} triples floor–server–floor, in slices of {seconds} s");
        Ok(Report { extent, points: vec![point] })
    }
}

impl Fanout {
    fn add(&self, point: &mut Point, [before, ours, after]: [&Slice; 3], reading: f64) {
        let floor = (before.cpu_us() + after.cpu_us()) / 2.0;
        let delivering = ours.cpu_us() - reading * ours.time.as_secs_f64() * 1e6 / ours.deliveries as f64;
        point.add("deliveries per second", 0, ours.deliveries_per_second());
        point.add("server CPU per delivery, µs", 3, ours.cpu_us());
        point.add("floor CPU per delivery, µs", 3, floor);
        point.add_target("server / floor, ×", 3, self.target, ours.cpu_us() / floor);
        point.add("the same without what reading Kafka takes, ×", 3, delivering / floor);
        point.add("produce → client, p50, ms", 2, ours.p50_ms);
        point.add("produce → client, p99, ms", 2, ours.p99_ms);
        point.add("floor's write → client, p50, ms", 2, after.p50_ms);
        point.add("floor's write → client, p99, ms", 2, after.p99_ms);
        point.add("bytes per delivery, server", 1, ours.bytes_per_delivery);
        point.add("bytes per delivery, floor", 1, after.bytes_per_delivery);
        point.add("generator's CPU beside the server, % of a core", 0, ours.generator * 100.0);
        point.add("generator's CPU beside the floor, % of a core", 0, after.generator * 100.0);
        point.add("deliveries missing at the end", 0, ours.missing + after.missing);
    }
}
