//! The licenses of all that a static program contains: whoever hands on the program hands on these.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run::said;

/// How the names of such files begin, in lower case.
const NAMES: [&str; 6] = ["copying", "copyright", "licence", "license", "notice", "unlicense"];
/// How those end that are source code, such as `license.rs`.
const SOURCES: [&str; 4] = [".c", ".h", ".py", ".rs"];

/// The texts in the sources of every dependency, C libraries within them included, each text once, below the names of all files
/// that have it.
pub(crate) fn of_dependencies(target: &str) -> Result<String> {
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for (package, folder) in packages(target)? {
        let mut found = Vec::new();
        collect(Path::new(&folder), &package, &mut found)?;
        if found.is_empty() {
            without.push(package);
        }
        for (name, text) in found {
            texts.entry(text).or_default().insert(name);
        }
    }
    let mut texts: Vec<(BTreeSet<String>, String)> =
        texts.into_iter().map(|(text, names)| (names, text)).collect();
    texts.sort();
    let line = "=".repeat(80);
    let list = |names: Vec<String>| names.join("\n");
    let head =
        format!("{line}\nNo text of their own, only the license in their Cargo.toml:\n{}\n", list(without));
    let texts = texts.into_iter().map(|(names, text)| {
        format!("{line}\n{}\n{line}\n\n{}\n\n", list(names.into_iter().collect()), text.trim_end())
    });
    Ok(std::iter::once(head).chain(texts).collect())
}

/// Name, version and license of each dependency, what builds it included, with the folder of its sources.
fn packages(target: &str) -> Result<BTreeMap<String, String>> {
    let tree = ["tree", "--locked", "--package", "tailrace", "--edges", "normal,build", "--target", target];
    let tree = said("cargo", &[&tree[..], &["--prefix", "none", "--format", "{p}"]].concat())?;
    let is_built: BTreeSet<(&str, &str)> = tree.lines().filter_map(name_and_version).collect();
    let metadata = said("cargo", &["metadata", "--locked", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_str(&metadata).context("parse what cargo metadata says")?;
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().context("cargo metadata lists packages")? {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        // Without a source it is of this repository.
        if package["source"].is_null() || !is_built.contains(&(name, version)) {
            continue;
        }
        let folder = text("manifest_path").trim_end_matches("Cargo.toml");
        packages.insert(format!("{name} {version} ({})", text("license")), folder.to_owned());
    }
    Ok(packages)
}

/// Of a line such as `serde v1.0.229` or `ouroboros_macro v0.18.5 (proc-macro)`.
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split(' ');
    Some((words.next()?, words.next()?.strip_prefix('v')?))
}

fn collect(folder: &Path, name: &str, found: &mut Vec<(String, String)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        let own = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{name}/{own}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, found)?;
        } else if is_notice(&own) {
            let bytes = fs::read(entry.path()).with_context(|| format!("read {}", entry.path().display()))?;
            found.push((path, String::from_utf8_lossy(&bytes).replace("\r\n", "\n")));
        }
    }
    Ok(())
}

fn is_notice(file: &str) -> bool {
    let file = file.to_lowercase();
    NAMES.iter().any(|name| file.starts_with(name)) && !SOURCES.iter().any(|end| file.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_told_from_sources_by_their_names() {
        for notice in
            ["LICENSE", "LICENSE-MIT", "License.txt", "LICENSES.txt", "COPYING", "NOTICE", "UNLICENSE"]
        {
            assert!(is_notice(notice), "{notice}");
        }
        for other in ["license.rs", "README.md", "lib.rs", "notice.h"] {
            assert!(!is_notice(other), "{other}");
        }
    }

    #[test]
    fn a_line_of_the_tree_has_a_name_and_a_version() {
        assert_eq!(name_and_version("serde v1.0.229"), Some(("serde", "1.0.229")));
        assert_eq!(
            name_and_version("ouroboros_macro v0.18.5 (proc-macro)"),
            Some(("ouroboros_macro", "0.18.5"))
        );
        assert_eq!(name_and_version(""), None);
    }
}
