//! `tailrace demo` as a process.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::bridge::binary;
use super::{free_port, signal};

const LOOK_EVERY: Duration = Duration::from_millis(3);

pub struct Demo {
    process: Child,
    pub port: u16,
}

impl Demo {
    pub async fn start(flags: &[&str]) -> Demo {
        Demo::start_at(free_port(), flags).await
    }

    /// On a port that is known, as one that was stopped and comes back.
    pub async fn start_at(port: u16, flags: &[&str]) -> Demo {
        let address = |port| format!("127.0.0.1:{port}");
        let process = Command::new(binary())
            .args(["demo", "--listen", &address(port), "--admin-listen", &address(free_port())])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary can be started");
        while TcpStream::connect(address(port)).await.is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Demo { process, port }
    }

    pub async fn stop(mut self) {
        signal(self.process.id().expect("it runs"), Signal::TERM);
        assert!(self.process.wait().await.expect("a child can be waited for").success());
    }
}
