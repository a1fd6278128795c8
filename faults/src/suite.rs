//! The suite: runs faults one after another, shows progress, and returns the rows of the table.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::kafka::Kafka;
use crate::trial::{Fault, Row, Scale, play};

/// How many of the last lines of a replica's log are shown if a trial failed.
const LAST_LINES: usize = 15;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub scale: Scale,
    /// Faults are repeated until at least this many deliveries were made.
    pub deliveries: u64,
}

/// Runs all faults, and repeats them until there are enough deliveries. Prints a line for each trial.
pub async fn run(faults: &[Fault], plan: &Plan) -> Vec<Row> {
    let mut clusters: BTreeMap<(usize, bool), Kafka> = BTreeMap::new();
    let (mut rows, mut deliveries, began) = (Vec::new(), 0, Instant::now());
    for round in 0.. {
        for (index, fault) in faults.iter().enumerate() {
            let kind = (fault.stage.brokers, fault.stage.is_secured);
            let kafka = match (clusters.remove(&kind), kind) {
                (Some(kafka), _) => kafka,
                (None, (_, true)) => Kafka::secured().await,
                (None, (count, false)) => Kafka::cluster(count, &[]).await,
            };
            let seed = plan.seed.wrapping_add(round * 1_000 + index as u64);
            progress(&format!("{:>4} s  {} …", began.elapsed().as_secs(), fault.name));
            let (row, kafka) = play(fault, kafka, seed, plan.scale).await;
            clusters.insert(kind, kafka);
            deliveries += row.verdict.deliveries;
            tell(&row);
            rows.push(row);
        }
        if deliveries >= plan.deliveries || faults.is_empty() {
            break;
        }
    }
    rows
}

fn progress(text: &str) {
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        eprint!("\r\x1b[K{text}");
        let _ = std::io::stderr().flush();
    }
}

fn tell(row: &Row) {
    progress("");
    println!("{}", line(row));
    row.notes.iter().for_each(|note| println!("    note: {note}"));
    for problem in &row.problems {
        println!("    {problem}");
    }
    if !row.is_passed() {
        row.verdict.remarks.iter().for_each(|remark| println!("    {remark}"));
        for (replica, log) in row.logs.iter().enumerate() {
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            last.iter().for_each(|line| println!("    replica {replica}: {line:.300}"));
        }
        println!("    repeat it with --seed {} {}", row.seed, row.name);
    }
}

/// One row of the table as text.
pub fn line(row: &Row) -> String {
    let verdict = &row.verdict;
    format!(
        "{:<6} {:<24} {:>9} deliveries, {} lost, {} repeated, {} out of order, {} foreign, {} altered, gaps {} of {}, {} wrong; \
         recovered in {}{}; {} MiB; {:.0} s",
        if row.is_passed() { "ok" } else { "FAILED" },
        row.name,
        verdict.deliveries,
        verdict.lost,
        verdict.repeated,
        verdict.out_of_order,
        verdict.foreign,
        verdict.altered,
        verdict.gaps,
        verdict.gaps_expected,
        verdict.gaps_wrong,
        row.median_recovery().map_or("–".to_owned(), |time| format!("{:.2} s", time.as_secs_f64())),
        row.returned.map_or(String::new(), |time| format!(" (Kafka in {:.2} s)", time.as_secs_f64())),
        row.most_resident >> 20,
        row.took.as_secs_f64(),
    )
}

/// The scale of the short form, for tests.
pub const SHORT: Scale = Scale { breath: Duration::from_millis(1_500), load: 1 };
