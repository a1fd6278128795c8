//! The folders of `src/` depend on each other in one direction: a file uses only its own folder and those before it.

use std::fs;
use std::path::Path;

/// In the order of dependency. The interface, `bridge.rs`, uses all folders, and none uses it.
const ROOMS: [&str; 9] = ["base", "position", "record", "sse", "log", "history", "live", "core", "read"];

/// The first names of paths that begin at the crate: `crate::room::…`. Test modules may use any folder.
fn used(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let paths = code.split("crate::").skip(1);
    paths.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn no_file_knows_a_room_behind_its_own() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut wrong) = (0, Vec::new());
    for (at, room) in ROOMS.into_iter().enumerate() {
        for entry in fs::read_dir(src.join(room)).expect("the room is a folder") {
            let path = entry.expect("a folder can be listed").path();
            files += 1;
            for name in used(&fs::read_to_string(&path).expect("a source is text")) {
                if !ROOMS[..=at].contains(&name.as_str()) {
                    wrong.push(format!("{} knows crate::{name}", path.strip_prefix(&src).unwrap().display()));
                }
            }
        }
    }
    assert!(files > 30, "{files} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_folder_is_a_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let entries = fs::read_dir(src).expect("the sources are there").map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    let mut folders: Vec<String> = folders.map(|name| name.into_string().expect("UTF-8")).collect();
    folders.sort();
    let mut rooms = ROOMS;
    rooms.sort_unstable();
    assert_eq!(folders, rooms);
}
