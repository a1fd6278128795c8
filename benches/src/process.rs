//! The resources that a process has used, from /proc.

use std::fs;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::param::page_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The CPU time of all live threads, user and system; for a thread that is running, exact to about one scheduler tick.
///
/// /proc/PID/stat includes ended threads, but only to 10 ms, which is one percent of a slice.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/task");
    let mut nanos = 0;
    for thread in fs::read_dir(&path).with_context(|| format!("list {path}"))? {
        let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let running = stat.split_whitespace().next().context("a thread has run")?;
        nanos += running.parse::<u64>().with_context(|| format!("read the times in {path}"))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    kib(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The resident memory of the process itself: heap and stacks, without the pages of its program file.
pub(crate) fn anonymous(pid: u32) -> Result<u64> {
    kib(&format!("/proc/{pid}/status"), "RssAnon:")
}

/// The kernel memory of this machine in bytes: of its slabs (sockets, files), and of the buffers of TCP.
pub(crate) fn kernel_memory() -> Result<(u64, u64)> {
    let slabs = kib("/proc/meminfo", "Slab:")?;
    let path = "/proc/net/sockstat";
    let sockets = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let line = sockets.lines().find(|line| line.starts_with("TCP:")).context("there is TCP")?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
    let pages = words.nth(1).context("TCP has memory")?.parse::<u64>().context("read its pages")?;
    Ok((slabs, pages * page_size() as u64))
}

/// The value of a field in kB, in bytes.
fn kib(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let number = number.with_context(|| format!("{path} has no {name}"))?;
    Ok(number.parse::<u64>().with_context(|| format!("read {name} in {path}"))? * 1024)
}

/// How many files this process, and one that it starts, may open.
pub(crate) fn file_limit() -> usize {
    getrlimit(Resource::Nofile).maximum.map_or(usize::MAX, |limit| limit as usize)
}

/// Raises the limit of open files of this process, and of those that it starts, to the maximum.
pub(crate) fn raise_file_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("raise the limit of open files")
}

/// A process that is ended when this is dropped.
pub(crate) struct Ending(pub(crate) Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
