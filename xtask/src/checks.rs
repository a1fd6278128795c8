//! Format, clippy, documentation, and the links between documents.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{command, root, run};

pub(crate) fn all() -> Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // Of the whole workspace, so that nothing outside of it is built with other features.
    let model = ["--workspace", "--features", "tailrace-bridge/shuttle", "--test", "seam"];
    run("cargo", &[&["clippy"][..], &model, &["--", "-D", "warnings"]].concat())?;
    docs()?;
    links()
}

fn docs() -> Result<()> {
    let arguments = ["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"];
    eprintln!("xtask: cargo {}", arguments.join(" "));
    let status = command("cargo", &arguments).env("RUSTDOCFLAGS", "-D warnings").status()?;
    if !status.success() {
        bail!("the documentation has errors: {status}");
    }
    Ok(())
}

/// Checks that the target of each relative link in the documents exists.
fn links() -> Result<()> {
    let mut broken = Vec::new();
    for document in documents()? {
        let text = fs::read_to_string(&document).with_context(|| format!("read {}", document.display()))?;
        let folder = document.parent().unwrap_or(Path::new("."));
        for target in targets(&text) {
            if !folder.join(target).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    if !broken.is_empty() {
        bail!("links that lead nowhere:\n{}", broken.join("\n"));
    }
    Ok(())
}

fn documents() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let docs = ["", "docs", "docs/adr", "docs/how-to", "docs/tutorials"];
    let others = ["compose", "clients/js", "clients/python", "deploy", "deploy/systemd"];
    for folder in docs.into_iter().chain(others) {
        let folder = root().join(folder);
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The files that `](…)` names, without anchors and external addresses.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ']).next()?.split('#').next()?;
        (!target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")).then_some(target)
    })
}
