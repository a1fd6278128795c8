//! Commands in a shell, with all that they start.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::NamedTempFile;

/// How long what runs may take to stop: the server's own times for that, and more.
const STOP: Duration = Duration::from_secs(40);

/// Ended, and all that it has started, when it is dropped.
pub(crate) struct Running {
    pub(crate) script: String,
    shell: Child,
    output: NamedTempFile,
}

impl Running {
    pub(crate) fn start(script: &str, mut shell: Command) -> Running {
        let output = NamedTempFile::new().expect("a temporary file");
        let file = output.reopen().expect("a file can be opened");
        shell.stdin(Stdio::null()).stdout(file.try_clone().expect("a file can be shared")).stderr(file);
        let shell = shell.process_group(0).spawn().expect("bash can be started");
        Running { script: script.to_owned(), shell, output }
    }

    /// How the shell ended, once it has.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().expect("a child can be waited for")
    }

    /// What was printed so far, on both streams.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.output.path()).expect("a file can be read")).into_owned()
    }

    fn signal(&self, signal: Signal) -> bool {
        let group = Pid::from_child(&self.shell);
        kill_process_group(group, signal).is_ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let until = Instant::now() + STOP;
        self.signal(Signal::TERM);
        while self.status().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        // What the shell has started and not waited for.
        self.signal(Signal::KILL);
        let _ = self.shell.wait();
        if std::thread::panicking() {
            println!("--- {}\n{}", self.script, self.output());
        }
    }
}
