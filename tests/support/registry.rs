//! The real schema registry, Apicurio's with Confluent's API, and Confluent's own serialisers.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{eventually, free_port};

/// It is up in about 12 seconds, and later where other tests run.
const START: Duration = Duration::from_secs(120);

/// The registry's process. What it knows is in its memory, and gone with it.
pub struct Registry {
    pub port: u16,
    process: Option<Child>,
}

/// A value that a serialiser has written.
#[derive(Clone, Debug, Deserialize)]
pub struct Written {
    pub topic: String,
    /// In hexadecimal; empty: none.
    key: String,
    /// In hexadecimal.
    value: String,
    /// What a page should see of it.
    pub seen: Value,
}

impl Written {
    pub fn bytes(&self) -> Vec<u8> {
        from_hexadecimal(&self.value)
    }

    pub fn key(&self) -> Vec<u8> {
        from_hexadecimal(&self.key)
    }
}

fn from_hexadecimal(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).expect("ASCII"));
    digits.map(|two| u8::from_str_radix(two, 16).expect("hexadecimal")).collect()
}

/// Something that `cargo xtask setup` has put below the root.
fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tailrace").join(path);
    assert!(path.exists(), "{} is not there: run `cargo xtask setup` first", path.display());
    path
}

impl Registry {
    pub async fn start() -> Registry {
        let mut registry = Registry { port: free_port(), process: None };
        registry.spawn();
        registry.is_up().await;
        registry
    }

    /// Where a client of Confluent's API finds it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    fn spawn(&mut self) {
        let jar = installed("apicurio/app/apicurio-registry-app-2.6.13.Final-runner.jar");
        let mut java = Command::new("java");
        // All processes share two cores.
        java.args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.profile=prod"]);
        java.args([format!("-Dquarkus.http.port={}", self.port), "-Dquarkus.http.host=127.0.0.1".to_owned()]);
        java.arg("-jar").arg(jar).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(java.spawn().expect("java can be started"));
    }

    async fn is_up(&self) {
        eventually("the registry is up", START, async || {
            let answer = get(self.port, "/apis/ccompat/v7/subjects").await?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        })
        .await;
    }

    /// Registers schemas, and gives values that were serialised by them.
    pub fn serialize(&self) -> Vec<Written> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/serialize.py");
        let mut python = Command::new("python3");
        python.arg(script).arg(self.url()).env("PYTHONPATH", installed("serializers")).stdin(Stdio::null());
        let output = python.output().expect("python3 can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        lines.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect()
    }

    /// SIGSTOP: it accepts connections and does not answer.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, which: rustix::process::Signal) {
        let process = self.process.as_ref().expect("it runs");
        super::signal(process.id(), which);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

async fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// In front of a registry: while it is shut, connections are closed at once, and those that are open as well.
pub struct Gate {
    pub port: u16,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    pub async fn start(target: u16) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let is_open = Arc::new(AtomicBool::new(false));
        let seen = is_open.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
                    if seen.load(Ordering::Acquire) {
                        let shut = async {
                            while seen.load(Ordering::Acquire) {
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                        };
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                            () = shut => {}
                        }
                    }
                });
            }
        });
        Gate { port, is_open }
    }

    pub fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    pub fn shut(&self) {
        self.is_open.store(false, Ordering::Release);
    }

    /// As [`Registry::url`].
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }
}
