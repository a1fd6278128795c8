//! A short slice of load on one process, from its first event to the last delivery: its cost and its results.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::clients::{Clients, Seen};
use crate::floor_process::{FloorProcess, To};
use crate::pace::Pace;
use crate::process::cpu;
use crate::producer::{Flow, Producer, Topic};
use crate::relay::RelayProcess;
use crate::server::Server;

/// Latencies are counted after this time: a new producer connects first.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);

/// The interval at which a source is asked whether it has ended.
const END: Duration = Duration::from_millis(2);

/// The timeout until the last events arrive.
const LAST: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) deliveries: u64,
    pub(crate) time: Duration,
    /// CPU time of the process.
    pub(crate) cpu: Duration,
    /// CPU time of this program, as a share of one core.
    pub(crate) generator: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Bytes on the wire, with framing.
    pub(crate) bytes_per_delivery: f64,
    /// Events that were sent but not delivered at the end; negative: more were delivered than sent.
    pub(crate) missing: f64,
}

impl Slice {
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.deliveries as f64
    }

    /// CPU time of the process, as a share of one core.
    pub(crate) fn cpu_share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.time.as_secs_f64()
    }

    pub(crate) fn deliveries_per_second(&self) -> f64 {
        self.deliveries as f64 / self.time.as_secs_f64()
    }
}

/// The server under a flow of events.
pub(crate) fn on_server(
    server: &Server,
    clients: &mut Clients,
    (bootstrap, topic): (&str, &Topic),
    (flow, to): (Flow, To),
    time: Duration,
) -> Result<Slice> {
    measure(clients, server.pid(), to, time, || Producer::start(bootstrap, topic, flow))
}

/// The relay under a flow of events.
pub(crate) fn on_relay(
    relay: &RelayProcess,
    clients: &mut Clients,
    (bootstrap, topic): (&str, &Topic),
    (flow, to): (Flow, To),
    time: Duration,
) -> Result<Slice> {
    measure(clients, relay.pid(), to, time, || Producer::start(bootstrap, topic, flow))
}

/// The floor at the same pace.
pub(crate) fn on_floor(
    floor: &mut FloorProcess,
    clients: &mut Clients,
    (pace, to): (Pace, To),
    time: Duration,
) -> Result<Slice> {
    let pid = floor.pid();
    measure(clients, pid, to, time, || floor.send(pace, to, time).map(|()| floor))
}

/// A source of events during a slice.
trait Source {
    /// Requests its end; returns whether it has ended. Does not wait, since the clients must be read meanwhile.
    fn ends(&mut self) -> Result<bool>;

    /// The number of events that it sent, once it has ended.
    fn sent(self) -> Result<u64>;
}

impl Source for Producer {
    fn ends(&mut self) -> Result<bool> {
        Ok(self.stop())
    }

    fn sent(self) -> Result<u64> {
        self.end()
    }
}

impl Source for &mut FloorProcess {
    fn ends(&mut self) -> Result<bool> {
        self.has_sent()
    }

    fn sent(self) -> Result<u64> {
        FloorProcess::sent(self)
    }
}

fn measure<S: Source>(
    clients: &mut Clients,
    pid: u32,
    to: To,
    time: Duration,
    begin: impl FnOnce() -> Result<S>,
) -> Result<Slice> {
    let own = std::process::id();
    let Seen { deliveries, bytes, .. } = clients.seen;
    let (start, cpu_before, own_before) = (Instant::now(), cpu(pid)?, cpu(own)?);
    let mut source = begin()?;
    clients.run(SETTLE)?;
    clients.seen.latencies.clear();
    clients.run(time - SETTLE)?;
    let late = Instant::now() + LAST;
    while !source.ends()? {
        ensure!(Instant::now() < late, "what sends events does not end");
        clients.run(END)?;
    }
    let expected = deliveries + source.sent()? * to.copies();
    clients.run_until(LAST, |seen| seen.deliveries >= expected)?;
    let (time, used, own_used) = (start.elapsed(), cpu(pid)? - cpu_before, cpu(own)? - own_before);
    let delivered = clients.seen.deliveries - deliveries;
    ensure!(delivered > 0, "nothing was delivered in {time:?}");
    Ok(Slice {
        deliveries: delivered,
        time,
        cpu: used,
        generator: own_used.as_secs_f64() / time.as_secs_f64(),
        p50_ms: clients.seen.latencies.quantile(0.5) as f64 / 1e3,
        p99_ms: clients.seen.latencies.quantile(0.99) as f64 / 1e3,
        bytes_per_delivery: (clients.seen.bytes - bytes) as f64 / delivered as f64,
        missing: expected as f64 - clients.seen.deliveries as f64,
    })
}

/// The CPU time of a server without clients for the same events, as a share of one core: the floor does not read Kafka.
pub(crate) fn reading_alone(
    server: &Server,
    (bootstrap, topic): (&str, &Topic),
    flow: Flow,
    time: Duration,
) -> Result<f64> {
    let producer = Producer::start(bootstrap, topic, flow)?;
    std::thread::sleep(SETTLE);
    let (start, before) = (Instant::now(), cpu(server.pid())?);
    std::thread::sleep(time);
    let share = (cpu(server.pid())? - before).as_secs_f64() / start.elapsed().as_secs_f64();
    producer.end()?;
    Ok(share)
}
