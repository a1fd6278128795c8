//! As many clients as one process may have open files, each with one event per second.

use std::time::Duration;

use anyhow::Result;

use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::floor_process::To;
use crate::pace::Pace;
use crate::process::{file_limit, resident};
use crate::producer::{Flow, TENANT, tenant};
use crate::scenario::{Scenario, Stage};
use crate::slice;

const PARTITIONS: i32 = 12;

/// Files that server and generator need besides their sockets.
const OTHER_FILES: usize = 1000;

/// The number of clients on a machine without limits.
const WANTED: usize = 100_000;

pub(crate) struct Held;

impl Scenario for Held {
    fn name(&self) -> &'static str {
        "held"
    }

    fn title(&self) -> &'static str {
        "Clients held, with one event a second each"
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (runs, seconds, most) = stage.pick((3, 10, 28_000), (1, 3, 10_000));
        // One address has about 28,000 ports for connections to one server.
        let count = (file_limit() - OTHER_FILES).min(WANTED).min(most);
        let topic = stage.topic(PARTITIONS)?;
        let server = stage.server(&topic, &[])?;
        let before = resident(server.pid())?;
        stage.say(format!("{count} clients connect"));
        let path = format!("/t/{}/events", tenant(TENANT, 0));
        let mut clients = Clients::connect(server.address, count, move |_| path.clone())?;
        let (flow, to) = (Flow::one_tenant(Pace::single(1)), To::All(count));
        let mut point = Point::new("");
        for run in 1..=runs {
            stage.say(format!("run {run} of {runs}"));
            let source = (stage.bootstrap(), &topic);
            let slice =
                slice::on_server(&server, &mut clients, source, (flow, to), Duration::from_secs(seconds))?;
            let memory = resident(server.pid())?;
            point.add("clients", 0, clients.seen.greeted as f64);
            point.add("deliveries per second", 0, slice.deliveries_per_second());
            point.add("server CPU, % of a core", 1, slice.cpu_share() * 100.0);
            point.add("server CPU per delivery, µs", 2, slice.cpu_us());
            point.add("server's resident memory, MiB", 1, memory as f64 / 1048576.0);
            point.add("its growth a client, KiB", 2, (memory as f64 - before as f64) / count as f64 / 1024.0);
            point.add("produce → client, p50, ms", 1, slice.p50_ms);
            point.add("produce → client, p99, ms", 1, slice.p99_ms);
            point.add("generator's CPU, % of a core", 0, slice.generator * 100.0);
            point.add("deliveries missing at the end", 0, slice.missing);
        }
        server.stop();
        let extent = format!("{runs} runs of {seconds} s, heartbeats after 15 s of silence");
        Ok(Report { extent, points: vec![point] })
    }
}
