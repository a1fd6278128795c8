//! The latency that the server adds between the producer's call and a program, compared with a bare consumer of the same topic;
//! and the latency that is added by a consumer that only writes its records to as many sockets.

use std::time::Duration;

use anyhow::Result;

use crate::bare::Bare;
use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::floor_process::To;
use crate::pace::Pace;
use crate::producer::{Flow, TENANT, tenant};
use crate::relay::RelayProcess;
use crate::scenario::{Scenario, Stage};
use crate::slice::{self, SETTLE};

const PARTITIONS: i32 = 12;

/// The warm-up before the first point, repeated until a bare consumer's 99th percentile is below this: in its first seconds
/// under load, a broker is much slower.
const WARM_UP: Duration = Duration::from_secs(3);
const WARM_UPS: usize = 10;
const WARM_MS: f64 = 15.0;

/// The most bursts per second; above this rate, several events are sent at once, as one batch to one partition.
const BURSTS: u32 = 1_000;

/// Events per second, clients, and the highest allowed addition to the median and to the 99th percentile, in milliseconds.
type At = (u32, usize, Option<(f64, f64)>);

const POINTS: [At; 7] = [
    (1_000, 100, Some((0.8, 2.0))),
    (10_000, 10, Some((0.3, 1.0))),
    (100, 10, None),
    (1_000, 10, None),
    (5_000, 10, None),
    (20_000, 10, None),
    (40_000, 10, None),
];

pub(crate) struct Latency;

impl Scenario for Latency {
    fn name(&self) -> &'static str {
        "latency"
    }

    fn title(&self) -> &'static str {
        "Latency added to a bare consumer's"
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (runs, seconds, points) = stage.pick((3, 4, &POINTS[..]), (1, 2, &POINTS[..2]));
        let topic = stage.topic(PARTITIONS)?;
        let server = stage.server(&topic, &[])?;
        let bare = Bare::start(stage.bootstrap(), &topic)?;
        let name = |at: &At| Point::new(format!("{} events/s, {} clients", at.0, at.1));
        let mut one = Clients::connect(server.address, 1, |_| path())?;
        for _ in 0..stage.pick(WARM_UPS, 3) {
            bare.begin(SETTLE);
            let source = (stage.bootstrap(), &topic);
            slice::on_server(&server, &mut one, source, (flow(BURSTS), To::All(1)), WARM_UP)?;
            let [_, p99] = bare.quantiles();
            stage.say(format!("warm up: a bare consumer's p99 is {p99} ms"));
            if p99 < WARM_MS {
                break;
            }
        }
        drop(one);
        let mut found: Vec<Point> = points.iter().map(name).collect();
        // A topic of its own, so that the server does not read while the floor is measured.
        let relayed = stage.topic(PARTITIONS)?;
        let bare_of_floor = Bare::start(stage.bootstrap(), &relayed)?;
        let time = Duration::from_secs(seconds);
        for run in 1..=runs {
            for (at, point) in points.iter().zip(&mut found) {
                let (rate, count, targets) = *at;
                stage.say(format!("run {run} of {runs}: {rate} events/s to {count} clients"));
                let (flow, to) = (flow(rate), To::All(count));
                let mut clients = Clients::connect(server.address, count, |_| path())?;
                bare.begin(SETTLE);
                let source = (stage.bootstrap(), &topic);
                let slice = slice::on_server(&server, &mut clients, source, (flow, to), time)?;
                drop(clients);
                let [bare_p50, bare_p99] = bare.quantiles();
                point.add("bare p50, ms", 2, bare_p50);
                point.add("client p50, ms", 2, slice.p50_ms);
                point.add_with("added p50, ms", 2, targets.map(|(p50, _)| p50), slice.p50_ms - bare_p50);
                point.add("bare p99, ms", 2, bare_p99);
                point.add("client p99, ms", 2, slice.p99_ms);
                point.add_with("added p99, ms", 2, targets.map(|(_, p99)| p99), slice.p99_ms - bare_p99);
                point.add("server CPU, % of a core", 0, slice.cpu_share() * 100.0);
                point.add(
                    "generator's CPU (with producer and bare consumer), % of a core",
                    0,
                    slice.generator * 100.0,
                );
                point.add("missing", 0, slice.missing);

                let relay = RelayProcess::start(stage.bootstrap(), &relayed, count)?;
                let mut clients = Clients::connect(relay.address, count, |_| path())?;
                bare_of_floor.begin(SETTLE);
                let source = (stage.bootstrap(), &relayed);
                let floor = slice::on_relay(&relay, &mut clients, source, (flow, to), time)?;
                let [bare_p50, bare_p99] = bare_of_floor.quantiles();
                point.add("the floor adds to p50, ms", 2, floor.p50_ms - bare_p50);
                point.add("to p99, ms", 2, floor.p99_ms - bare_p99);
                point.add("floor's CPU, % of a core", 0, floor.cpu_share() * 100.0);
            }
        }
        server.stop();
        Ok(Report { extent: format!("{runs} runs, {seconds} s at each point"), points: found })
    }
}

fn path() -> String {
    format!("/t/{}/events", tenant(TENANT, 0))
}

fn flow(rate: u32) -> Flow {
    Flow::one_tenant(Pace { rate, burst: rate.div_ceil(BURSTS) })
}
