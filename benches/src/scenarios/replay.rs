//! A hundred clients that replay the same history, larger than the cache, compared with one such client.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::pace::Pace;
use crate::process::cpu;
use crate::producer::{Flow, TENANT, Topic, fill, tenant};
use crate::scenario::{Scenario, Stage};

const PARTITIONS: i32 = 12;
const EVENT_BYTES: usize = 1000;
const CACHE: &str = "32MiB";

/// The timeout from the last client's start to the end of its replay, in seconds, full and quick; missing events are shown in
/// the table.
const PATIENCE: (u64, u64) = (60, 15);

pub(crate) struct Replay;

/// How many events, how many clients, and over which time they start.
#[derive(Clone, Copy)]
struct Plan {
    events: u64,
    clients: usize,
    stagger: Duration,
}

/// The cost of one round.
struct Took {
    /// As counted by the broker, with the protocol and with fetched data that was not used.
    broker_bytes: f64,
    /// As counted by the server, records alone.
    read_bytes: f64,
    seconds: f64,
    cpu: f64,
    generator: f64,
    missing: f64,
}

impl Scenario for Replay {
    fn name(&self) -> &'static str {
        "shared-replay"
    }

    fn title(&self) -> &'static str {
        "100 clients replaying the same 100 MB"
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (runs, events, clients, stagger) = stage.pick((1, 100_000, 100, 60), (1, 50_000, 10, 2));
        let plan = Plan { events, clients, stagger: Duration::from_secs(stagger) };
        let topic = stage.topic(PARTITIONS)?;
        stage.say(format!("{events} events of {EVENT_BYTES} bytes into Kafka"));
        let flow = Flow::one_tenant(Pace { rate: 1, burst: 2 });
        fill(stage.bootstrap(), &topic, flow, events, EVENT_BYTES)?;
        let mut point = Point::new("");
        for run in 1..=runs {
            stage.say(format!("run {run} of {runs}: one client"));
            let one = once(stage, &topic, Plan { clients: 1, stagger: Duration::ZERO, ..plan })?;
            stage.say(format!("run {run} of {runs}: {clients} clients over {stagger} s"));
            let all = once(stage, &topic, plan)?;
            add(&mut point, &one, &all);
        }
        let extent = format!(
            "{runs} runs: {clients} clients, staggered over {stagger} s, replay {events} events of \
             {EVENT_BYTES} bytes with a cache of {CACHE}"
        );
        Ok(Report { extent, points: vec![point] })
    }
}

fn once(stage: &Stage, topic: &Topic, plan: Plan) -> Result<Took> {
    let server = stage.server(topic, &[("TAILRACE_CACHE_SIZE", CACHE)])?;
    let count = || -> Result<[f64; 2]> {
        let out = stage.kafka.bytes_out(&topic.name)?.map_or(f64::NAN, |bytes| bytes as f64);
        Ok([out, server.metric("tailrace_history_bytes_read_total")?])
    };
    let [out_before, read_before] = count()?;
    let (begin, own) = (Instant::now(), std::process::id());
    let (used, generator) = (cpu(server.pid())?, cpu(own)?);
    let path = format!("/t/{}/events?from=earliest", tenant(TENANT, 0));
    let mut clients = Clients::new(server.address, move |_| path.clone())?;
    for number in 1..=plan.clients {
        clients.add(1)?;
        let next = plan.stagger.mul_f64(number as f64 / plan.clients as f64);
        clients.run(next.saturating_sub(begin.elapsed()))?;
    }
    let expected = plan.events * plan.clients as u64;
    let patience = stage.pick(PATIENCE.0, PATIENCE.1);
    clients.run_until(Duration::from_secs(patience), |seen| seen.deliveries >= expected)?;
    ensure!(clients.seen.greeted == plan.clients, "not all clients have a stream");
    let seconds = begin.elapsed().as_secs_f64();
    let [out, read] = count()?;
    let took = Took {
        broker_bytes: out - out_before,
        read_bytes: read - read_before,
        seconds,
        cpu: (cpu(server.pid())? - used).as_secs_f64(),
        generator: (cpu(own)? - generator).as_secs_f64() / seconds,
        missing: expected as f64 - clients.seen.deliveries as f64,
    };
    server.stop();
    Ok(took)
}

fn add(point: &mut Point, one: &Took, all: &Took) {
    point.add("Kafka sends for one client, MB", 1, one.broker_bytes / 1e6);
    point.add("Kafka sends for all, MB", 1, all.broker_bytes / 1e6);
    point.add_target("Kafka sends for all / for one, ×", 2, 2.0, all.broker_bytes / one.broker_bytes);
    point.add("history read for one client, MB", 1, one.read_bytes / 1e6);
    point.add("history read for all, MB", 1, all.read_bytes / 1e6);
    point.add("one client takes, s", 2, one.seconds);
    point.add("all take, from the first's start, s", 2, all.seconds);
    point.add("server CPU for one, s", 2, one.cpu);
    point.add("server CPU for all, s", 2, all.cpu);
    point.add("generator's CPU beside all, % of a core", 0, all.generator * 100.0);
    point.add("deliveries missing at the end", 0, one.missing + all.missing);
}
