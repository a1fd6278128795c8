//! `TAILRACE_LIMITS_FILE` and the program: how it is checked at the start, and SIGHUP. Its limits: web/tests/limits.rs.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The least that a server starts with, on ports of the system's choice, without a broker.
const LEAST: [(&str, &str); 6] = [
    ("TAILRACE_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
    ("TAILRACE_TOPICS", "orders"),
    ("TAILRACE_TENANT_FROM", "header:tenant"),
    ("TAILRACE_AUTH", "none"),
    ("TAILRACE_LISTEN", "127.0.0.1:0"),
    ("TAILRACE_ADMIN_LISTEN", "127.0.0.1:0"),
];

struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    fn start(folder: &tempfile::TempDir, more: &[(&str, &str)]) -> Program {
        let log = folder.path().join("log");
        let file = File::create(&log).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailrace"));
        command.env_clear().envs(LEAST).envs(more.iter().copied());
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        let program = Program { child: command.spawn().expect("it can be started"), log };
        program.says("serving");
        program
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log can be read")
    }

    fn says(&self, what: &str) {
        let begin = Instant::now();
        while !self.log().contains(what) {
            assert!(begin.elapsed() < Duration::from_secs(20), "no {what:?} in\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("it runs");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_hangup_has_the_file_read_again_and_a_wrong_one_is_said_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("limits.toml");
    std::fs::write(&path, "").expect("a file");
    let mut program = Program::start(&folder, &[("TAILRACE_LIMITS_FILE", path.to_str().expect("UTF-8"))]);
    program.hang_up();
    program.says("the limits file has not changed");
    std::fs::write(&path, "[tenant.acme]\nmax_streams = 5\n").expect("a file");
    program.hang_up();
    program.says("the limits file was read again");
    std::fs::write(&path, "[tenant.acme]\nmax_stream = 5\n").expect("a file");
    program.hang_up();
    program.says("line 2, column 1: \"max_stream\" is no limit of a tenant; the nearest is \"max_streams\"");
    std::fs::remove_file(&path).expect("it was there");
    program.hang_up();
    program.says("there is no such file");
    assert!(program.child.try_wait().expect("it can be asked").is_none(), "{}", program.log());
}

#[test]
fn without_a_file_to_read_again_a_hangup_ends_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(&folder, &[]);
    program.hang_up();
    let begin = Instant::now();
    while program.child.try_wait().expect("it can be asked").is_none() {
        let is_late = begin.elapsed() > Duration::from_secs(20);
        assert!(!is_late, "it goes on: is SIGHUP ignored here, as under nohup, and so by the program?");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!program.child.wait().expect("it has ended").success());
}

#[test]
fn a_wrong_file_ends_the_start_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("limits.toml");
    std::fs::write(&path, "[tenant.acme]\nbyte_rate = \"fast\"\n").expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailrace"));
    let output =
        command.env_clear().envs(LEAST).env("TAILRACE_LIMITS_FILE", &path).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    for part in ["TAILRACE_LIMITS_FILE", "line 2, column 13", "1MiB/s"] {
        assert!(said.contains(part), "{said}");
    }
}
