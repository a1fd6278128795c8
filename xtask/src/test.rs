//! Runs the tests, and counts what they say.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::run::command;
use crate::setup;

/// Defects that cuts and kills must show in the exact-resume test.
const DEFECTS: [&str; 4] =
    ["ids_without_other_partitions", "off_by_one", "blank_line_first", "id_without_view"];

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
    // The model checker replaces the locks of the whole core, so it is a build of its own.
    let models = ["test", "-p", "tailrace-bridge", "--features", "shuttle", "--test", "seam"];
    ok &= cargo(&[&models[..], &filter].concat(), &mut tally)?;
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    if !ok || tally.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

/// Runs cargo, shows what it prints, and adds up its summaries.
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
        // Nothing ran to its summary: a build that failed is a failure too.
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

/// The exact-resume test passes without a defect, and with each defect it ends with a verdict that is not clean.
pub(crate) fn sabotage(names: &[String]) -> Result<()> {
    setup::all()?;
    let names: Vec<&str> = match names {
        [] => DEFECTS.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let (passed, verdict) = exact_resume(None)?;
    if !passed {
        bail!("the test fails without any defect: {verdict}");
    }
    println!("no defect: {verdict}");
    for name in names {
        let (passed, verdict) = exact_resume(Some(name))?;
        if passed {
            bail!("the defect {name} was not noticed: {verdict}");
        }
        println!("{name}: noticed: {verdict}");
    }
    Ok(())
}

/// Runs it with one defect switched on. Gives whether it passed, and its verdict; no verdict is an error: then it failed for
/// another cause than the one that is looked for.
fn exact_resume(defect: Option<&str>) -> Result<(bool, String)> {
    let arguments = ["test", "--features", "sabotage", "--test", "exact_resume", "--", "--nocapture"];
    let mut cargo = command("cargo", &arguments);
    if let Some(name) = defect {
        cargo.env("TAILRACE_SABOTAGE", name);
    }
    let output = cargo.output().context("start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let verdict = text.lines().find(|line| line.starts_with("Verdict {"));
    let verdict = verdict.with_context(|| {
        format!("no verdict with {defect:?}:\n{text}\n{}", String::from_utf8_lossy(&output.stderr))
    })?;
    Ok((output.status.success(), verdict.to_owned()))
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
