//! The real binary as a process.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{memory, signal};
use crate::{eventually, free_port};

/// The variable that names the binary to run, in place of the one that was built beside this program.
const BINARY: &str = "TAILRACE_FAULTS_SERVER";

/// The path of the real binary: the one that is named, or the one that cargo built beside this program (tests are one folder
/// deeper).
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os(BINARY) {
        return named.into();
    }
    let own = std::env::current_exe().expect("a program knows its own path");
    let found =
        own.ancestors().skip(1).take(2).map(|folder| folder.join("tailrace")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no binary `tailrace` lies beside {}: build it first", own.display()))
}

/// One replica: its settings, and its process while it runs.
pub struct Bridge {
    env: Vec<(String, String)>,
    pub port: u16,
    pub admin: u16,
    process: Option<Child>,
    log: tempfile::NamedTempFile,
    /// The limit of the process's descriptors, if it has one of its own.
    descriptors: Option<u64>,
    /// The highest memory of the processes that have ended.
    most: u64,
}

impl Bridge {
    /// A replica with tenants by header and without authentication; `env` adds settings, or replaces these.
    pub fn new(bootstrap: &str, topics: &str, instance: &str, env: &[(&str, &str)]) -> Bridge {
        let (port, admin) = (free_port(), free_port());
        let all = vec![
            ("TAILRACE_KAFKA_BOOTSTRAP_SERVERS".to_owned(), bootstrap.to_owned()),
            ("TAILRACE_TOPICS".to_owned(), topics.to_owned()),
            ("TAILRACE_TENANT_FROM".to_owned(), "header:tenant".to_owned()),
            ("TAILRACE_AUTH".to_owned(), "none".to_owned()),
            ("TAILRACE_LISTEN".to_owned(), format!("127.0.0.1:{port}")),
            ("TAILRACE_ADMIN_LISTEN".to_owned(), format!("127.0.0.1:{admin}")),
            ("TAILRACE_INSTANCE".to_owned(), instance.to_owned()),
            ("TAILRACE_DRAIN_DELAY".to_owned(), "0s".to_owned()),
            ("TAILRACE_DRAIN_TIMEOUT".to_owned(), "5s".to_owned()),
            ("TAILRACE_RETRY".to_owned(), "50ms".to_owned()),
            ("TAILRACE_DRAIN_RETRY".to_owned(), "50ms".to_owned()),
        ];
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut bridge = Bridge { env: all, port, admin, process: None, log, descriptors: None, most: 0 };
        env.iter().for_each(|(name, value)| bridge.set(name, value));
        bridge
    }

    /// Another process with the same settings but other ports, as by an operator's mistake.
    pub fn twin(&self) -> Bridge {
        let (port, admin) = (free_port(), free_port());
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let env = self.env.clone();
        let mut twin = Bridge { env, port, admin, process: None, log, descriptors: None, most: 0 };
        twin.set("TAILRACE_LISTEN", &format!("127.0.0.1:{port}"));
        twin.set("TAILRACE_ADMIN_LISTEN", &format!("127.0.0.1:{admin}"));
        twin
    }

    /// The name of the instance, which is part of its consumer group's name.
    pub fn instance(&self) -> &str {
        self.setting("TAILRACE_INSTANCE")
    }

    /// The value of a setting; empty if it is not set.
    pub fn setting(&self, which: &str) -> &str {
        let found = self.env.iter().find(|(name, _)| name == which);
        found.map_or("", |(_, value)| value)
    }

    /// The output of `tailrace check` with the same settings, and whether everything would be served.
    pub fn check(&self, flags: &[&str]) -> (String, bool) {
        let mut command = Command::new(binary());
        command.arg("check").args(flags).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        let output = command.stdin(Stdio::null()).output().expect("the binary can be started");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
    }

    pub fn spawn(&mut self) {
        let log = self.log.reopen().expect("the log can be opened");
        use std::io::Seek;
        let mut log = log;
        log.seek(std::io::SeekFrom::End(0)).expect("a file has an end");
        let mut command = match self.descriptors {
            None => Command::new(binary()),
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\"")]).arg(binary());
                shell
            }
        };
        command.env_clear();
        for name in ["PATH", "HOME", "TAILRACE_SABOTAGE"] {
            if let Ok(value) = std::env::var(name) {
                command.env(name, value);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log).stdin(Stdio::null());
        self.process = Some(command.spawn().expect("the binary can be started"));
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&mut self) {
        self.spawn();
        self.ready().await;
    }

    pub async fn ready(&mut self) {
        let limit = Duration::from_secs(40);
        let admin = self.admin;
        let until = std::time::Instant::now() + limit;
        loop {
            if let Some((200, _)) = get(admin, "/readyz").await {
                return;
            }
            if let Some(status) = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten())
            {
                panic!("the bridge ended with {status}:\n{}", self.log());
            }
            if std::time::Instant::now() > until {
                let said = get(admin, "/readyz").await;
                panic!("not ready within {limit:?}: {said:?}\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the bridge runs").id()
    }

    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// The highest resident memory of all of its processes, in bytes.
    pub fn most_resident(&mut self) -> u64 {
        let now = self.process.as_ref().and_then(|process| memory(process.id(), "VmHWM:"));
        self.most = self.most.max(now.unwrap_or(0));
        self.most
    }

    /// Whether the process was started and not ended by the suite.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Adds or replaces a setting, from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Sets a limit of descriptors that the process cannot raise, from the next start on.
    pub fn set_descriptors(&mut self, most: Option<u64>) {
        self.descriptors = most;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.most_resident();
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// SIGTERM, then waits for the end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exited().await
    }

    pub async fn exited(&mut self) -> ExitStatus {
        self.most_resident();
        let mut process = self.process.take().expect("the bridge runs");
        eventually("the bridge ends", Duration::from_secs(60), async || {
            process.try_wait().expect("a child can be waited for")
        })
        .await
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    pub async fn metric(&self, name: &str) -> f64 {
        self.metric_of(name, "").await
    }

    /// As [`Bridge::metric`], of those with this label, as in `result="taken"`.
    pub async fn metric_of(&self, name: &str, label: &str) -> f64 {
        let (_, text) = get(self.admin, "/metrics").await.expect("the admin address answers");
        let values = text.lines().filter(|line| {
            line.starts_with(name)
                && matches!(line.as_bytes().get(name.len()), Some(b' ' | b'{'))
                && line.contains(label)
        });
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("--- log of the bridge at port {}\n{}", self.port, self.log());
        }
    }
}

/// One small GET: the status and the body.
pub async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer =
        tokio::time::timeout(Duration::from_secs(5), exchange(port, request.as_bytes())).await.ok()??;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Sends bytes, and reads until the other side closes the connection.
pub async fn exchange(port: u16, request: &[u8]) -> Option<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    socket.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    // A reset after the response counts as its end.
    let _ = socket.read_to_end(&mut answer).await;
    Some(String::from_utf8_lossy(&answer).into_owned())
}
