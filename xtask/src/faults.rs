//! `cargo xtask faults`: the fault suite on release builds.

use anyhow::Result;

use crate::run::run;
use crate::setup;

/// Builds the server and the suite, and runs it. With `--prove` the server is built with its deliberate defects.
pub(crate) fn suite(arguments: &[String]) -> Result<()> {
    setup::kafka()?;
    let mut build = vec!["build", "--release", "-p", "tailrace", "-p", "tailrace-faults"];
    if arguments.iter().any(|argument| argument == "--prove") {
        build.extend(["--features", "tailrace/sabotage"]);
    }
    run("cargo", &build)?;
    let mut suite = vec!["run", "--release", "--quiet", "-p", "tailrace-faults", "--"];
    suite.extend(arguments.iter().map(String::as_str));
    run("cargo", &suite)
}
