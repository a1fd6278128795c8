//! Ten thousand clients that reconnect within a second, and the effect on a hundred others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::bare::Bare;
use crate::clients::{CONNECTS, Clients, Seen};
use crate::figures::{Point, Report};
use crate::floor_process::{FloorProcess, To};
use crate::frame::learn;
use crate::pace::Pace;
use crate::process::cpu;
use crate::producer::{Flow, Producer, Topic, tenant};
use crate::scenario::{Scenario, Stage};
use crate::server::Server;
use crate::slice;
use crate::way::{Doors, Way};

const PARTITIONS: i32 = 12;
const LIVE: usize = 100;
const LIVE_PACE: Pace = Pace::single(50);
const LIVE_TENANT: &str = "live";
const CROWD_TENANT: &str = "crowd";

/// Events of the view of the reconnecting clients, each with an id from which some client resumes: on average, a client has
/// missed half of them.
const MISSED_PACE: Pace = Pace::single(50);
const LEARNING: Duration = Duration::from_secs(1);

/// The timeout until all clients have reconnected.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Storm {
    name: &'static str,
    title: &'static str,
    way: Way,
    /// The longest time until all have resumed, in seconds. `None`: most of it are handshakes, which the scenario `tls-storm` measures.
    target: Option<f64>,
}

pub(crate) const PLAIN: Storm = Storm {
    name: "storm",
    title: "10,000 clients reconnect within a second",
    way: Way::Sse,
    target: Some(3.0),
};

pub(crate) const TLS: Storm = Storm {
    name: "storm-tls",
    title: "10,000 clients reconnect within a second over TLS, beside others",
    way: Way::Tls,
    target: None,
};

pub(crate) const HTTP2: Storm = Storm {
    name: "storm-http2",
    title: "10,000 clients reconnect within a second over HTTP/2, 10 a connection",
    way: Way::Http2,
    target: Some(3.0),
};

/// The results of one storm.
struct Passed {
    /// From the first connect until all clients have all events.
    seconds: f64,
    live_p50_ms: f64,
    live_p99_ms: f64,
    /// Bytes that each reconnecting client got.
    bytes_each: f64,
    cpu: f64,
    generator: f64,
}

/// Latencies through Kafka, which runs on the same cores; the floor has none of them.
struct Kafka {
    /// From produce to client, before the storm.
    calm_p99_ms: f64,
    /// From produce to a bare consumer, during the storm.
    bare_p99_ms: f64,
}

impl Scenario for Storm {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (runs, crowd) = stage.pick((5, 10_000), (1, 10_000));
        let mut point = Point::new("");
        for run in 1..=runs {
            stage.say(format!("run {run} of {runs}: the server"));
            let (kafka, ours, frame) = on_server(stage, self.way, crowd)?;
            stage.say(format!("run {run} of {runs}: the floor"));
            let floor = on_floor(crowd, &frame, ours.bytes_each)?;
            const RESUMED: &str = "all resumed and synced after, s";
            match self.target {
                Some(target) => point.add_target(RESUMED, 2, target, ours.seconds),
                None => point.add(RESUMED, 2, ours.seconds),
            }
            point.add("the floor has taken all after, s", 2, floor.seconds);
            point.add("live p50 meanwhile, ms", 2, ours.live_p50_ms);
            point.add("live p99 meanwhile, ms", 2, ours.live_p99_ms);
            point.add("the floor's live p50 meanwhile, ms", 2, floor.live_p50_ms);
            point.add("the floor's live p99 meanwhile, ms", 2, floor.live_p99_ms);
            point.add_target("live p99, server / floor, ×", 2, 2.0, ours.live_p99_ms / floor.live_p99_ms);
            point.add("a bare Kafka consumer's p99 meanwhile, ms", 2, kafka.bare_p99_ms);
            let least = kafka.bare_p99_ms + floor.live_p99_ms;
            point.add_target(
                "live p99, server / (bare consumer + floor), ×",
                2,
                1.2,
                ours.live_p99_ms / least,
            );
            point.add("live p99 of the server in calm, ms", 2, kafka.calm_p99_ms);
            point.add("bytes for each newcomer", 0, ours.bytes_each);
            point.add("server CPU per newcomer, µs", 1, ours.cpu * 1e6 / crowd as f64);
            point.add("floor CPU per newcomer, µs", 1, floor.cpu * 1e6 / crowd as f64);
            point.add("generator's CPU beside the server, % of a core", 0, ours.generator * 100.0);
            point.add("generator's CPU beside the floor, % of a core", 0, floor.generator * 100.0);
        }
        let extent = format!(
            "{runs} runs: {crowd} clients connect {}, {CONNECTS} a second, resumed from memory; {LIVE} others of \
             another tenant get {} events a second the same way; the floor is over HTTP/1.1",
            self.way.label(),
            LIVE_PACE.rate
        );
        Ok(Report { extent, points: vec![point] })
    }
}

/// Returns the latencies through Kafka, the storm's results, and the bytes of a live event.
fn on_server(stage: &Stage, way: Way, crowd: usize) -> Result<(Kafka, Passed, Vec<u8>)> {
    let topic = stage.topic(PARTITIONS)?;
    let doors = way.doors()?;
    let server = stage.server(&topic, &doors.settings())?;
    let source = (stage.bootstrap(), &topic);
    let ids = old_ids(&server, &doors, source)?;
    let path = format!("/t/{}/events", tenant(LIVE_TENANT, 0));
    let mut live = doors.connect(&server, move |_| path.clone())?.greeted(LIVE)?;
    let flow = Flow { pace: LIVE_PACE, tenant: LIVE_TENANT, tenants: 1, users: 1, orders: false };
    let calm = slice::on_server(&server, &mut live, source, (flow, To::All(LIVE)), Duration::from_secs(3))?;
    let frame = frame(&server, &doors, source, flow)?;
    let path = format!("/t/{}/events", tenant(CROWD_TENANT, 0));
    let mut newcomers = doors
        .connect(&server, move |index| format!("{path}\nLast-Event-ID: {}\r\n", ids[index % ids.len()]))?;
    let bare = Bare::start(stage.bootstrap(), &topic)?;
    let producer = Producer::start(stage.bootstrap(), &topic, flow)?;
    live.run(slice::SETTLE)?;
    bare.begin(Duration::ZERO);
    let passed = pass(server.pid(), &mut live, &mut newcomers, crowd, |seen| seen.synced)
        .with_context(|| format!("pass a storm; the server said:\n{}", server.said()))?;
    let [_, bare_p99_ms] = bare.quantiles();
    producer.end()?;
    server.stop();
    Ok((Kafka { calm_p99_ms: calm.p99_ms, bare_p99_ms }, passed, frame))
}

/// A live event as one client gets it.
fn frame(server: &Server, doors: &Doors, source: (&str, &Topic), flow: Flow) -> Result<Vec<u8>> {
    let path = format!("/t/{}/events", tenant(LIVE_TENANT, 0));
    let mut client = doors.connect(server, move |_| path.clone())?.sharing(1).greeted(1)?;
    client.capture();
    slice::on_server(server, &mut client, source, (flow, To::All(1)), LEARNING)?;
    learn(&client.captured(), 1)
}

/// The ids of a stream, from its first event on.
fn old_ids(server: &Server, doors: &Doors, (bootstrap, topic): (&str, &Topic)) -> Result<Vec<String>> {
    let path = format!("/t/{}/events", tenant(CROWD_TENANT, 0));
    // Of one client, whatever the way: several of a connection would mix their blocks.
    let mut clients = doors.connect(server, move |_| path.clone())?.sharing(1).greeted(1)?;
    clients.capture();
    let flow = Flow { pace: MISSED_PACE, tenant: CROWD_TENANT, tenants: 1, users: 1, orders: false };
    slice::on_server(server, &mut clients, (bootstrap, topic), (flow, To::All(1)), LEARNING)?;
    let text = clients.captured().concat();
    let text = String::from_utf8_lossy(&text);
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned);
    let ids = ids.collect::<Vec<_>>();
    ensure!(!ids.is_empty(), "a stream has no ids: {text}");
    Ok(ids)
}

fn on_floor(crowd: usize, frame: &[u8], bytes_each: f64) -> Result<Passed> {
    let mut floor = FloorProcess::start()?;
    floor.frame(frame)?;
    let mut live = Clients::connect(floor.address, LIVE, |_| "/".to_owned())?;
    floor.greet(bytes_each as usize)?;
    let mut newcomers = Clients::new(floor.address, |_| "/".to_owned())?;
    // Much longer than the storm takes.
    floor.send(LIVE_PACE, To::All(LIVE), Duration::from_secs(5))?;
    thread::sleep(slice::SETTLE);
    let passed = pass(floor.pid(), &mut live, &mut newcomers, crowd, |seen| seen.greeted);
    // The floor still sends, so it is ended before its clients.
    drop(floor);
    passed
}

/// Connects the clients of the storm, while another thread reads the events of the live clients.
fn pass(
    pid: u32,
    live: &mut Clients,
    newcomers: &mut Clients,
    crowd: usize,
    there: impl Fn(&Seen) -> usize,
) -> Result<Passed> {
    let own = std::process::id();
    let over = AtomicBool::new(false);
    live.run(Duration::from_millis(100))?;
    live.seen.latencies.clear();
    let (begin, used, generator) = (Instant::now(), cpu(pid)?, cpu(own)?);
    let (read, all) = thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                live.run(Duration::from_millis(5))?;
            }
            Ok(())
        });
        let all =
            newcomers.add(crowd).and_then(|()| newcomers.run_until(PATIENCE, |seen| there(seen) >= crowd));
        over.store(true, Ordering::Relaxed);
        (reader.join().map_err(|_| anyhow!("the reader has panicked")), all)
    });
    read??;
    let seconds = begin.elapsed().as_secs_f64();
    let (used, generator) = ((cpu(pid)? - used).as_secs_f64(), (cpu(own)? - generator).as_secs_f64());
    ensure!(all?, "{} of {crowd} clients are there after {PATIENCE:?}", there(&newcomers.seen));
    Ok(Passed {
        seconds,
        live_p50_ms: live.seen.latencies.quantile(0.5) as f64 / 1e3,
        live_p99_ms: live.seen.latencies.quantile(0.99) as f64 / 1e3,
        bytes_each: newcomers.seen.bytes as f64 / crowd as f64,
        cpu: used,
        generator: generator / seconds,
    })
}
