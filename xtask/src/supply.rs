//! What the program is made of: licenses, advisories and sources of its dependencies, and its bill of materials.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::run::{is_there, root, run, run_with};

/// The tools, with their versions: another version may find other things.
const DENY: &str = "cargo-deny@0.20.2";
const CYCLONEDX: &str = "cargo-cyclonedx@0.5.9";
/// Where the bill of materials is written.
const FOLDER: &str = "target/sbom";
/// What cargo-cyclonedx writes beside the program's `Cargo.toml`.
const BILL: &str = "tailrace.cdx.json";

/// Checks all that `deny.toml` says, and writes the bill of materials. Needs a network: advisories change without a change here.
pub(crate) fn release() -> Result<()> {
    install(DENY)?;
    bill_tool()?;
    run("cargo", &["deny", "--locked", "check"])?;
    let bill = root().join(FOLDER).join(BILL);
    write_bill(&[], &[], &bill)?;
    eprintln!("xtask: {FOLDER}/{BILL} is the bill of materials");
    Ok(())
}

/// Installs what writes bills of materials. Quick when it is there already.
pub(crate) fn bill_tool() -> Result<()> {
    install(CYCLONEDX)
}

fn install(tool: &str) -> Result<()> {
    run("cargo", &["install", "--locked", "--quiet", tool]).with_context(|| {
        format!("no {tool}: it is downloaded and compiled once, with a network, by `cargo install`")
    })
}

/// Writes what the program is built of for a target, with a time in seconds since 1970 instead of now, and no serial number drawn
/// by chance.
pub(crate) fn bill_for(target: &str, time: u64, bill: &Path) -> Result<()> {
    write_bill(&["--target", target], &[("SOURCE_DATE_EPOCH", &time.to_string())], bill)
}

/// Checks what does not change by itself, if the tool is there.
pub(crate) fn if_installed() -> Result<()> {
    if !is_there("cargo-deny") {
        eprintln!("xtask: no cargo-deny on the path: licenses and sources are left to `cargo xtask supply`");
        return Ok(());
    }
    run("cargo", &["deny", "--locked", "check", "bans", "licenses", "sources"])
}

/// Writes what the program is built of. The tool writes beside every `Cargo.toml` of the workspace, so what it wrote for packages
/// that are no program is removed.
fn write_bill(options: &[&str], variables: &[(&str, &str)], bill: &Path) -> Result<()> {
    let tool = ["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5"];
    run_with("cargo", &[&tool, options].concat(), variables)?;
    let folder = bill.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    fs::copy(root().join(BILL), bill).context("copy the bill of materials")?;
    remove_if_there(&root().join(BILL))?;
    for package in fs::read_dir(root()).context("list packages")? {
        let path = package?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        for bill in [format!("tailrace-{name}.cdx.json"), format!("{name}.cdx.json")] {
            remove_if_there(&path.join(bill))?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<()> {
    if path.is_file() {
        fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}
