//! A server that may have several processes: their resources together, and their end.

use std::collections::HashMap;
use std::fs;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{cpu, resident};

/// A process and all of its descendants. All of them are killed when this is dropped.
pub(crate) struct Tree(pub(crate) Child);

impl Drop for Tree {
    fn drop(&mut self) {
        let members = members(self.0.id());
        // The root first; otherwise it would restart its children.
        let _ = self.0.kill();
        for pid in members.into_iter().filter(|pid| *pid != self.0.id()) {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.0.wait();
    }
}

/// The CPU time of processes and their descendants. The time of a descendant that ends in between is lost; no server has such
/// processes.
pub(crate) fn tree_cpu(roots: &[u32]) -> Result<Duration> {
    roots.iter().flat_map(|root| members(*root)).map(cpu).sum()
}

/// The resident memory of processes and their descendants, in bytes. Shared pages count for each process.
pub(crate) fn tree_resident(roots: &[u32]) -> Result<u64> {
    roots.iter().flat_map(|root| members(*root)).map(resident).sum()
}

/// All processes of the tree, the root first.
fn members(root: u32) -> Vec<u32> {
    let children = children().unwrap_or_default();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.get(pid).into_iter().flatten());
        next += 1;
    }
    found
}

/// Every process of the machine, by its parent.
fn children() -> Result<HashMap<u32, Vec<u32>>> {
    let mut all: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").context("list /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = parent(pid) {
            all.entry(parent).or_default().push(pid);
        }
    }
    Ok(all)
}

/// `None` if the process has ended meanwhile.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain any character; state and parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::Instant;

    use super::*;

    /// A process that was not waited for yet does not count as alive.
    fn lives(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
    }

    #[test]
    fn descendants_are_counted_and_end_with_their_root() {
        let mut command = Command::new("sh");
        let root =
            command.args(["-c", "sleep 60 & wait"]).stdin(Stdio::null()).spawn().expect("start a shell");
        let tree = Tree(root);
        let pid = tree.0.id();
        while members(pid).len() < 2 {
            sleep(Duration::from_millis(5));
        }
        let child = members(pid)[1];
        assert!(tree_resident(&[pid]).expect("both live") > resident(pid).expect("the root lives"));
        drop(tree);
        let end = Instant::now() + Duration::from_secs(5);
        while lives(child) {
            assert!(Instant::now() < end, "the child outlives its root");
            sleep(Duration::from_millis(5));
        }
    }
}
