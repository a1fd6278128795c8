//! What a process has used, from /proc.

use std::fs;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// CPU time of all threads since the start, user and system; to a tick, commonly 10 ms.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th field behind it.
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>();
    let ticks = ticks.with_context(|| format!("read the times in {path}"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("a process has memory")?;
    let kib = line.split_whitespace().nth(1).context("the line has a number")?;
    Ok(kib.parse::<u64>().context("read the number of kB")? * 1024)
}

/// Lets this process, and those that it starts, open as many files as it may.
pub(crate) fn raise_file_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("raise the limit of open files")
}

/// A process that ends with its owner.
pub(crate) struct Ending(pub(crate) Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
