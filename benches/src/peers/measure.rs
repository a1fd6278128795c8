//! One server under load: the cost of a delivery and of an idle client, and the highest rate of deliveries.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::peer::{Peer, Running, Stage};
use super::publish::{Publish, Publisher};
use super::record::{Cost, First, Idle, Point};
use super::tree::{tree_cpu, tree_resident};
use crate::clients::{Clients, Seen};
use crate::pace::Pace;
use crate::process::cpu;

/// Events in a burst.
pub(crate) const BURST: u32 = 20;

/// Clients of the figures that are measured with one number of clients.
const CLIENTS: usize = 1000;

/// Clients of the curve besides the fleet, which comes first: its memory is that of a fresh process.
const CURVE: [usize; 3] = [1000, 100, 10];

/// Clients that come one after the other, each until its first event, and the events meanwhile.
const ALONE: usize = 100;
const FIRST: Pace = Pace { rate: 500, burst: 1 };

/// Bursts per second to try, the wanted rate first: a server gets the first one that it can sustain.
const BURSTS_PER_SECOND: [u32; 6] = [20, 10, 5, 3, 2, 1];

/// The share of its highest rate of deliveries that a server gets at most.
const HEADROOM: f64 = 0.75;

/// Bursts under way at the same time when a server is under full load.
const IN_FLIGHT: u64 = 10;

/// How long there is no load before memory is measured.
const CALM: Duration = Duration::from_secs(2);

/// How long there is load before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long a server is under full load for a point of the curve.
const BUSY: Duration = Duration::from_secs(2);

/// The timeout until the last events arrive.
const LAST: Duration = Duration::from_secs(10);

fn connect(running: &Running, count: usize) -> Result<Clients> {
    let path = running.path.clone();
    Clients::new(running.address, move |_| path.clone())?.over(running.transport.clone()).greeted(count)
}

/// The cost of a delivery, with single events and in bursts.
pub(crate) fn cost(peer: &Peer, stage: &Stage, time: Duration) -> Result<[Cost; 2]> {
    let running = (peer.start)(stage)?;
    let pids = running.pids();
    let count = CLIENTS.min(peer.most_clients);
    with_log(running, |running| {
        let mut clients = connect(running, count)?;
        clients.run(CALM)?;
        let mut load = Load { pids: &pids, count, clients: &mut clients };
        let publish = load.hand_over(running);
        let (publish, single) = load.paced(publish, Pace { rate: 20, burst: 1 }, time)?;
        let (publish, most) = load.busy(publish, WARM_UP)?;
        let per_second = held(most.deliveries_per_second, count);
        let pace = Pace { rate: per_second * BURST, burst: BURST };
        let (_, bursts) = load.paced(publish, pace, time)?;
        if peer.name == super::ours::NAME {
            stage
                .frame_bytes
                .set([single.bytes_per_delivery, bursts.bytes_per_delivery].map(|it| it.round() as usize));
        }
        Ok([single, bursts])
    })
}

/// How long a client waits for its first event.
pub(crate) fn first(peer: &Peer, stage: &Stage) -> Result<First> {
    with_log((peer.start)(stage)?, |running| {
        let publish = std::mem::replace(&mut running.publish, Box::new(Nothing));
        let publisher = Publisher::paced(publish, FIRST);
        let mut times = Vec::with_capacity(ALONE);
        for _ in 0..ALONE {
            let begin = Instant::now();
            let mut client = connect(running, 1)?;
            ensure!(client.run_until(LAST, |seen| seen.deliveries > 0)?, "a client gets nothing");
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        publisher.end()?;
        times.sort_by(f64::total_cmp);
        Ok(First { p50_ms: times[ALONE / 2], p99_ms: times[ALONE - 1 - ALONE / 100] })
    })
}

/// The memory of idle clients, and deliveries per second by number of clients.
pub(crate) fn curve(peer: &Peer, stage: &Stage, fleet: usize) -> Result<(Idle, Vec<Point>)> {
    let running = (peer.start)(stage)?;
    let pids = running.pids();
    with_log(running, |running| {
        let (mut idle, mut points) = (None, Vec::new());
        let mut publish = std::mem::replace(&mut running.publish, Box::new(Nothing));
        for count in [fleet].into_iter().chain(CURVE).map(|count| count.min(peer.most_clients)) {
            if points.iter().any(|point: &Point| point.clients == count) {
                continue;
            }
            let (before, kernel) = (tree_resident(&pids)?, kernel_bytes()?);
            let (begin, used) = (Instant::now(), tree_cpu(&pids)?);
            let mut clients = connect(running, count)?;
            let (took, used) = (begin.elapsed(), tree_cpu(&pids)? - used);
            clients.run(CALM)?;
            if idle.is_none() {
                let each = |bytes: f64| bytes / count as f64 / 1024.0;
                idle = Some(Idle {
                    clients: count,
                    kib_per_client: each(tree_resident(&pids)? as f64 - before as f64),
                    kernel_kib_per_client: each(kernel_bytes()? as f64 - kernel as f64),
                    connect_seconds: took.as_secs_f64(),
                    connect_cpu_us: used.as_secs_f64() * 1e6 / count as f64,
                });
            }
            let point;
            (publish, point) = Load { pids: &pids, count, clients: &mut clients }.busy(publish, BUSY)?;
            points.push(point);
        }
        points.sort_by_key(|point| point.clients);
        Ok((idle.context("a curve has points")?, points))
    })
}

/// What the kernel has for sockets, files and threads, in bytes.
fn kernel_bytes() -> Result<u64> {
    const PAGE: u64 = 4096;
    let text = std::fs::read_to_string("/proc/meminfo").context("read the kernel's memory")?;
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0)
    };
    let sockets = std::fs::read_to_string("/proc/net/sockstat").context("read the sockets' memory")?;
    let tcp = sockets.lines().find(|line| line.starts_with("TCP:"));
    let pages = tcp.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
    Ok(["Slab:", "KernelStack:", "PageTables:"].map(kib).iter().sum::<u64>() * 1024 + pages * PAGE)
}

/// The highest number of bursts per second that a server can sustain, with some reserve.
fn held(most_deliveries_per_second: f64, clients: usize) -> u32 {
    let needs = |bursts: u32| f64::from(bursts * BURST) * clients as f64;
    let fits = |bursts: &u32| needs(*bursts) <= HEADROOM * most_deliveries_per_second;
    BURSTS_PER_SECOND.into_iter().find(fits).unwrap_or(1)
}

/// Adds the server's log to an error.
fn with_log<T>(mut running: Running, measure: impl FnOnce(&mut Running) -> Result<T>) -> Result<T> {
    let outcome = measure(&mut running);
    outcome.with_context(|| format!("the server said: {}", last_lines(&running.said())))
}

fn last_lines(log: &str) -> String {
    let lines = log.lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// A placeholder for a publisher that is in use.
struct Nothing;

impl Publish for Nothing {
    fn burst(&mut self, _: u32) -> Result<()> {
        bail!("there is no publisher")
    }
}

struct Load<'a> {
    pids: &'a [u32],
    /// The number of clients.
    count: usize,
    clients: &'a mut Clients,
}

/// The CPU time and deliveries so far, at one moment.
struct Mark {
    at: Instant,
    server: Duration,
    own: Duration,
    deliveries: u64,
    bytes: u64,
}

impl Load<'_> {
    fn hand_over(&self, running: &mut Running) -> Box<dyn Publish> {
        std::mem::replace(&mut running.publish, Box::new(Nothing))
    }

    fn mark(&self) -> Result<Mark> {
        let Seen { deliveries, bytes, .. } = self.clients.seen;
        let (server, own) = (tree_cpu(self.pids)?, cpu(std::process::id())?);
        Ok(Mark { at: Instant::now(), server, own, deliveries, bytes })
    }

    /// Publishes at an even pace, for a time.
    fn paced(
        &mut self,
        publish: Box<dyn Publish>,
        pace: Pace,
        time: Duration,
    ) -> Result<(Box<dyn Publish>, Cost)> {
        let before = self.clients.seen.deliveries;
        let publisher = Publisher::paced(publish, pace);
        self.clients.run(WARM_UP)?;
        self.clients.seen.latencies.clear();
        let start = self.mark()?;
        self.clients.run(time)?;
        let end = self.mark()?;
        let latencies = [0.5, 0.99].map(|share| self.clients.seen.latencies.quantile(share) as f64 / 1e3);
        let (publish, sent) = publisher.end()?;
        let missing = self.missing(before, sent)?;
        let delivered = (end.deliveries - start.deliveries) as f64;
        ensure!(delivered > 0.0, "nothing was delivered in {time:?}");
        let seconds = (end.at - start.at).as_secs_f64();
        let cost = Cost {
            clients: self.count,
            events_per_second: pace.rate,
            burst: pace.burst,
            cpu_us_per_delivery: (end.server - start.server).as_secs_f64() * 1e6 / delivered,
            deliveries_per_second: delivered / seconds,
            bytes_per_delivery: (end.bytes - start.bytes) as f64 / delivered,
            generator_cores: (end.own - start.own).as_secs_f64() / seconds,
            p50_ms: latencies[0],
            p99_ms: latencies[1],
            missing,
        };
        Ok((publish, cost))
    }

    /// Keeps the server under full load: as soon as all clients together have got a burst, the next one is published.
    fn busy(&mut self, publish: Box<dyn Publish>, time: Duration) -> Result<(Box<dyn Publish>, Point)> {
        let publisher = Publisher::on_demand(publish, BURST);
        let before = self.clients.seen.deliveries;
        let (begin, mut ordered, mut start) = (Instant::now(), 0, None);
        let per_burst = u64::from(BURST) * self.count as u64;
        while begin.elapsed() < WARM_UP + time {
            if start.is_none() && begin.elapsed() >= WARM_UP {
                start = Some(self.mark()?);
            }
            let arrived = (self.clients.seen.deliveries - before) / per_burst;
            while ordered < arrived + IN_FLIGHT {
                publisher.order()?;
                ordered += 1;
            }
            // The wait is short, so that it ends with the measurement and with the warm-up.
            let wait = Duration::from_millis(100);
            self.clients.run_until(wait, |seen| (seen.deliveries - before) / per_burst > arrived)?;
        }
        let (start, end) = (start.context("the time is longer than the warm-up")?, self.mark()?);
        let (publish, sent) = publisher.end()?;
        let missing = self.missing(before, sent)?;
        let seconds = (end.at - start.at).as_secs_f64();
        let delivered = (end.deliveries - start.deliveries) as f64;
        let point = Point {
            clients: self.count,
            deliveries_per_second: delivered / seconds,
            server_cores: (end.server - start.server).as_secs_f64() / seconds,
            generator_cores: (end.own - start.own).as_secs_f64() / seconds,
            missing,
        };
        Ok((publish, point))
    }

    /// Reads until every client has every event; returns how many are missing at the end, or, if negative, how many are too
    /// many.
    fn missing(&mut self, before: u64, sent: u64) -> Result<i64> {
        let expected = sent * self.count as u64;
        self.clients.run_until(LAST, |seen| seen.deliveries - before >= expected)?;
        Ok(expected.cast_signed() - (self.clients.seen.deliveries - before).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gets_as_many_bursts_as_leave_it_a_quarter() {
        assert_eq!(held(1e9, 1000), 20);
        assert_eq!(held(120_000.0, 1000), 3);
        assert_eq!(held(1.0, 1000), 1);
    }
}
