//! In each package, modules use each other in one direction: each can be read knowing only those that it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files by the names of their modules, `crate::peers::table`, each with its text or with those that it uses.
type Files<T> = BTreeMap<String, T>;

/// What is compiled into the program. What only tests use may come from anywhere.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The paths that say where they begin: `crate::…`, `super::…`, `self::…`. Without that, a file can only name a module that
/// it has imported or declared.
fn paths(code: &str) -> impl Iterator<Item = Vec<&str>> {
    let begins = ["crate::", "super::", "self::"].into_iter().flat_map(|begin| code.match_indices(begin));
    // In `super::super::` only the first is a beginning.
    let begins = begins.filter(|(at, _)| !code[..*at].ends_with(|c| is_of_a_name(c) || c == ':'));
    begins.flat_map(|(at, _)| written_out(&code[at..]))
}

/// The paths at the beginning of a text: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn written_out(text: &str) -> Vec<Vec<&str>> {
    if let Some(list) = text.strip_prefix('{') {
        return items(list).into_iter().flat_map(written_out).collect();
    }
    let (name, rest) = text.split_at(text.find(|c| !is_of_a_name(c)).unwrap_or(text.len()));
    match rest.strip_prefix("::") {
        Some(rest) => written_out(rest).into_iter().map(|path| [vec![name], path].concat()).collect(),
        None => vec![vec![name]],
    }
}

/// The items of a list, up to the brace that ends it.
fn items(list: &str) -> Vec<&str> {
    let mut depth = 1;
    let mut ends = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth == 0 || (depth == 1 && c == ',')
    };
    let (mut begin, mut items) = (0, Vec::new());
    for (at, c) in list.char_indices().filter(|(_, c)| ends(*c)) {
        items.push(list[begin..at].trim());
        begin = at + 1;
        if c == '}' {
            break;
        }
    }
    // There is nothing behind the last comma of a list of several lines.
    items.retain(|item| !item.is_empty());
    items
}

/// The modules that a file declares, `mod a;`. It has their names without importing them.
fn declared(code: &str) -> impl Iterator<Item = Vec<&str>> {
    code.lines().filter_map(|line| {
        let (before, name) = line.strip_suffix(';')?.split_once("mod ")?;
        (before.is_empty() || before.starts_with("pub")).then(|| vec!["self", name])
    })
}

/// The module to whose file a path of the module `from` leads: names are followed as far as they are modules.
fn target<T>(from: &str, path: &[&str], files: &Files<T>) -> String {
    let mut at = from.to_owned();
    for name in path {
        match *name {
            "crate" => "crate".clone_into(&mut at),
            "self" => {}
            "super" => at.truncate(at.rfind("::").expect("nothing is above the crate")),
            name => {
                let inner = format!("{at}::{name}");
                if !files.contains_key(&inner) {
                    break;
                }
                at = inner;
            }
        }
    }
    at
}

/// Each file with the others that it uses.
fn uses(files: &Files<String>) -> Files<BTreeSet<String>> {
    let of = |(name, text): (&String, &String)| {
        let code = code(text);
        let paths = paths(&code).chain(declared(&code));
        let mut used: BTreeSet<String> = paths.map(|path| target(name, &path, files)).collect();
        used.remove(name);
        (name.clone(), used)
    };
    files.iter().map(of).collect()
}

/// All sources in a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder can be listed");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files = paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

/// `peers/table.rs` is `crate::peers::table`, `peers/mod.rs` is `crate::peers`, `main.rs` and `lib.rs` are `crate`.
fn module(src: &Path, source: &Path) -> String {
    let inner = source.strip_prefix(src).expect("it is within").with_extension("");
    let parts = inner.iter().map(|part| part.to_str().expect("UTF-8"));
    let names = parts.filter(|part| !["main", "lib", "mod"].contains(part));
    ["crate"].into_iter().chain(names).collect::<Vec<_>>().join("::")
}

/// Leaves the files that are part of a circle, or stand between two.
fn circles(mut files: Files<BTreeSet<String>>) -> Files<BTreeSet<String>> {
    loop {
        let before = files.len();
        let left: BTreeSet<String> = files.keys().cloned().collect();
        files.values_mut().for_each(|used| used.retain(|name| left.contains(name)));
        let used: BTreeSet<String> = files.values().flatten().cloned().collect();
        files.retain(|name, uses| !uses.is_empty() && used.contains(name));
        if files.len() == before {
            return files;
        }
    }
}

/// Files as parts of the crate's modules: a folder is one module, as a file beside `lib.rs` is. `lib.rs` uses all of them, and is
/// left out.
fn folders(files: Files<BTreeSet<String>>) -> Files<BTreeSet<String>> {
    let outer = |name: &str| name.split("::").nth(1).map(str::to_owned);
    let mut folders: Files<BTreeSet<String>> = BTreeMap::new();
    for (file, uses) in files {
        let Some(folder) = outer(&file) else { continue };
        let used = uses.iter().filter_map(|name| outer(name)).filter(|used| *used != folder);
        folders.entry(folder.clone()).or_default().extend(used);
    }
    folders
}

/// The files in one of the crate's folders, with those of it that they use. Its `mod.rs` uses all of them, and is left out.
fn within(mut files: Files<BTreeSet<String>>, folder: &str) -> Files<BTreeSet<String>> {
    let prefix = format!("crate::{folder}::");
    files.retain(|file, _| file.starts_with(&prefix));
    files.values_mut().for_each(|used| used.retain(|name| name.starts_with(&prefix)));
    files
}

/// Each file of a package, but those that only tests compile, with the others that it uses.
fn files_of(package: &str) -> Files<BTreeSet<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("src");
    let read = |source| (module(&src, source), fs::read_to_string(source).expect("a source is text"));
    let sources = sources(&src);
    let sources = sources.iter().filter(|source| !source.ends_with("tests.rs"));
    uses(&sources.map(|source| read(source)).collect())
}

fn assert_no_circle(modules: Files<BTreeSet<String>>, fewest: usize) {
    let used = modules.values().map(BTreeSet::len).sum::<usize>();
    assert!(modules.len() > fewest && used > 2 * fewest, "{modules:#?}");
    let circles = circles(modules);
    assert!(circles.is_empty(), "these use each other in a circle: {circles:#?}");
}

#[test]
fn no_file_of_the_benches_uses_one_that_uses_it() {
    assert_no_circle(files_of("benches"), 40);
}

#[test]
fn no_module_of_web_uses_one_that_uses_it() {
    assert_no_circle(folders(files_of("web")), 20);
}

#[test]
fn no_module_of_the_consumer_uses_one_that_uses_it() {
    assert_no_circle(folders(files_of("consumer")), 20);
}

#[test]
fn no_module_of_the_formats_uses_one_that_uses_it() {
    assert_no_circle(folders(files_of("formats")), 2);
}

#[test]
fn no_file_of_a_format_uses_one_that_uses_it() {
    for (folder, fewest) in [("avro", 6), ("protobuf", 12)] {
        assert_no_circle(within(files_of("formats"), folder), fewest);
    }
}

#[test]
fn every_file_that_a_file_uses_is_found() {
    let text = "pub(crate) mod c;\nuse super::super::top;\nuse crate::{\n    a, b::{self, B},\n};\n// super::unseen\n\
                use super::{\n    x::{X, Y},\n    y,\n};\nfn f(_: self::d::D) -> z::Z {}\n\
                #[cfg(test)]\nmod tests { use crate::unseen; }";
    let names =
        ["a", "b", "top", "unseen", "r", "r::unseen", "r::x", "r::y", "r::m::c", "r::m::d", "r::m::e"];
    let mut files: Files<String> = names.map(|name| (format!("crate::{name}"), String::new())).into();
    files.insert("crate::r::m".to_owned(), text.to_owned());
    let used = ["a", "b", "r::m::c", "r::m::d", "r::x", "r::y", "top"].map(|name| format!("crate::{name}"));
    assert_eq!(uses(&files)["crate::r::m"], used.into());
}

#[test]
fn what_is_no_module_is_in_the_file_that_the_path_comes_to() {
    let texts = [("crate", "mod r;"), ("crate::r", "mod x;\nstruct R;"), ("crate::r::x", "use super::R;")];
    let files = texts.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    assert!(circles(uses(&files)).keys().eq(["crate::r", "crate::r::x"]), "{files:?}");
}
