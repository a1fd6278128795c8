//! Builds the server and the benchmarks as they are released, and runs the scenarios.

use anyhow::Result;

use crate::run::run;
use crate::setup;

pub(crate) fn suite(arguments: &[String]) -> Result<()> {
    setup::kafka()?;
    run("cargo", &["build", "--release", "-p", "tailrace", "-p", "tailrace-benches"])?;
    let arguments = arguments.iter().map(String::as_str);
    let suite = ["run", "--release", "--quiet", "-p", "tailrace-benches", "--", "suite"].into_iter();
    run("cargo", &suite.chain(arguments).collect::<Vec<_>>())
}
