//! Other servers compared with Tailrace, each under the same load.

mod all;
mod curve;
mod durable_streams;
mod floor;
mod http;
mod kafka_publish;
mod kafka_sse;
mod measure;
mod mercure;
mod nchan;
mod ours;
mod ours_tls;
mod own;
mod peer;
mod publish;
mod record;
mod row;
mod table;
mod tree;

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use self::all::Set;
pub(crate) use self::floor::run as run_floor;
use self::peer::{Peer, Stage};
use self::record::{Measured, Record, Round};
use crate::kafka::Kafka;
use crate::plot;
use crate::process::raise_file_limit;

/// Bytes of one of Tailrace's deliveries with ids of 12 partitions, until one has been measured.
const FRAME_BYTES: [usize; 2] = [255, 262];

const TITLE: &str = "Deliveries for a second of the server's CPU, by number of clients";
const BELOW: &str = "200-byte events in bursts of 20, ten bursts on their way at any time";

#[derive(Args, Clone, Debug)]
pub(crate) struct Peers {
    /// Which servers.
    #[arg(long, default_value = "others")]
    set: Set,
    /// How often all servers are measured. With 0 and --keep, table and plot are made again from the record.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each is measured under each load, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=15))]
    seconds: u64,
    /// Only servers whose names contain one of these; ours and the floor are always there.
    #[arg(long)]
    only: Vec<String>,
    /// What to measure: CPU per delivery, or memory and deliveries against clients; both, if not given.
    #[arg(long)]
    part: Option<Part>,
    /// Adds the rounds to those that the record has.
    #[arg(long)]
    keep: bool,
    /// Where the record, the page and the plot are.
    #[arg(long, default_value = "docs")]
    out: PathBuf,
    /// Where `cargo xtask peers` installs.
    #[arg(long, default_value = ".tailrace/peers")]
    folder: PathBuf,
    /// Kafka's jars, where `cargo xtask setup` puts them.
    #[arg(long, default_value = ".tailrace/kafka/libs")]
    kafka_libs: PathBuf,
    /// Our program; the `tailrace` beside this program, if not given.
    #[arg(long)]
    server: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Part {
    Cost,
    Curve,
}

pub(crate) fn run(peers: &Peers) -> Result<()> {
    raise_file_limit()?;
    let json = peers.out.join(peers.set.files()[1]);
    let mut record = if peers.keep { Record::read(&json)? } else { Record::default() };
    if peers.rounds > 0 {
        measure_all(peers, &mut record)?;
    }
    record.rows = table::rows(&record, peers.set);
    record.write(&json)?;
    write(peers, &record)
}

fn measure_all(peers: &Peers, record: &mut Record) -> Result<()> {
    let stage = stage(peers)?;
    let command = match peers.set {
        Set::Others => "cargo xtask peers --run",
        Set::Own => "cargo xtask peers --run -- --set own",
    };
    (record.machine, record.command) = (machine(), command.to_owned());
    for number in 1..=peers.rounds {
        record.rounds.push(Round::default());
        for peer in peers.set.peers().iter().filter(|peer| peers.wants(peer.name)) {
            eprintln!("benches: round {number} of {}: {}", peers.rounds, peer.name);
            let measured = measured(peer, &stage, peers);
            record.rounds.last_mut().context("a round has begun")?.servers.push(measured);
            // Written after each server, so that an interruption loses at most one.
            record.write(&peers.out.join(peers.set.files()[1]))?;
        }
    }
    Ok(())
}

impl Peers {
    fn wants(&self, name: &str) -> bool {
        let named = |wanted: &String| name.to_lowercase().contains(&wanted.to_lowercase());
        self.only.is_empty() || [ours::NAME, floor::PEER.name].contains(&name) || self.only.iter().any(named)
    }
}

fn stage(peers: &Peers) -> Result<Stage> {
    let program = match &peers.server {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("find this program")?.with_file_name("tailrace"),
    };
    Ok(Stage {
        kafka: Kafka::start(&peers.kafka_libs)?,
        program,
        folder: peers.folder.clone(),
        topics: Cell::new(0),
        frame_bytes: Cell::new(FRAME_BYTES),
    })
}

/// Measures one server. If that fails, the error is recorded in place of the figures, and the other servers are still measured.
fn measured(peer: &Peer, stage: &Stage, peers: &Peers) -> Measured {
    let mut measured =
        Measured { name: peer.name.to_owned(), note: peer.note.to_owned(), ..Measured::default() };
    match peer.version(stage) {
        Ok(version) => measured.version = version,
        Err(reason) => {
            eprintln!("benches:   skipped: {reason}");
            measured.failed = Some(reason);
            return measured;
        }
    }
    if let Err(error) = measure(peer, stage, peers, &mut measured) {
        eprintln!("benches:   failed: {error:#}");
        // The table gets one line; the whole error was printed above.
        measured.failed = error.root_cause().to_string().lines().next().map(str::to_owned);
    }
    measured
}

fn measure(peer: &Peer, stage: &Stage, peers: &Peers, measured: &mut Measured) -> Result<()> {
    if peers.part != Some(Part::Curve) {
        let [single, bursts] = measure::cost(peer, stage, Duration::from_secs(peers.seconds))?;
        eprintln!("benches:   one at a time: {single:?}\nbenches:   bursts: {bursts:?}");
        (measured.single, measured.bursts) = (Some(single), Some(bursts));
    }
    if peer.curve && peers.part != Some(Part::Cost) {
        let (idle, curve) = measure::curve(peer, stage, peers.set.fleet())?;
        eprintln!("benches:   idle: {idle:?}\nbenches:   busy: {curve:?}");
        (measured.idle, measured.curve) = (Some(idle), curve);
    }
    if peers.set == Set::Own {
        measured.first = Some(measure::first(peer, stage)?);
        eprintln!("benches:   first event: {:?}", measured.first);
    }
    Ok(())
}

fn write(peers: &Peers, record: &Record) -> Result<()> {
    let [page, _, plot] = peers.set.files();
    let page = peers.out.join(page);
    let text = fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
    let costs = match peers.set {
        Set::Others => table::markdown(record, &record.rows),
        Set::Own => table::own(record, peers.set),
    };
    let busy = curve::markdown(record, peers.set.peers());
    print!("{costs}\n{busy}");
    let text = put(&put(&text, "peers", &costs)?, "peers-busy", &busy)?;
    fs::write(&page, text).context("write the tables")?;
    let series = curve::series(record, peers.set.peers());
    if series.is_empty() {
        return Ok(());
    }
    fs::write(peers.out.join(plot), plot::svg(TITLE, BELOW, &series)).context("write the plot")
}

/// Writes a table between its marks.
fn put(page: &str, name: &str, table: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
    let split = page.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = split.with_context(|| format!("the page has no place for {name}"))?;
    Ok(format!("{before}{begin}{table}{end}{after}"))
}

fn machine() -> String {
    let system = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    format!(
        "{cores} cores, {} {}, {}",
        text(system.sysname()),
        text(system.release()),
        text(system.machine())
    )
}

#[cfg(test)]
mod tests {
    use super::put;

    #[test]
    fn a_table_takes_the_place_of_the_last_one() {
        let page = "a\n<!-- begin t -->\nold\n<!-- end t -->\nb\n";
        assert_eq!(put(page, "t", "new\n").expect("it has a place"), page.replace("old", "new"));
        assert!(put(page, "u", "new\n").is_err());
    }
}
