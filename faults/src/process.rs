//! Actions on processes from outside: signals, limits, CPU affinity; and measurements of their resources.

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

/// The highest resident memory of the process so far.
pub fn most_resident(pid: u32) -> u64 {
    memory(pid, "VmHWM:").expect("the process is there")
}

/// A value of /proc/PID/status in bytes; `None` if the process is gone.
pub fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Processor time of a process so far, in seconds.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The process name may contain spaces; the fields after its closing bracket do not.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The number of descriptors that a process has open.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Sets the limit of descriptors of a process, up to its hard limit. Returns the previous limit.
pub fn limit_descriptors(pid: u32, limit: Option<u64>) -> Option<u64> {
    let maximum = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok().and_then(|limits| {
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
        line.split_whitespace().nth(4)?.parse().ok()
    });
    let new = Rlimit { current: limit, maximum };
    prlimit(Some(of(pid)), Resource::Nofile, new).expect("a limit can be lowered, and raised again").current
}

/// Restricts all threads of a process, and those that it starts later, to these processors.
pub fn pin(pid: u32, processors: &[usize]) {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    let numbers = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok());
    numbers.for_each(|thread: u32| {
        // Fails for a thread that has ended meanwhile.
        let _ = sched_setaffinity(Some(of(thread)), &set);
    });
}

/// Keeps a processor busy with this many threads, until the guard is dropped.
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
