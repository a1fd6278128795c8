//! What collecting events for a moment saves, and what it costs: `TAILRACE_LINGER` at several rates.

use std::time::Duration;

use anyhow::Result;

use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::floor_process::To;
use crate::pace::Pace;
use crate::producer::{Flow, TENANT, tenant};
use crate::scenario::{Scenario, Stage};
use crate::slice;

const CLIENTS: usize = 1000;
const PARTITIONS: i32 = 12;
const LINGERS: [&str; 3] = ["0ms", "2ms", "10ms"];
const RATES: [u32; 4] = [20, 100, 400, 1000];

pub(crate) struct Linger;

impl Scenario for Linger {
    fn name(&self) -> &'static str {
        "linger"
    }

    fn title(&self) -> &'static str {
        "Linger: CPU for latency"
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (runs, seconds, rates) = stage.pick((3, 3, &RATES[..]), (1, 1, &RATES[1..2]));
        let point = |linger: &str, rate: &u32| Point::new(format!("linger {linger}, {rate} events/s"));
        let mut points: Vec<Point> =
            LINGERS.iter().flat_map(|linger| rates.iter().map(move |rate| point(linger, rate))).collect();
        for run in 1..=runs {
            for (linger, points) in LINGERS.iter().zip(points.chunks_mut(rates.len())) {
                stage.say(format!("run {run} of {runs}: linger {linger}"));
                one(stage, linger, rates, points, Duration::from_secs(seconds))?;
            }
        }
        Ok(Report { extent: format!("{runs} runs, {CLIENTS} clients, {seconds} s at each rate"), points })
    }
}

fn one(stage: &Stage, linger: &str, rates: &[u32], points: &mut [Point], time: Duration) -> Result<()> {
    let topic = stage.topic(PARTITIONS)?;
    let server = stage.server(&topic, &[("TAILRACE_LINGER", linger)])?;
    let path = format!("/t/{}/events", tenant(TENANT, 0));
    let mut clients = Clients::connect(server.address, CLIENTS, move |_| path.clone())?;
    for (rate, point) in rates.iter().zip(points) {
        let (flow, to) = (Flow::one_tenant(Pace::single(*rate)), To::All(CLIENTS));
        let slice = slice::on_server(&server, &mut clients, (stage.bootstrap(), &topic), (flow, to), time)?;
        point.add("deliveries per second", 0, slice.deliveries_per_second());
        point.add("server CPU per delivery, µs", 2, slice.cpu_us());
        point.add("server CPU, % of a core", 0, slice.cpu_share() * 100.0);
        point.add("p50, ms", 1, slice.p50_ms);
        point.add("p99, ms", 1, slice.p99_ms);
        point.add("generator's CPU, % of a core", 0, slice.generator * 100.0);
        point.add("missing", 0, slice.missing);
    }
    server.stop();
    Ok(())
}
