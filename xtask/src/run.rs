//! Runs commands in the repository's root: prints each before it runs, and returns an error if it fails.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the repository's root").to_owned()
}

/// A command in the repository's root.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    run_with(program, arguments, &[])
}

/// Runs a command to its end, with these variables besides its own.
pub(crate) fn run_with(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    eprintln!("xtask: {program} {}", arguments.join(" "));
    let mut command = command(program, arguments);
    let status =
        command.envs(variables.iter().copied()).status().with_context(|| format!("start {program}"))?;
    if !status.success() {
        bail!("`{program} {}` failed: {status}", arguments.join(" "));
    }
    Ok(())
}

/// What a command prints.
pub(crate) fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let mut asked = command(program, arguments);
    let output = asked.env("LC_ALL", "C").output().with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("`{program} {}` failed: {output:?}", arguments.join(" "));
    }
    Ok(String::from_utf8(output.stdout)
        .with_context(|| format!("read what {program} says"))?
        .trim_end()
        .to_owned())
}

/// Whether packages can be installed, and roots changed.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Whether a program is on the path.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Returns an error that names the package to install, unless the program is on the path.
pub(crate) fn require(program: &str, install: &str) -> Result<()> {
    if !is_there(program) {
        bail!("`{program}` is not on the path: install {install}");
    }
    Ok(())
}
