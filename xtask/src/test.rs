//! Runs the tests, and adds up their results.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::python;
use crate::run::{command, root};
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
    if filter.is_empty() {
        ok &= run(npm_test(), &mut tally)?;
        for check in python::checks() {
            ok &= run(check, &mut tally)?;
        }
    }
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    if !ok || tally.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

fn cargo(arguments: &[&str], tally: &mut Tally) -> Result<bool> {
    run(command("cargo", arguments), tally)
}

/// The tests of the package for Node and browsers.
fn npm_test() -> Command {
    let mut npm = command("npm", &["test", "--silent"]);
    npm.current_dir(root().join(setup::NPM));
    npm
}

/// Runs a command, prints its output, and adds up its summaries.
fn run(mut command: Command, tally: &mut Tally) -> Result<bool> {
    let (program, arguments) = (command.get_program().display(), command.get_args());
    eprintln!(
        "xtask: {program} {}",
        arguments.map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    );
    let before = tally.failed;
    let mut child = command.stdout(Stdio::piped()).spawn().context("start the tests")?;
    let output = child.stdout.take().context("the output is piped")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("read the output of the tests")?;
        println!("{line}");
        tally.add(&line);
    }
    let ok = child.wait().context("wait for the tests")?.success();
    if !ok && tally.failed == before {
        // There was no summary: a build that fails counts as a failure, too.
        tally.failed += 1;
    }
    Ok(ok)
}

impl Tally {
    /// `test result: ok. 3 passed; 0 failed; …` of cargo, `# pass 3`, `# fail 0` and `# cancelled 0` of Node, `1 failed, 3 passed in 4.56s`
    /// of pytest.
    fn add(&mut self, line: &str) {
        let number =
            |prefix: &str| line.strip_prefix(prefix).and_then(|rest| rest.parse::<u64>().ok()).unwrap_or(0);
        self.passed += number("# pass ");
        self.failed += number("# fail ") + number("# cancelled ");
        let is_pytest = line.starts_with(|first: char| first.is_ascii_digit()) && line.contains("ed in ");
        let Some(summary) = line.strip_prefix("test result: ").or(is_pytest.then_some(line)) else { return };
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
        tally.add("# pass 4");
        tally.add("# fail 1");
        tally.add("1 failed, 174 passed, 1 skipped in 33.89s");
        tally.add("5 passed in 68.38s (0:01:08)");
        tally.add("2 failed in 1.00s");
        assert_eq!((tally.passed, tally.failed), (196, 6));
    }
}
