//! The real binary as a process.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{eventually, free_port, signal};

/// One replica: its settings, and its process while it runs.
pub struct Bridge {
    env: Vec<(String, String)>,
    pub port: u16,
    pub admin: u16,
    process: Option<Child>,
    log: tempfile::NamedTempFile,
}

impl Bridge {
    /// A replica with tenants by header and no authentication; `env` adds to that, or replaces.
    pub fn new(bootstrap: &str, topics: &str, instance: &str, env: &[(&str, &str)]) -> Bridge {
        let (port, admin) = (free_port(), free_port());
        let mut all = vec![
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
        ];
        for (name, value) in env {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        Bridge { env: all, port, admin, process: None, log }
    }

    pub fn spawn(&mut self) {
        let log = self.log.reopen().expect("the log can be opened");
        use std::io::Seek;
        let mut log = log;
        log.seek(std::io::SeekFrom::End(0)).expect("a file has an end");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailrace"));
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

    /// Starts it and waits until it is ready.
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

    pub fn kill(&mut self) {
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
        let (_, text) = get(self.admin, "/metrics").await.expect("the admin address answers");
        let values = text.lines().filter(|line| {
            line.starts_with(name) && matches!(line.as_bytes().get(name.len()), Some(b' ' | b'{'))
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

/// Sends bytes and reads until the other side closes.
pub async fn exchange(port: u16, request: &[u8]) -> Option<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    socket.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    // A reset after the answer is an end like any other.
    let _ = socket.read_to_end(&mut answer).await;
    Some(String::from_utf8_lossy(&answer).into_owned())
}
