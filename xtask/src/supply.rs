//! What the program is made of: licenses, advisories and sources of its dependencies, and its bill of materials.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::run::{is_there, root, run};

/// The tools, with their versions: another version may find other things.
const TOOLS: [&str; 2] = ["cargo-deny@0.20.2", "cargo-cyclonedx@0.5.9"];
/// Where the bill of materials is written.
const FOLDER: &str = "target/sbom";
/// What cargo-cyclonedx writes beside the program's `Cargo.toml`.
const BILL: &str = "tailrace.cdx.json";

/// Checks all that `deny.toml` says, and writes the bill of materials. Needs a network: advisories change without a change here.
pub(crate) fn release() -> Result<()> {
    for tool in TOOLS {
        run("cargo", &["install", "--locked", "--quiet", tool])?;
    }
    run("cargo", &["deny", "--locked", "check"])?;
    bill()
}

/// Checks what does not change by itself, if the tool is there.
pub(crate) fn if_installed() -> Result<()> {
    if !is_there("cargo-deny") {
        eprintln!("xtask: no cargo-deny on the path: licenses and sources are left to `cargo xtask supply`");
        return Ok(());
    }
    run("cargo", &["deny", "--locked", "check", "bans", "licenses", "sources"])
}

/// Writes what the program is built of into [`FOLDER`]. The tool writes beside every `Cargo.toml` of the workspace, so what it
/// wrote for packages that are no program is removed.
fn bill() -> Result<()> {
    run("cargo", &["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5"])?;
    let folder = root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    fs::rename(root().join(BILL), folder.join(BILL)).context("move the bill of materials")?;
    for package in fs::read_dir(root()).context("list packages")? {
        let path = package?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        for bill in [format!("tailrace-{name}.cdx.json"), format!("{name}.cdx.json")] {
            remove_if_there(&path.join(bill))?;
        }
    }
    eprintln!("xtask: {FOLDER}/{BILL} is the bill of materials");
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<()> {
    if path.is_file() {
        fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}
