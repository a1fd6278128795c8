//! The modules of `src/` use each other in one direction: each can be read knowing only those that it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules that are named in paths that begin at the crate: `crate::a::…`, `crate::{a, b::…}`.
fn used(text: &str) -> BTreeSet<String> {
    // What only tests use may come from anywhere.
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    code.split("crate::").skip(1).flat_map(first_names).collect()
}

/// The first name of a path, or of each path within braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let Some(list) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names) = (1, vec![String::new()]);
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(String::new()),
            _ if depth == 1 => names.last_mut().expect("there is one").push(c),
            _ => {}
        }
    }
    names.iter().map(|text| name(text)).filter(|name: &String| !name.is_empty()).collect()
}

/// The sources of a module: its file, and all in its folder but what only tests compile.
fn sources(path: PathBuf) -> Vec<PathBuf> {
    if path.is_file() {
        let is_code = path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs");
        return if is_code { vec![path] } else { Vec::new() };
    }
    let entries = fs::read_dir(path).expect("a folder can be listed");
    entries.flat_map(|entry| sources(entry.expect("an entry").path())).collect()
}

/// Each module of the crate with those that it uses. `lib.rs` uses all of them, and is left out.
fn modules(src: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in fs::read_dir(src).expect("the sources are there") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        for source in sources(path).iter().filter(|_| name != "lib") {
            let text = fs::read_to_string(source).expect("a source is text");
            modules.entry(name.clone()).or_default().extend(used(&text));
        }
    }
    for (name, used) in &mut modules {
        used.remove(name);
    }
    modules
}

/// Leaves the modules that are part of a circle, or stand between two.
fn circles(mut modules: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let before = modules.len();
        let left: BTreeSet<String> = modules.keys().cloned().collect();
        modules.values_mut().for_each(|used| used.retain(|name| left.contains(name)));
        let used: BTreeSet<String> = modules.values().flatten().cloned().collect();
        modules.retain(|name, uses| !uses.is_empty() && used.contains(name));
        if modules.len() == before {
            return modules;
        }
    }
}

#[test]
fn no_module_uses_one_that_uses_it() {
    let modules = modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(modules.len() > 20 && modules.values().map(BTreeSet::len).sum::<usize>() > 50, "{modules:?}");
    let circles = circles(modules);
    assert!(circles.is_empty(), "these use each other in a circle: {circles:#?}");
}

#[test]
fn every_module_of_a_list_is_found() {
    let text = "use crate::stream::{End, Said};\nuse crate::{\n    access, pace::{Pace, UNPACED},\n};\n// crate::web\n\
                fn f() -> crate::trace::TraceId {}\n#[cfg(test)]\nmod tests { use crate::drain; }";
    assert_eq!(used(text), ["access", "pace", "stream", "trace"].map(str::to_owned).into());
}
