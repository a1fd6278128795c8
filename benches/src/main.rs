//! Load for Tailrace, and what it costs: one report, beside the floor of the same run.

mod clients;
mod floor;
mod histogram;
mod ingest;
mod kafka;
mod load;
mod pace;
mod payload;
mod process;
mod producer;
mod report;
mod server;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "tailrace-benches", about = "Load for Tailrace, and what it costs")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Many clients on one tenant: deliveries, CPU per delivery over the floor's, latency, idle memory.
    Load(load::Load),
    /// The floor: one thread that writes the same bytes to as many sockets. `load` starts it by itself.
    #[command(hide = true)]
    Floor(floor::Floor),
    /// The way in: CPU per record, beside a bare consumer's.
    Ingest(ingest::Ingest),
    /// One reader of `ingest`, which starts it by itself.
    #[command(hide = true)]
    IngestReader(ingest::Reader),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Load(load) => load::run(&load),
        Command::Floor(floor) => floor::run(&floor),
        Command::Ingest(ingest) => ingest::run(&ingest),
        Command::IngestReader(reader) => ingest::read(&reader),
    }
}
