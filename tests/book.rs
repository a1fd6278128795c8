//! The documentation as a site: every page is in its table of contents, every link and anchor leads somewhere, and nothing is asked of
//! other servers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

/// Elements of which a reader follows the address; of all others the browser asks by itself.
const FOLLOWED: [&str; 1] = ["a"];

/// An address in a page: the element, and the address.
type Address = (String, String);

struct Page {
    addresses: Vec<Address>,
    ids: BTreeSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// By the `xtask` that cargo has built beside this program: another cargo would wait for this one, and for all others.
fn build(site: &Path) {
    let own = std::env::current_exe().expect("a program knows its own path");
    let beside = own.ancestors().skip(2).map(|folder| folder.join("xtask")).find(|path| path.is_file());
    let xtask = beside.expect("`cargo xtask setup` builds xtask");
    let output = Command::new(xtask).args(["book", "--out"]).arg(site).output();
    let output = output.expect("xtask can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
}

/// The files in a folder and below, relative to it, with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path.strip_prefix(folder).expect("it is in the folder").to_owned());
            }
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn page(html: &str) -> Page {
    let address =
        Regex::new(r#"<([a-z]+)\b[^<>]*?\s(?:href|src|srcset|action|data)="([^"]*)""#).expect("a pattern");
    let id = Regex::new(r#"\sid="([^"]*)""#).expect("a pattern");
    let plain = |text: &str| text.replace("&amp;", "&");
    let addresses = address.captures_iter(html).map(|found| (found[1].to_owned(), plain(&found[2])));
    Page {
        addresses: addresses.collect(),
        ids: id.captures_iter(html).map(|found| plain(&found[1])).collect(),
    }
}

/// Pages by their paths. 404.html is shown at any address, so its links are from the site's root: it is no page of the book.
fn pages(site: &Path) -> BTreeMap<PathBuf, Page> {
    let paths = files(site, "html").into_iter().filter(|path| path != Path::new("404.html"));
    paths.map(|path| (path.clone(), page(&read(&site.join(path))))).collect()
}

/// A path without `..`, beside a page.
fn beside(page: &Path, target: &str) -> Option<PathBuf> {
    let mut path = page.parent()?.to_owned();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                if !path.pop() {
                    return None;
                }
            }
            part => path.push(part),
        }
    }
    Some(path)
}

/// What is wrong with an address of a page, if anything is.
fn complaint(
    site: &Path,
    pages: &BTreeMap<PathBuf, Page>,
    at: &Path,
    address: &Address,
) -> Option<&'static str> {
    let (element, target) = address;
    if target.starts_with("data:") {
        return None;
    }
    if target.contains("://") || target.starts_with("//") {
        return (!FOLLOWED.contains(&element.as_str())).then_some("is asked of another server");
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let Some(mut path) = (if path.is_empty() { Some(at.to_owned()) } else { beside(at, path) }) else {
        return Some("is outside of the site");
    };
    if site.join(&path).is_dir() {
        path.push("index.html");
    }
    match pages.get(&path) {
        Some(page) if anchor.is_empty() || page.ids.contains(anchor) => None,
        Some(_) => Some("has no such anchor"),
        None => (!site.join(&path).is_file()).then_some("is not there"),
    }
}

#[test]
fn every_link_of_the_site_leads_somewhere_and_nothing_is_asked_of_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let site = folder.path().join("book");
    build(&site);
    let pages = pages(&site);
    assert!(pages.len() > 40, "{} pages", pages.len());
    let mut wrong = Vec::new();
    for (at, page) in &pages {
        assert!(page.addresses.len() > 10, "{}: its links were not understood", at.display());
        for address in &page.addresses {
            if let Some(why) = complaint(&site, &pages, at, address) {
                wrong.push(format!("{}: {} {why}", at.display(), address.1));
            }
        }
    }
    for style in files(&site, "css") {
        let text = read(&site.join(&style));
        let asked = text.split("url(").skip(1).chain(text.split("@import").skip(1));
        let others = asked.filter(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with("http"));
        wrong.extend(others.map(|_| format!("{}: something is asked of another server", style.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The search, which is a file of its own.
    let index = files(&site, "js").into_iter().find(|path| path.to_string_lossy().starts_with("searchindex"));
    assert!(read(&site.join(index.expect("an index"))).contains("Last-Event-ID"));
}

#[test]
fn every_page_is_in_the_table_of_contents_under_its_own_title() {
    let docs = root().join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    let link = Regex::new(r"\[([^\]]+)\]\(([^)]+\.md)\)").expect("a pattern");
    let listed: BTreeSet<PathBuf> =
        link.captures_iter(&summary).map(|found| PathBuf::from(&found[2])).collect();
    let there = files(&docs, "md").into_iter().filter(|path| path != Path::new("SUMMARY.md"));
    assert_eq!(listed, there.collect());
    // A decision that is there has its line in the list of decisions, too.
    let decisions = read(&docs.join("adr/README.md"));
    for path in listed.iter().filter(|path| path.starts_with("adr") && !path.ends_with("README.md")) {
        let name = path.file_name().expect("a name").to_string_lossy();
        let title =
            read(&docs.join(path)).lines().next().unwrap_or_default().trim_start_matches("# ").to_owned();
        let (number, title) = title.split_once(". ").expect("a number and a title");
        assert!(decisions.contains(&format!("{number}. [{title}]({name})")), "docs/adr/README.md: {name}");
        assert!(summary.contains(&format!("[{number}. {title}](adr/{name})")), "docs/SUMMARY.md: {name}");
    }
}

#[test]
fn what_is_wrong_is_found() {
    let site = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(site.path().join("sub")).expect("a folder can be made");
    fs::write(site.path().join("picture.png"), "").expect("a file can be written");
    let html = r##"<h2 id="here">x</h2><a class="y" href="sub/">"##;
    let pages: BTreeMap<PathBuf, Page> =
        ["index.html", "sub/index.html"].into_iter().map(|path| (path.into(), page(html))).collect();
    let said = |element: &str, target: &str| {
        complaint(site.path(), &pages, Path::new("sub/index.html"), &(element.to_owned(), target.to_owned()))
    };
    for good in ["#here", "../index.html#here", "../sub/", "../picture.png", "https://example.com/#x"] {
        assert_eq!(said("a", good), None, "{good}");
    }
    assert_eq!(said("a", "#there"), Some("has no such anchor"));
    assert_eq!(said("a", "../index.html#there"), Some("has no such anchor"));
    assert_eq!(said("a", "other.html"), Some("is not there"));
    assert_eq!(said("a", "../../README.md"), Some("is outside of the site"));
    assert_eq!(said("script", "https://example.com/x.js"), Some("is asked of another server"));
    assert_eq!(said("img", "//example.com/x.png"), Some("is asked of another server"));
    assert_eq!(page(html).addresses, [("a".to_owned(), "sub/".to_owned())]);
}
