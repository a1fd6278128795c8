//! Load for Tailrace, and its cost: scenarios, each compared with the least possible cost.

mod bare;
mod clients;
mod coded;
mod docs;
mod figures;
mod floor;
mod floor_process;
mod frame;
mod histogram;
mod hostile;
mod http2;
mod ingest;
mod kafka;
mod machine;
mod pace;
mod payload;
mod peers;
mod plot;
mod process;
mod producer;
mod relay;
mod scenario;
mod scenarios;
mod schemas;
mod server;
mod slice;
mod suite;
mod tls;
mod way;
mod wire;

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
    /// Runs scenarios and shows their tables, on the page and in JSON too.
    Suite(suite::Suite),
    /// The floor: one thread that writes given bytes to many sockets, as its standard input tells. The suite starts it.
    #[command(hide = true)]
    Floor,
    /// The floor of latency: a consumer that writes what it reads to all sockets. The suite starts it.
    #[command(hide = true)]
    Relay(relay::Relay),
    /// The way in: CPU per record, beside a bare consumer's.
    Ingest(ingest::Ingest),
    /// One reader of `ingest`, which starts it by itself.
    #[command(hide = true)]
    IngestReader(ingest::Reader),
    /// Other servers beside ours, each under the same load.
    Peers(peers::Peers),
    /// The floor among them. `peers` starts it by itself.
    #[command(hide = true)]
    PeerFloor,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Ingest(ingest) => ingest::run(&ingest),
        Command::IngestReader(reader) => ingest::read(&reader),
        Command::Suite(suite) => suite::run(&suite),
        Command::Floor => floor::run(),
        Command::Relay(relay) => relay::run(&relay),
        Command::Peers(peers) => peers::run(&peers),
        Command::PeerFloor => peers::run_floor(),
    }
}
