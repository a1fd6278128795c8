//! TLS as clients meet it: handshakes that fail, never end, or come back; streams over it; certificates that change.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/pki.rs"]
mod pki;

#[path = "../ways/way.rs"]
mod way;

mod crowd;
mod handshake;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::Files;
use crate::support::Server;

/// Metrics and time are the process's: a test that looks at them runs alone.
static PROCESS: RwLock<()> = RwLock::const_new(());

pub(crate) async fn beside_others() -> RwLockReadGuard<'static, ()> {
    PROCESS.read().await
}

pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    PROCESS.write().await
}

/// A server with these files.
pub(crate) async fn serve(files: &Files, flags: &[&str]) -> Server {
    let tls = files.flags();
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    Server::open(&[&tls[..], flags].concat()).await
}

pub(crate) async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    TlsConnector::from(config.clone()).connect("localhost".try_into().unwrap(), socket).await
}

/// How many handshakes have ended so.
pub(crate) async fn handshakes(server: &Server, result: &str) -> f64 {
    server.metric(&format!("tailrace_tls_handshakes_total{{result=\"{result}\"}}")).await
}

/// Waits until it holds, no longer than twenty seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begin.elapsed()
}
