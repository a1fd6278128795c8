//! A thousand pages that open at once, each with the present state of its tenant, compared with one such page. The table has a
//! hundred thousand keys, and older records of each.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::process::cpu;
use crate::producer::{TENANT, Topic, fill_keys, tenant};
use crate::scenario::{Scenario, Stage};

const PARTITIONS: i32 = 12;
const EVENT_BYTES: usize = 200;
/// How often each key was written.
const ROUNDS: u64 = 3;
/// The tail is far smaller than the topic.
const CACHE: &str = "64MiB";
const WARMUP: &str = "0s";
/// The timeout until all pages have their state.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Snapshot;

/// The cost of one round.
struct Took {
    broker_bytes: f64,
    seconds: f64,
    cpu: f64,
    delivered: f64,
}

impl Scenario for Snapshot {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn title(&self) -> &'static str {
        "1,000 pages opening on the state of a table of 100,000 keys"
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (runs, keys, pages) = stage.pick((3, 100_000, 1_000), (1, 10_000, 100));
        let topic = stage.topic(PARTITIONS)?;
        stage.say(format!("{ROUNDS} records of each of {keys} keys into Kafka"));
        fill_keys(stage.bootstrap(), &topic, pages, keys, ROUNDS, EVENT_BYTES)?;
        let mut point = Point::new("");
        for run in 1..=runs {
            stage.say(format!("run {run} of {runs}: one page"));
            let one = once(stage, &topic, 1, keys / pages as u64)?;
            stage.say(format!("run {run} of {runs}: {pages} pages at once"));
            let all = once(stage, &topic, pages, keys / pages as u64)?;
            point.add("Kafka sends for one page, MB", 1, one.broker_bytes / 1e6);
            point.add("Kafka sends for all, MB", 1, all.broker_bytes / 1e6);
            point.add_target("Kafka sends for all / for one, ×", 2, 1.5, all.broker_bytes / one.broker_bytes);
            point.add("one page has its state after, s", 2, one.seconds);
            point.add_target("the last of all has it after, s", 2, 2.0, all.seconds);
            point.add("server CPU for one, s", 2, one.cpu);
            point.add("server CPU for all, s", 2, all.cpu);
            point.add("events for a page", 0, all.delivered / pages as f64);
        }
        let extent = format!(
            "{runs} runs: {pages} pages of as many tenants, {keys} keys in all, {ROUNDS} records of {EVENT_BYTES} bytes \
             of each, with a cache of {CACHE}; each with a server that has just started"
        );
        Ok(Report { extent, points: vec![point] })
    }
}

fn once(stage: &Stage, topic: &Topic, pages: usize, keys: u64) -> Result<Took> {
    let settings = [
        ("TAILRACE_CACHE_SIZE", CACHE),
        ("TAILRACE_CACHE_WARMUP", WARMUP),
        ("TAILRACE_SNAPSHOT_TOPICS", &topic.name),
    ];
    let server = stage.server(topic, &settings)?;
    let out =
        || -> Result<f64> { Ok(stage.kafka.bytes_out(&topic.name)?.map_or(f64::NAN, |bytes| bytes as f64)) };
    let (before, used) = (out()?, cpu(server.pid())?);
    let path = |number: usize| format!("/t/{}/events?from=snapshot", tenant(TENANT, number));
    let mut clients = Clients::new(server.address, path)?;
    let begin = Instant::now();
    clients.add(pages)?;
    clients.run_until(PATIENCE, |seen| seen.synced >= pages)?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(clients.seen.synced == pages, "{} of {pages} pages have their state", clients.seen.synced);
    let delivered = clients.seen.deliveries;
    ensure!(delivered == keys * pages as u64, "{delivered} events for {pages} pages of {keys} keys");
    let took = Took {
        broker_bytes: out()? - before,
        seconds,
        cpu: (cpu(server.pid())? - used).as_secs_f64(),
        delivered: delivered as f64,
    };
    server.stop();
    Ok(took)
}
