//! Ten thousand clients that come back within a second over TLS, each with the ticket of its last connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::clients::{CONNECTS, Clients};
use crate::figures::{Point, Report};
use crate::process::cpu;
use crate::producer::tenant;
use crate::scenario::{Scenario, Stage};
use crate::server::{Server, Setting};
use crate::tls::{self, Tls};
use crate::wire::Transport;

const TENANT: &str = "crowd";
/// The timeout until all clients have a stream.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time after all clients have gone, in which the server takes leave of them.
const CALM: Duration = Duration::from_secs(2);

pub(crate) struct TlsStorm;

/// One time that all clients have come.
struct Wave {
    /// From the first connect until all clients are synced.
    seconds: f64,
    cpu: f64,
    generator: f64,
    /// Connections that went on with the keys of an earlier one.
    resumed: usize,
}

impl Scenario for TlsStorm {
    fn name(&self) -> &'static str {
        "tls-storm"
    }

    fn title(&self) -> &'static str {
        "10,000 clients reconnect within a second over TLS"
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (runs, crowd) = stage.pick((5, 10_000), (1, 10_000));
        let mut point = Point::new("");
        for run in 1..=runs {
            let tls = Arc::new(Tls::new()?);
            let (certificate, key) = (tls.certificate()?, tls.key()?);
            stage.say(format!("run {run} of {runs}: without TLS"));
            let plain = waves(stage, &[], &Transport::Plain, crowd)?;
            stage.say(format!("run {run} of {runs}: over TLS"));
            let [first, again] =
                waves(stage, &tls::settings(&certificate, &key), &Transport::Tls(Arc::clone(&tls)), crowd)?;
            ensure!(again.resumed == crowd, "{} of {crowd} tickets were taken", again.resumed);
            point.add_target("all synced after, with tickets, s", 2, 6.0, again.seconds);
            point.add("all synced after, for the first time, s", 2, first.seconds);
            point.add("all synced after, without TLS, s", 2, plain[1].seconds);
            let each = |wave: &Wave| wave.cpu * 1e6 / crowd as f64;
            point.add("server CPU per newcomer, with a ticket, µs", 1, each(&again));
            point.add("server CPU per newcomer, for the first time, µs", 1, each(&first));
            point.add("server CPU per newcomer, without TLS, µs", 1, each(&plain[1]));
            point.add("newcomers whose ticket was taken", 0, again.resumed as f64);
            point.add("generator's CPU with tickets, % of a core", 0, again.generator * 100.0);
        }
        let extent = format!(
            "{runs} runs: {crowd} clients connect, {CONNECTS} a second, are synced, all leave, and connect again; \
             an ECDSA certificate, TLS 1.3"
        );
        Ok(Report { extent, points: vec![point] })
    }
}

/// All clients come, leave, and come again.
fn waves(stage: &Stage, settings: &[Setting<'_>], transport: &Transport, crowd: usize) -> Result<[Wave; 2]> {
    let topic = stage.topic(1)?;
    let server = stage.server(&topic, settings)?;
    let first = wave(&server, transport, crowd)?;
    if let Transport::Tls(tls) = transport {
        tls.use_tickets();
    }
    std::thread::sleep(CALM);
    let again = wave(&server, transport, crowd)?;
    server.stop();
    Ok([first, again])
}

fn wave(server: &Server, transport: &Transport, crowd: usize) -> Result<Wave> {
    let path = format!("/t/{}/events", tenant(TENANT, 0));
    let mut clients = Clients::new(server.address, move |_| path.clone())?.over(transport.clone());
    let own = std::process::id();
    let (begin, used, generator) = (Instant::now(), cpu(server.pid())?, cpu(own)?);
    clients.add(crowd)?;
    let all = clients.run_until(PATIENCE, |seen| seen.synced >= crowd)?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(
        all,
        "{} of {crowd} streams are synced after {PATIENCE:?}\n{}",
        clients.seen.synced,
        server.said()
    );
    let (used, generator) = (cpu(server.pid())? - used, cpu(own)? - generator);
    Ok(Wave {
        seconds,
        cpu: used.as_secs_f64(),
        generator: generator.as_secs_f64() / seconds,
        resumed: clients.seen.resumed,
    })
}
