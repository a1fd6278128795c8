//! The files as they are, and the little that must be understood of their formats.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use regex::Regex;
use serde_norway::Value;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn yaml(path: &str) -> Value {
    serde_norway::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn compose() -> Value {
    yaml("compose/compose.yaml")
}

/// A scalar as text. A number where compose wants text is a mistake in the file.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value:?} is not text")).to_owned()
}

/// A list of text; nothing where there is none.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    value.as_sequence().into_iter().flatten().map(text).collect()
}

/// A service's environment with variables at their defaults.
pub(crate) fn environment(service: &str) -> BTreeMap<String, String> {
    let compose = compose();
    let pairs = compose["services"][service]["environment"].as_mapping().expect("an environment");
    pairs.iter().map(|(name, value)| (text(name), interpolated(&text(value)))).collect()
}

/// `${NAME:-default}` as its default, which is how the file is used without any setting.
pub(crate) fn interpolated(text: &str) -> String {
    let variable = Regex::new(r"\$\{[A-Z_]+:-([^}]*)\}").expect("a pattern");
    let done = variable.replace_all(text, "$1").into_owned();
    assert!(!done.contains('$'), "{text} has a variable without a default");
    done
}

/// All PromQL of a dashboard: what panels and annotations show, and what its variables are filled with.
pub(crate) fn expressions(dashboard: &serde_json::Value) -> Vec<String> {
    let mut all = Vec::new();
    collect(dashboard, &mut all);
    all
}

fn collect(value: &serde_json::Value, all: &mut Vec<String>) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, all)),
        // It is filled with data sources.
        serde_json::Value::Object(fields) if fields.get("type").is_some_and(|kind| kind == "datasource") => {}
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(query) if ["expr", "query", "definition"].contains(&name.as_str()) => {
                        all.push(query.to_owned());
                    }
                    _ => collect(value, all),
                }
            }
        }
        _ => {}
    }
}

/// What the tests ask of a Dockerfile.
#[derive(Default)]
pub(crate) struct Dockerfile {
    /// Image and name of each stage.
    pub(crate) stages: Vec<(String, Option<String>)>,
    /// Stage that is copied from, source, target.
    pub(crate) copies: Vec<(Option<String>, String, String)>,
    pub(crate) runs: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) exposed: Vec<String>,
    pub(crate) user: String,
    pub(crate) entrypoint: Vec<String>,
    /// The command that tells whether it is healthy.
    pub(crate) health: Vec<String>,
}

pub(crate) fn dockerfile() -> Dockerfile {
    let joined = read("compose/Dockerfile").replace("\\\n", " ");
    let mut file = Dockerfile::default();
    for line in joined.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (instruction, rest) = line.split_once(' ').expect("an instruction has arguments");
        let words: Vec<&str> = rest.split_whitespace().collect();
        match instruction {
            "FROM" => file.stages.push((words[0].to_owned(), words.get(2).map(|name| (*name).to_owned()))),
            "COPY" => file.copies.push(copy(&words)),
            "RUN" => file.runs.push(rest.to_owned()),
            "ENV" => {
                let pairs = words.iter().map(|pair| pair.split_once('=').expect("NAME=value"));
                file.environment.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            "EXPOSE" => file.exposed.extend(words.iter().map(|port| (*port).to_owned())),
            "USER" => file.user = rest.to_owned(),
            "ENTRYPOINT" => file.entrypoint = serde_json::from_str(rest).expect("the form without a shell"),
            "HEALTHCHECK" => {
                let (_, command) = rest.split_once("CMD ").expect("a command");
                file.health = serde_json::from_str(command).expect("the form without a shell");
            }
            "WORKDIR" | "STOPSIGNAL" | "ARG" => {}
            other => panic!("these tests do not know {other}"),
        }
    }
    file
}

fn copy(words: &[&str]) -> (Option<String>, String, String) {
    let stage = words[0].strip_prefix("--from=").map(str::to_owned);
    let paths = &words[usize::from(stage.is_some())..];
    assert_eq!(paths.len(), 2, "one source and one target");
    (stage, paths[0].to_owned(), paths[1].to_owned())
}

/// Whether Dockerfile.dockerignore lets a path through. Of its language, names, folders and `**/` are understood.
pub(crate) fn is_sent_to_the_build(path: &str) -> bool {
    let list = read("compose/Dockerfile.dockerignore");
    let patterns = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    !patterns.into_iter().any(|pattern| match pattern.strip_prefix("**/") {
        Some(name) => path.split('/').any(|part| part == name),
        None => {
            assert!(!pattern.contains(['*', '?', '!', '[']), "these tests do not understand {pattern}");
            Path::new(path).starts_with(pattern)
        }
    })
}

/// Files that the sources in a folder take in when they are compiled, from the root.
pub(crate) fn included(folder: &str) -> Vec<String> {
    let include = Regex::new(r#"include(?:_str|_bytes)?!\(\s*"([^"]+)"\s*,?\s*\)"#).expect("a pattern");
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).expect("a folder of sources") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            found.extend(included(&path));
        } else if name.ends_with(".rs") {
            let source = read(&path);
            found
                .extend(include.captures_iter(&source).map(|taken| flat(&format!("{folder}/{}", &taken[1]))));
        }
    }
    found
}

/// Without `..`.
fn flat(path: &str) -> String {
    let mut out = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out.into_os_string().into_string().expect("UTF-8")
}
