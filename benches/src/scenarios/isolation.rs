//! What fifty tenants feel of one that tries ten times what it may.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bare::Bare;
use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::hostile::{Hostile, Tried};
use crate::pace::Pace;
use crate::process::cpu;
use crate::producer::{Flow, Producer, Topic, fill, tenant};
use crate::scenario::{Scenario, Stage};
use crate::server::{Server, Setting};
use crate::slice::SETTLE;

const TENANTS: usize = 50;
/// Clients of each of them.
const EACH: usize = 2;
/// A divisor of the tenants' number: each of them has all of its records in one partition, and so in one order.
const PARTITIONS: i32 = 10;
const BEHAVES: &str = "behaves";
/// Ten events per second for each tenant.
const PACE: Pace = Pace::single(500);

const HOSTILE: &str = "hostile";
/// Records of the hostile tenant that it replays: more than memory holds.
const HISTORY: u64 = 60_000;
const HISTORY_BYTES: usize = 1_000;
/// With twenty streams, ten times what its streams may get together.
const HOSTILE_PACE: Pace = Pace::single(100);

/// The limits of each tenant. The hostile one tries 200 streams, 50 new ones per second, 100 replays, and with twenty streams
/// 2,000 events per second of 250 bytes.
const LIMITS: [Setting<'static>; 7] = [
    ("TAILRACE_MAX_STREAMS_PER_TENANT", "20"),
    ("TAILRACE_CONNECT_RATE_PER_TENANT", "5/s"),
    ("TAILRACE_TENANT_EVENT_RATE", "200/s"),
    ("TAILRACE_TENANT_BYTE_RATE", "50kB/s"),
    ("TAILRACE_MAX_REPLAYS_PER_TENANT", "10"),
    ("TAILRACE_REPLAY_BYTE_RATE_PER_TENANT", "1MiB/s"),
    ("TAILRACE_CACHE_SIZE", "32MiB"),
];

/// The limits that it reaches, by the label of `tailrace_limits_reached_total`, and what is said of them.
const REACHED: [(&str, &str); 4] = [
    ("limit=\"connect_rate_per_tenant\"", "refused by the rate of new streams, per second"),
    ("limit=\"max_streams_per_tenant\"", "refused by the number of streams, per second"),
    ("limit=\"max_replays_per_tenant\"", "refused by the number of replays, per second"),
    ("limit=\"tenant_rate\"", "delayed by the rates of events and bytes, per second"),
];

/// The time for which the hostile tenant is at it before the others connect: as long as it takes to fill its places.
const BEFORE: Duration = Duration::from_secs(12);
/// The timeout until the last events arrive.
const LAST: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(3);
/// How often the producers are asked whether they have ended.
const END: Duration = Duration::from_millis(2);

pub(crate) struct Isolation;

/// What the tenants that behave got.
struct Felt {
    p50_ms: f64,
    p99_ms: f64,
    bare_p99_ms: f64,
    /// Clients that did not get each of their tenant's records once and in order.
    inexact: usize,
    deliveries: u64,
    server: f64,
    generator: f64,
}

impl Scenario for Isolation {
    fn name(&self) -> &'static str {
        "isolation"
    }

    fn title(&self) -> &'static str {
        "One tenant that tries ten times what it may"
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (pairs, seconds) = stage.pick((7, 6), (3, 4));
        let topic = stage.topic(PARTITIONS)?;
        let history = Flow { pace: HOSTILE_PACE, tenant: HOSTILE, tenants: 1, users: 1, orders: false };
        fill(stage.bootstrap(), &topic, history, HISTORY, HISTORY_BYTES)?;
        let server = stage.server(&topic, &LIMITS)?;
        let bare = Bare::start(stage.bootstrap(), &topic)?;
        let source = (stage.bootstrap(), &topic);
        stage.say("warm up");
        slice(&server, &bare, source, WARM_UP)?;
        let mut point = Point::new("");
        for pair in 1..=pairs {
            stage.say(format!("pair {pair} of {pairs}: without the hostile tenant"));
            let alone = slice(&server, &bare, source, Duration::from_secs(seconds))?;
            stage.say(format!("pair {pair} of {pairs}: beside it"));
            let before = reached(&server)?;
            let hostile = Hostile::start(server.address, tenant(HOSTILE, 0));
            let began = Instant::now();
            std::thread::sleep(BEFORE);
            let beside = slice(&server, &bare, source, Duration::from_secs(seconds));
            let (tried, time) = (hostile.end()?, began.elapsed().as_secs_f64());
            add(&mut point, &alone, &beside?, &tried, time);
            for (((_, what), before), after) in REACHED.iter().zip(before).zip(reached(&server)?) {
                point.add(what, 1, (after - before) / time);
            }
        }
        server.stop();
        let extent = format!(
            "{pairs} pairs of slices of {seconds} s: {TENANTS} tenants with {EACH} clients and {} events a second each",
            PACE.rate as usize / TENANTS
        );
        Ok(Report { extent, points: vec![point] })
    }
}

fn reached(server: &Server) -> Result<Vec<f64>> {
    REACHED.iter().map(|(label, _)| server.metric_of("tailrace_limits_reached_total", label)).collect()
}

fn add(point: &mut Point, alone: &Felt, beside: &Felt, tried: &Tried, time: f64) {
    point.add("p50 without the hostile tenant, ms", 2, alone.p50_ms);
    point.add("p50 beside it, ms", 2, beside.p50_ms);
    point.add("p99 without the hostile tenant, ms", 2, alone.p99_ms);
    point.add("p99 beside it, ms", 2, beside.p99_ms);
    point.add_target("p99, beside it / without, ×", 2, 1.3, beside.p99_ms / alone.p99_ms);
    point.add("a bare Kafka consumer's p99 without, ms", 2, alone.bare_p99_ms);
    point.add("a bare Kafka consumer's p99 beside it, ms", 2, beside.bare_p99_ms);
    point.add("added to the bare consumer's p99 without, ms", 2, alone.p99_ms - alone.bare_p99_ms);
    point.add("added to the bare consumer's p99 beside it, ms", 2, beside.p99_ms - beside.bare_p99_ms);
    // A stream that is refused fails the scenario; so does one that is ended.
    point.add_target("streams of the others that were refused or ended", 0, 0.0, 0.0);
    point.add_target(
        "clients of the others that did not get all, once, in order",
        0,
        0.0,
        beside.inexact as f64,
    );
    point.add("the same without the hostile tenant", 0, alone.inexact as f64);
    point.add("deliveries to the others", 0, beside.deliveries as f64);
    point.add("attempts of the hostile tenant, per second", 0, tried.attempts as f64 / time);
    point.add("answered with 429, per second", 0, tried.refused as f64 / time);
    point.add("ended by an event, per second", 0, tried.ended as f64 / time);
    point.add("streams that it got, per second", 1, tried.opened as f64 / time);
    point.add("its most streams at a time", 0, tried.most as f64);
    point.add("bytes that it read, kB/s", 0, tried.bytes as f64 / 1e3 / time);
    point.add("server CPU without it, % of a core", 0, alone.server * 100.0);
    point.add("server CPU beside it, % of a core", 0, beside.server * 100.0);
    point.add("generator's CPU without it, % of a core", 0, alone.generator * 100.0);
    point.add("generator's CPU beside it, % of a core", 0, beside.generator * 100.0);
}

/// The tenants that behave connect, and read for so long. Records of the hostile tenant are written in any case, so that Kafka has
/// the same load in all slices.
fn slice(server: &Server, bare: &Bare, (bootstrap, topic): (&str, &Topic), time: Duration) -> Result<Felt> {
    let path = |client: usize| format!("/t/{}/events", tenant(BEHAVES, client % TENANTS));
    let mut clients = Clients::new(server.address, path)?;
    clients.track();
    clients.add(TENANTS * EACH)?;
    let all = TENANTS * EACH;
    ensure!(clients.run_until(LAST, |seen| seen.synced == all)?, "{} of {all} are live", clients.seen.synced);
    let flow = Flow { pace: PACE, tenant: BEHAVES, tenants: TENANTS, users: TENANTS, orders: false };
    let of_hostile = Flow { pace: HOSTILE_PACE, tenant: HOSTILE, tenants: 1, users: 1, orders: false };
    let (begun, own) = (Instant::now(), std::process::id());
    let (used, generator) = (cpu(server.pid())?, cpu(own)?);
    let other = Producer::start(bootstrap, topic, of_hostile)?;
    let producer = Producer::start_noting(bootstrap, topic, flow)?;
    bare.begin(SETTLE);
    clients.run(SETTLE)?;
    clients.seen.latencies.clear();
    clients.run(time - SETTLE)?;
    // The times of threads that end are not counted any more: the producers' still are here.
    let took = begun.elapsed().as_secs_f64();
    let share = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() / took;
    let (server_cpu, own_cpu) = (share(cpu(server.pid())?, used), share(cpu(own)?, generator));
    let late = Instant::now() + LAST;
    while !(producer.stop() & other.stop()) {
        ensure!(Instant::now() < late, "a producer does not end");
        clients.run(END)?;
    }
    other.end()?;
    let sent = producer.end_noting()?;
    let expected = (sent.len() * EACH) as u64;
    clients.run_until(LAST, |seen| seen.deliveries >= expected)?;
    // What is sent twice would come now.
    clients.run(SETTLE)?;
    let of_tenant = |number: usize| sent.iter().skip(number).step_by(TENANTS);
    let is_exact = |(client, received): &(usize, &[u64])| received.iter().eq(of_tenant(client % TENANTS));
    let exact = clients.received().enumerate().filter(is_exact).count();
    let [_, bare_p99_ms] = bare.quantiles();
    Ok(Felt {
        p50_ms: clients.seen.latencies.quantile(0.5) as f64 / 1e3,
        p99_ms: clients.seen.latencies.quantile(0.99) as f64 / 1e3,
        bare_p99_ms,
        inexact: all - exact,
        deliveries: clients.seen.deliveries,
        server: server_cpu,
        generator: own_cpu,
    })
}
