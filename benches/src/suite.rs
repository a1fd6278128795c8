//! All scenarios, one after the other, on one broker.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::json;

use crate::figures::Report;
use crate::kafka::Kafka;
use crate::machine::Machine;
use crate::process::raise_file_limit;
use crate::scenario::{Scenario, Stage};
use crate::{docs, scenarios};

#[derive(Args, Clone, Debug)]
pub(crate) struct Suite {
    /// The scenarios to run; all, if none is named.
    scenarios: Vec<String>,
    /// Fewer, shorter and smaller runs, for a look; the page is left as it is.
    #[arg(long)]
    quick: bool,
    /// Write the page even so.
    #[arg(long)]
    write: bool,
    /// Say what scenarios there are, and end.
    #[arg(long)]
    list: bool,
    /// Where benchmarks.md and benchmarks.json are.
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
    /// A broker that is there, as HOST:PORT; without it one is started from --kafka-libs.
    #[arg(long)]
    bootstrap: Option<String>,
    /// Kafka's jars, where `cargo xtask setup` puts them.
    #[arg(long, default_value = ".tailrace/kafka/libs")]
    kafka_libs: PathBuf,
    /// The server's program; the `tailrace` beside this program, if not given.
    #[arg(long)]
    server: Option<PathBuf>,
}

pub(crate) fn run(suite: &Suite) -> Result<()> {
    let chosen = chosen(&suite.scenarios)?;
    if suite.list {
        chosen.iter().for_each(|scenario| println!("{}: {}", scenario.name(), scenario.title()));
        return Ok(());
    }
    raise_file_limit()?;
    let program = match &suite.server {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("find this program")?.with_file_name("tailrace"),
    };
    let machine = Machine::look(&program, &suite.kafka_libs);
    eprintln!("benches: {}", machine.line());
    let kafka = match &suite.bootstrap {
        Some(bootstrap) => Kafka::given(bootstrap),
        None => Kafka::start(&suite.kafka_libs)?,
    };
    let stage = Stage::new(kafka, &program, suite.quick);
    let mut failed = Vec::new();
    for (index, scenario) in chosen.iter().enumerate() {
        stage.begin(format!("{} of {}, {}", index + 1, chosen.len(), scenario.name()));
        match scenario.run(&stage) {
            Ok(report) => publish(suite, scenario.as_ref(), &machine, &report)?,
            // The results of the other scenarios are still useful.
            Err(error) => {
                stage.say(format!("failed: {error:#}"));
                failed.push(scenario.name());
            }
        }
    }
    ensure!(failed.is_empty(), "these scenarios failed: {}", failed.join(", "));
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Box<dyn Scenario>>> {
    let mut all = scenarios::all();
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|scenario| scenario.name() != **name)) {
        let known = all.iter().map(|scenario| scenario.name()).collect::<Vec<_>>();
        bail!("there is no scenario {unknown:?}; there are: {}", known.join(", "));
    }
    all.retain(|scenario| names.is_empty() || names.iter().any(|name| name == scenario.name()));
    Ok(all)
}

/// Prints the table, and writes the page; a quick run writes it only with `--write`.
fn publish(suite: &Suite, scenario: &dyn Scenario, machine: &Machine, report: &Report) -> Result<()> {
    let quick = if suite.quick { " --quick" } else { "" };
    let command = format!("cargo xtask bench{quick} {}", scenario.name());
    let text =
        format!("{}\n{}. {}.\n\n```sh\n{command}\n```\n", report.markdown(), report.extent, machine.line());
    println!("## {}\n\n{text}", scenario.title());
    if suite.quick && !suite.write {
        return Ok(());
    }
    let entry = json!({ "command": command, "machine": machine.json(), "report": report.json() });
    docs::write(&suite.docs, scenario.name(), scenario.title(), &text, entry)
}
