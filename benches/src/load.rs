//! One run: the server and then the floor, under the same load, three times over.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::clients::{Clients, Seen};
use crate::floor::FloorProcess;
use crate::kafka::Kafka;
use crate::pace::Pace;
use crate::process::{cpu, raise_file_limit, resident};
use crate::producer::{Producer, TENANT, Topic};
use crate::report;
use crate::server::Server;

/// Enough for a median.
const REPEATS: usize = 3;

/// Before anything is measured, under load.
const WARM_UP: Duration = Duration::from_secs(2);

/// Without load, before memory is measured.
const CALM: Duration = Duration::from_secs(2);

/// For the last events to arrive.
const LAST: Duration = Duration::from_secs(15);

#[derive(Args, Clone, Debug)]
pub(crate) struct Load {
    /// Streams, all of one tenant.
    #[arg(long, default_value_t = 1000)]
    pub(crate) clients: usize,
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// How long each repeat is measured, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) partitions: i32,
    /// A broker that is there, as HOST:PORT; without it one is started from --kafka-libs.
    #[arg(long)]
    bootstrap: Option<String>,
    /// Kafka's jars, where `cargo xtask setup` puts them.
    #[arg(long, default_value = ".tailrace/kafka/libs")]
    kafka_libs: PathBuf,
    /// The server's program; the `tailrace` beside this program, if not given.
    #[arg(long)]
    server: Option<PathBuf>,
}

/// What one repeat gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    /// Bytes of resident memory that each idle client costs the server; below zero if it gave memory back.
    pub(crate) idle_bytes: f64,
    pub(crate) server: Measured,
    pub(crate) floor: Measured,
}

/// What one side of it gave, over the measured time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) deliveries_per_second: f64,
    /// CPU of the measured process.
    pub(crate) cpu_us_per_delivery: f64,
    /// CPU of this program, of one core.
    pub(crate) generator_share: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// On the wire, with framing.
    pub(crate) bytes_per_delivery: f64,
    /// Sent, and not there at the end.
    pub(crate) missing: i128,
}

pub(crate) fn run(load: &Load) -> Result<()> {
    raise_file_limit()?;
    let program = match &load.server {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("find this program")?.with_file_name("tailrace"),
    };
    let started = match &load.bootstrap {
        Some(_) => None,
        None => {
            eprintln!("benches: start Kafka");
            Some(Kafka::start(&load.kafka_libs)?)
        }
    };
    let given = load.bootstrap.as_ref().or(started.as_ref().map(|kafka| &kafka.bootstrap));
    let bootstrap = given.context("there is a broker")?;
    let mut repeats = Vec::with_capacity(REPEATS);
    for number in 1..=REPEATS {
        eprintln!("benches: repeat {number} of {REPEATS}");
        repeats.push(repeat(load, &program, bootstrap, number)?);
    }
    print!("{}", report::markdown(load, &program, &repeats));
    Ok(())
}

fn repeat(load: &Load, program: &Path, bootstrap: &str, number: usize) -> Result<Repeat> {
    let (idle_bytes, server) = against_server(load, program, bootstrap, number)?;
    eprintln!("benches:   idle client {:.2} KiB; {server:?}", idle_bytes / 1024.0);
    let floor = against_floor(load, server.bytes_per_delivery.round() as usize)?;
    eprintln!("benches:   floor: {floor:?}");
    Ok(Repeat { idle_bytes, server, floor })
}

fn against_server(load: &Load, program: &Path, bootstrap: &str, number: usize) -> Result<(f64, Measured)> {
    // New ones each time: what an earlier repeat left must not be read again.
    let name = format!("tailrace-bench-{}-{number}", std::process::id());
    let topic = Topic::create(bootstrap, name, load.partitions)?;
    let server = Server::start(program, bootstrap, &topic.name)?;
    let measured = on_server(load, &server, bootstrap, &topic.name);
    let measured = measured.with_context(|| format!("measure the server, which said:\n{}", server.said()))?;
    server.stop();
    Ok(measured)
}

fn on_server(load: &Load, server: &Server, bootstrap: &str, topic: &str) -> Result<(f64, Measured)> {
    std::thread::sleep(CALM);
    let before = resident(server.pid())?;
    let mut clients = Clients::connect(server.address, &format!("/t/{TENANT}/events"), load.clients)?;
    clients.run(CALM)?;
    let idle = (resident(server.pid())? as f64 - before as f64) / load.clients as f64;
    let producer = Producer::start(bootstrap, topic, load.partitions, load.pace)?;
    let mut measured = measure(load, &mut clients, server.pid())?;
    measured.missing = missing(load, &mut clients, producer.end()?)?;
    Ok((idle, measured))
}

fn against_floor(load: &Load, frame_bytes: usize) -> Result<Measured> {
    // A little longer than is measured, so that it does not end within.
    let seconds = WARM_UP.as_secs() + load.seconds + 2;
    let mut floor = FloorProcess::start(load.clients, load.pace, seconds, frame_bytes)?;
    let mut clients = Clients::connect(floor.address, "/", load.clients)?;
    let mut measured = measure(load, &mut clients, floor.pid())?;
    // Read on until it has ended, or its sockets fill up.
    clients.run(Duration::from_secs(3))?;
    measured.missing = missing(load, &mut clients, floor.sent()?)?;
    Ok(measured)
}

/// What is used and received in the measured time, by the process `pid` and by this one.
fn measure(load: &Load, clients: &mut Clients, pid: u32) -> Result<Measured> {
    let own = std::process::id();
    clients.run(WARM_UP)?;
    clients.seen.latencies.clear();
    let Seen { deliveries, bytes, .. } = clients.seen;
    let (start, cpu_before, own_before) = (Instant::now(), cpu(pid)?, cpu(own)?);
    clients.run(Duration::from_secs(load.seconds))?;
    let (time, used, own_used) = (start.elapsed(), cpu(pid)? - cpu_before, cpu(own)? - own_before);
    let delivered = (clients.seen.deliveries - deliveries) as f64;
    if delivered == 0.0 {
        bail!("nothing was delivered in {time:?}");
    }
    Ok(Measured {
        deliveries_per_second: delivered / time.as_secs_f64(),
        cpu_us_per_delivery: used.as_secs_f64() * 1e6 / delivered,
        generator_share: own_used.as_secs_f64() / time.as_secs_f64(),
        p50_us: clients.seen.latencies.quantile(0.5),
        p99_us: clients.seen.latencies.quantile(0.99),
        bytes_per_delivery: (clients.seen.bytes - bytes) as f64 / delivered,
        missing: 0,
    })
}

/// Reads until every client has every event; how many are missing at the end, or, below zero, too many.
fn missing(load: &Load, clients: &mut Clients, sent: u64) -> Result<i128> {
    let expected = sent * load.clients as u64;
    clients.run_until(LAST, |seen| seen.deliveries >= expected)?;
    Ok(i128::from(expected) - i128::from(clients.seen.deliveries))
}
