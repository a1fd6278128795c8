//! `cargo xtask faults`: injects one fault after another into the real program on the real Kafka, and ends with a table.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tailrace_faults::suite::{self, Plan};
use tailrace_faults::trial::Scale;
use tailrace_faults::{faults, suite::SHORT};

#[derive(Parser)]
#[command(
    name = "cargo xtask faults",
    about = "One fault after another under load; what clients got is held against what was written"
)]
struct Cli {
    /// Faults by name, or by the beginning of it; all if none is given.
    names: Vec<String>,
    /// Lists the faults, and plays none.
    #[arg(long)]
    list: bool,
    /// Only those of the short form, with little load.
    #[arg(long)]
    short: bool,
    /// Repeats a run; random if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Plays all again and again until so many events were delivered.
    #[arg(long, default_value_t = 0)]
    deliveries: u64,
    /// Times as many clients and records.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    load: u32,
    /// Seconds of one stretch of undisturbed load.
    #[arg(long, default_value_t = 3.0)]
    breath: f64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut faults = faults::all();
    if !cli.names.is_empty() {
        faults.retain(|fault| cli.names.iter().any(|name| fault.name.starts_with(name)));
    }
    if cli.short {
        faults.retain(|fault| fault.is_short);
    }
    if faults.is_empty() {
        eprintln!("no fault has such a name; `--list` names all");
        return ExitCode::from(64);
    }
    if cli.list {
        faults.iter().for_each(|fault| println!("{:<24} {}", fault.name, fault.what));
        return ExitCode::SUCCESS;
    }
    let seed = cli.seed.unwrap_or_else(|| rand::random::<u32>().into());
    println!("seed: {seed} (repeat with --seed {seed})");
    let scale = Scale { breath: Duration::from_secs_f64(cli.breath), load: cli.load };
    let scale = if cli.short { SHORT } else { scale };
    let plan = Plan { seed, scale, deliveries: cli.deliveries };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let rows = runtime.block_on(suite::run(&faults, &plan));
    let deliveries: u64 = rows.iter().map(|row| row.verdict.deliveries).sum();
    let failed = rows.iter().filter(|row| !row.is_passed()).count();
    println!("{} trials, {failed} failed, {deliveries} deliveries", rows.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
