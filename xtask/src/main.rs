//! `cargo xtask`: the one command behind test and CI.

mod bench;
mod book;
mod checks;
mod faults;
mod image;
mod notices;
mod peers;
mod python;
mod release;
mod run;
mod setup;
mod supply;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything that is done to this repository, in one place")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetches what the tests need: the real Kafka, a browser and its driver. Quick when it is there already.
    Setup,
    /// Sets up, builds, and runs every test. Ends with one line, `N passed, N failed`.
    Test {
        /// Only tests whose names contain this, in whatever package.
        filter: Option<String>,
    },
    /// Format, clippy, documentation and links.
    Check,
    /// What lands must pass: `check`, then `test`.
    Ci,
    /// Licenses, advisories and sources of all dependencies by `deny.toml`, then the bill of materials: target/sbom.
    Supply {
        /// Only what needs neither the list of advisories nor a tool that is not there.
        #[arg(long)]
        if_installed: bool,
    },
    /// Builds the image by compose/Dockerfile, compile and all, starts it, and stops it. Needs root.
    Image,
    /// Injects faults into the program under load, and holds every client against what was written.
    Faults {
        /// Faults, all if none is named, and options: `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Release builds of the server and the benchmarks, then the scenarios: docs/benchmarks.md is written anew.
    Bench {
        /// Scenarios, all if none is named, and options such as `--quick` and `--list`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The documentation as a site: target/book.
    Book {
        /// Another folder to build it in.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Static programs for x86-64 and ARM, packed, with checksums and bills of materials: target/archives.
    Release {
        /// Only the targets whose names contain this, as in `--target x86_64`.
        #[arg(long)]
        target: Option<String>,
        /// Another folder to write the archives in. It is emptied first.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Installs other servers to measure beside ours. Quick when they are there already.
    Peers {
        /// Then measures all, and writes docs/peers.md, docs/peers.json and docs/benchmarks.svg.
        #[arg(long)]
        run: bool,
        /// Handed on, as in `-- --only nchan`. With `-- --set own`: event streams and WebSockets, docs/sse-or-websocket.md.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::all(),
        Task::Test { filter } => test::all(filter.as_deref()),
        Task::Check => checks::all(),
        Task::Ci => {
            checks::all()?;
            test::all(None)
        }
        Task::Supply { if_installed: true } => supply::if_installed(),
        Task::Supply { if_installed: false } => supply::release(),
        Task::Image => image::all(),
        Task::Faults { arguments } => faults::suite(&arguments),
        Task::Bench { arguments } => bench::suite(&arguments),
        Task::Book { out } => book::build(out),
        Task::Release { target, out } => release::all(target.as_deref(), out),
        Task::Peers { run, arguments } => {
            peers::install(&arguments)?;
            if run { peers::measure(&arguments) } else { Ok(()) }
        }
    }
}
