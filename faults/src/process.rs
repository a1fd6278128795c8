//! What is done to processes from outside: signals, limits, a processor taken away; and a look at what they use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Sends a signal to a process, as `kill` would.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    rustix::process::kill_process(of(pid), signal).expect("the process is there");
}

/// Resident memory of a process in bytes.
pub fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:").expect("the process is there")
}

/// The most that it ever was.
pub fn most_resident(pid: u32) -> u64 {
    memory(pid, "VmHWM:").expect("the process is there")
}

/// A line of /proc/PID/status in bytes; `None` where the process is gone.
pub fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Processor time of a process so far, in seconds.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces; what follows its bracket does not.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Descriptors that a process has open.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Sets how many descriptors a process may have from now on, below what it may not exceed. Gives what it was.
pub fn limit_descriptors(pid: u32, limit: Option<u64>) -> Option<u64> {
    let maximum = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok().and_then(|limits| {
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
        line.split_whitespace().nth(4)?.parse().ok()
    });
    let new = Rlimit { current: limit, maximum };
    prlimit(Some(of(pid)), Resource::Nofile, new).expect("a limit can be lowered, and raised again").current
}

/// Lets all threads of a process run on no processors but these; threads that come later, too.
pub fn pin(pid: u32, processors: &[usize]) {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    let numbers = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok());
    numbers.for_each(|thread: u32| {
        // One that has ended meanwhile needs none.
        let _ = sched_setaffinity(Some(of(thread)), &set);
    });
}

/// Has so many threads of this process use up a processor until the guard is dropped.
pub fn burn(processor: usize, threads: usize) -> Burning {
    let is_over = Arc::new(AtomicBool::new(false));
    for _ in 0..threads {
        let is_over = is_over.clone();
        std::thread::spawn(move || {
            let mut set = CpuSet::new();
            set.set(processor);
            sched_setaffinity(None, &set).expect("a thread may choose its processor");
            while !is_over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    }
    Burning(is_over)
}

/// See [`burn`].
pub struct Burning(Arc<AtomicBool>);

impl Drop for Burning {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn of(pid: u32) -> Pid {
    Pid::from_raw(pid as i32).expect("a process id is not zero")
}
