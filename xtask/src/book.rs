//! `cargo xtask book`: the documentation as a site, by mdBook.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::{root, run};
use crate::setup;

/// Where the site is built, relative to the root.
const SITE: &str = "target/book";

/// Where the files are that the pages name and the site does not have.
const SOURCES: &str = "https://github.com/tailrace/tailrace/blob/main/";

pub(crate) fn build(out: Option<PathBuf>) -> Result<()> {
    setup::book()?;
    let site = out.unwrap_or_else(|| root().join(SITE));
    let mdbook = root().join(setup::BOOK).join("bin/mdbook").display().to_string();
    run(&mdbook, &["build", "--dest-dir", &site.display().to_string()])?;
    for page in pages(&site)? {
        let text = fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
        let folder = page.parent().context("a page is in a folder")?;
        let folder = folder.strip_prefix(&site).context("a page is in the site")?;
        fs::write(&page, outward(&text, folder)).with_context(|| format!("write {}", page.display()))?;
    }
    eprintln!("xtask: {} is the site", site.join("index.html").display());
    Ok(())
}

fn pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(pages(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "html") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Lets links that leave the site lead to the sources: a page in `folder` names them as the repository has them, beside docs/.
fn outward(page: &str, folder: &Path) -> String {
    const BEGIN: &str = "href=\"";
    let mut parts = page.split(BEGIN);
    let mut changed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        changed.push_str(BEGIN);
        let (target, rest) = part.split_once('"').unwrap_or((part, ""));
        match beside(&Path::new("docs").join(folder).join(target)) {
            // mdBook has taken a page for one of its own.
            Some(path) => changed.push_str(&format!("{SOURCES}{}", path.replace(".html", ".md"))),
            None => changed.push_str(target),
        }
        if part.len() > target.len() {
            changed.push('"');
            changed.push_str(rest);
        }
    }
    changed
}

/// A path without `..`, if it leads out of docs/ and not out of the repository.
fn beside(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => return None,
        }
    }
    (parts.first()? != &"docs").then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_out_of_the_site_lead_to_the_sources() {
        let page = r#"<a href="../../deploy/README.html#x">a</a> <a href="../data.html">b</a> <a href="https://x/../y">c</a> <a href="/z">"#;
        let expected = page.replace("../../deploy/README.html", &format!("{SOURCES}deploy/README.md"));
        assert_eq!(outward(page, Path::new("how-to")), expected);
        assert_eq!(outward(&expected, Path::new("how-to")), expected);
        assert_eq!(
            outward(r#"<a href="../x.html"> cut off href="a"#, Path::new("how-to")),
            r#"<a href="../x.html"> cut off href="a"#
        );
    }
}
