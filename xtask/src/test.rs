//! Runs the tests, and adds up their results.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::run::command;
use crate::setup;

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
}

pub(crate) fn all(filter: Option<&str>) -> Result<()> {
    setup::all()?;
    let mut tally = Tally::default();
    let filter: Vec<&str> = filter.into_iter().collect();
    let workspace = [&["test", "--workspace", "--no-fail-fast"][..], &filter].concat();
    let mut ok = cargo(&workspace, &mut tally)?;
    // The model checker replaces the locks of the whole bridge, so it needs a build of its own; of the whole workspace, so that
    // nothing outside of it is built with other features.
    let models = ["test", "--workspace", "--features", "tailrace-bridge/shuttle", "--test", "seam"];
    ok &= cargo(&[&models[..], &filter].concat(), &mut tally)?;
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    if !ok || tally.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

/// Runs cargo, prints its output, and adds up its summaries.
fn cargo(arguments: &[&str], tally: &mut Tally) -> Result<bool> {
    eprintln!("xtask: cargo {}", arguments.join(" "));
    let before = tally.failed;
    let mut child = command("cargo", arguments).stdout(Stdio::piped()).spawn().context("start cargo")?;
    let output = child.stdout.take().context("cargo's output is piped")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("read cargo's output")?;
        println!("{line}");
        tally.add(&line);
    }
    let ok = child.wait().context("wait for cargo")?.success();
    if !ok && tally.failed == before {
        // There was no summary: a build that fails counts as a failure, too.
        tally.failed += 1;
    }
    Ok(ok)
}

impl Tally {
    /// `test result: ok. 3 passed; 0 failed; …`
    fn add(&mut self, line: &str) {
        let Some(summary) = line.strip_prefix("test result: ") else { return };
        let count = |what: &str| {
            let before = summary.split(what).next().unwrap_or_default().trim_end();
            before.rsplit([' ', '.']).next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        self.passed += count("passed");
        self.failed += count("failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_add_up() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 12 passed; 0 failed; 0 ignored");
        tally.add("test result: FAILED. 1 passed; 2 failed; 0 ignored");
        tally.add("test something ... ok");
        assert_eq!((tally.passed, tally.failed), (13, 2));
    }
}
