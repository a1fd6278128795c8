//! Asks the server. Every error says what to do next.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::Sort;
use super::report::{List, Report};
use crate::config::Refusal;

/// The server answers within milliseconds, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer: ten thousand streams with the longest names.
const MAX_ANSWER: usize = 64 << 20;

pub(super) struct Client {
    /// What a name stands for, in the order in which they are tried.
    addresses: Vec<SocketAddr>,
    shown: String,
    token: Option<String>,
    limit: u16,
}

impl Client {
    pub(super) fn new(address: &str, token_file: Option<&str>, limit: u16) -> Result<Client, Refusal> {
        let found = address.trim().to_socket_addrs().map(|all| all.map(reachable).collect::<Vec<_>>());
        let addresses = found.ok().filter(|all| !all.is_empty()).ok_or_else(|| {
            let accepted = "an address and a port, such as 127.0.0.1:9464 or localhost:9464";
            Refusal::value("TAILRACE_ADMIN_LISTEN", address, accepted)
        })?;
        let token = token_file.filter(|path| !path.is_empty()).map(token).transpose()?;
        Ok(Client { shown: addresses[0].to_string(), addresses, token, limit })
    }

    pub(super) fn address(&self) -> &str {
        &self.shown
    }

    pub(super) async fn report(&self, sort: Sort) -> anyhow::Result<Report> {
        let asking = async {
            let tenants = self.list("/tenants", sort.of_tenants()).await?;
            let streams = self.list("/streams", sort.of_streams()).await?;
            Ok(Report { tenants, streams, at: Instant::now() })
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(report) => report,
            Err(_) => bail!("{} does not answer within {} s", self.shown, PATIENCE.as_secs()),
        }
    }

    async fn list<T: DeserializeOwned>(&self, path: &str, sort: &str) -> anyhow::Result<List<T>> {
        let response = self.ask(&format!("{path}?sort={sort}&limit={}", self.limit)).await?;
        let (head, body) = response.into_parts();
        let total = head.headers.get("x-total-count").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body =
            body.map_err(|error| anyhow!("the answer of {} cannot be read: {error}", self.shown))?.to_bytes();
        if head.status != StatusCode::OK {
            return Err(self.refused(head.status, &body));
        }
        let list = serde_json::from_slice(&body).ok().zip(total);
        let (first, total) = list.ok_or_else(|| anyhow!("{}", self.stranger()))?;
        Ok(List { first, total })
    }

    async fn ask(&self, target: &str) -> anyhow::Result<Response<hyper::body::Incoming>> {
        let (socket, address) = self.connect().await?;
        let answering = hyper::client::conn::http1::handshake(TokioIo::new(socket));
        let (mut sender, connection) = answering.await.with_context(|| self.stranger())?;
        tokio::spawn(connection);
        // The address itself, whatever name it was found by: on loopback the server asks for one of this machine.
        let mut request = Request::get(target).header(HOST, address.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).context("make the request")?;
        sender.send_request(request).await.with_context(|| self.stranger())
    }

    async fn connect(&self) -> anyhow::Result<(TcpStream, SocketAddr)> {
        let mut last = None;
        for address in &self.addresses {
            match TcpStream::connect(address).await {
                Ok(socket) => return Ok((socket, *address)),
                Err(error) => last = Some(error),
            }
        }
        let error = last.map_or_else(|| anyhow!("no address"), anyhow::Error::new);
        Err(error.context(format!(
            "nothing answers at {}: start the server, or name its TAILRACE_ADMIN_LISTEN by --admin-listen",
            self.shown
        )))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(detail) = problem["detail"].as_str() else { return anyhow!("{}", self.stranger()) };
        match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, None) => anyhow!(
                "{} asks for a token: name the file by --admin-token-file or TAILRACE_ADMIN_TOKEN_FILE",
                self.shown
            ),
            (StatusCode::UNAUTHORIZED, Some(_)) => {
                anyhow!("{} does not take the token: it must be one of the server's own file", self.shown)
            }
            (StatusCode::NOT_FOUND, _) => anyhow!("{}", self.stranger()),
            _ => anyhow!("{} answers {}: {}", self.shown, status.as_u16(), super::table::clean(detail)),
        }
    }

    fn stranger(&self) -> String {
        format!(
            "what answers at {} is not the operators' address of a Tailrace of this version: name \
             TAILRACE_ADMIN_LISTEN by --admin-listen",
            self.shown
        )
    }
}

/// The address that a client on this machine can call.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The first token of the file.
fn token(path: &str) -> Result<String, Refusal> {
    let refused = |flaw: String| {
        Refusal::value(
            "TAILRACE_ADMIN_TOKEN_FILE",
            path,
            format!("a file with a token on its first line ({flaw})"),
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    let first = first.ok_or_else(|| refused("it is empty".to_owned()))?;
    let is_legal = first.bytes().all(|byte| byte.is_ascii_graphic());
    if is_legal { Ok(first.to_owned()) } else { Err(refused("not visible ASCII".to_owned())) }
}
