//! Tailrace: Kafka topics as per-tenant Server-Sent Event streams. This file only parses, builds, runs and drains.

mod admin_client;
mod check;
mod cli;
mod config;
mod demo;
mod docs;
mod health;
mod id;
mod log;
mod memory;
mod recorder;
mod serve;
mod signals;
mod top;
mod traces;
mod values;
mod version;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::{Command, Settings, Stop};
use crate::config::{Environment, Refusal};
use crate::traces::Traces;

/// A setting is wrong (EX_USAGE of sysexits.h): a restart with the same settings cannot help.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let environment = Environment::of(std::env::vars_os());
    let cli = match cli::parse(std::env::args()) {
        Ok(cli) => cli,
        Err(Stop::Refused(refusal)) => return report(&refusal.into()),
        Err(Stop::Clap(error)) => {
            // If printing fails, there is no reader.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli.command.unwrap_or(Command::Serve(Box::new(cli.settings))), environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn run(command: Command, environment: Environment) -> anyhow::Result<()> {
    match command {
        Command::Serve(settings) => serve(&settings, &environment),
        Command::Demo(_) => in_runtime(demo::run(environment)),
        Command::Id(args) => id::run(&args),
        Command::Check { settings, json } => {
            let plan = config::plan(&settings, &environment)?;
            log::start(&plan.process)?;
            in_runtime(check::run(plan, json))
        }
        Command::Health(args) => in_runtime(health::run(args)),
        Command::Top(args) => in_runtime(top::run(args)),
        Command::Configuration { markdown } => docs::print(markdown),
    }
}

fn serve(settings: &Settings, environment: &Environment) -> anyhow::Result<()> {
    let mut plan = config::plan(settings, environment)?;
    memory::keep_within(plan.process.cache);
    log::start(&plan.process)?;
    let traces = Traces::start();
    if traces.is_some() {
        plan.kafka.traces = true;
        plan.web.trace();
    }
    in_runtime(serve::run(plan))
}

fn in_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().build().context("start the runtime")?;
    let result = runtime.block_on(work);
    // Threads that are still blocked in librdkafka must not delay the exit.
    runtime.shutdown_background();
    result
}

fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("tailrace: {error:#}");
    if error.is::<Refusal>() { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
}
