//! The fields of the log.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

use super::{OPERATIONS, read, root};

/// Of every crate that logs in a server.
const SOURCES: [&str; 5] = ["src", "bridge/src", "formats/src", "consumer/src", "web/src"];

#[test]
fn every_field_of_the_log_is_documented_and_no_other() {
    let mut logged = BTreeSet::new();
    for folder in SOURCES {
        in_folder(&root().join(folder), &mut logged);
    }
    assert!(logged.len() > 50, "{logged:?}");
    let page = read(OPERATIONS);
    let section =
        page.split("### Fields\n").nth(1).and_then(|rest| rest.split("\n#").next()).expect("a section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let name = Regex::new("`([a-z_]+)`").expect("a pattern");
    let documented: BTreeSet<String> = rows
        .flat_map(|row| name.captures_iter(row.split(" | ").next().unwrap_or_default()))
        .map(|found| found[1].to_owned())
        .collect();
    assert_eq!(logged, documented);
}

fn in_folder(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            in_folder(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).expect("a source");
            let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            in_source(source, found);
        }
    }
}

fn in_source(source: &str, found: &mut BTreeSet<String>) {
    let call = Regex::new(r"tracing::(?:trace|debug|info|warn|error)(_span)?!\(").expect("a pattern");
    let field = Regex::new(r"^[%?]?(?:[a-z_]+\.)*([a-z_]+)\s*(?:=[^=]|$)").expect("a pattern");
    for start in call.captures_iter(source) {
        let mut arguments = arguments(&source[start.get(0).expect("the whole").end()..]);
        // A span begins with its name.
        if start.get(1).is_some() {
            let name = arguments.iter().position(|argument| argument.starts_with('"')).expect("a name");
            arguments.remove(name);
        }
        let before_message = arguments.iter().take_while(|argument| !argument.starts_with('"'));
        for argument in before_message.filter(|argument| !argument.starts_with("target:")) {
            let name = field.captures(argument).unwrap_or_else(|| panic!("{argument} was not understood"));
            found.insert(name[1].to_owned());
        }
    }
}

/// What stands between commas up to the bracket that closes.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut one, mut depth, mut quoted) = (Vec::new(), String::new(), 1, false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quoted => {
                one.push(letter);
                one.extend(letters.next());
                continue;
            }
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 1 => {
                all.push(std::mem::take(&mut one).trim().to_owned());
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        one.push(letter);
    }
    all.push(one.trim().to_owned());
    all.retain(|argument| !argument.is_empty());
    all
}
