//! `cargo xtask faults`: injects one fault after another into the real program on the real Kafka, and ends with a table.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tailrace_faults::suite::{self, Plan};
use tailrace_faults::trial::Scale;
use tailrace_faults::{faults, prove, suite::SHORT, table};

#[derive(Parser)]
#[command(
    name = "cargo xtask faults",
    about = "One fault after another under load; what clients got is held against what was written"
)]
struct Cli {
    /// Faults by name, or by the beginning of it; all if none is given. With --prove: defects.
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
    /// Breaks the program on purpose, one defect after another: each must be noticed. Needs a server with its defects.
    #[arg(long)]
    prove: bool,
    /// Writes the table into this document, between its marks.
    #[arg(long)]
    write: Option<std::path::PathBuf>,
    /// Seconds of one stretch of undisturbed load.
    #[arg(long, default_value_t = 3.0)]
    breath: f64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut faults = faults::all();
    if !cli.names.is_empty() && !cli.prove {
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
    if cli.prove {
        return match runtime.block_on(prove::run(&faults, &plan, &cli.names)) {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        };
    }
    let rows = runtime.block_on(suite::run(&faults, &plan));
    let failed = rows.iter().filter(|row| !row.is_passed()).count();
    let table = table::markdown(&rows, &command(&cli, seed));
    println!("\n{table}");
    if let Some(document) = &cli.write
        && let Err(error) = table::write(document, &table)
    {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The command that repeats this run.
fn command(cli: &Cli, seed: u64) -> String {
    let mut words = vec!["cargo xtask faults".to_owned()];
    words.extend(cli.names.iter().cloned());
    if cli.short {
        words.push("--short".to_owned());
    } else {
        words.push(format!("--load {} --breath {}", cli.load, cli.breath));
    }
    if cli.deliveries > 0 {
        words.push(format!("--deliveries {}", cli.deliveries));
    }
    words.push(format!("--seed {seed}"));
    words.join(" ")
}
