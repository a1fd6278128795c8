//! Asks a server at its address for operators. Every error says what to do next.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::http::response::Parts as Head;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::Refusal;

/// The server answers within milliseconds, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer: ten thousand streams with the longest names.
const MAX_ANSWER: usize = 64 << 20;

pub(crate) struct AdminClient {
    /// What a name stands for, in the order in which they are tried.
    addresses: Vec<SocketAddr>,
    shown: String,
    token: Option<String>,
}

impl AdminClient {
    /// `address`: the value of TAILRACE_ADMIN_LISTEN; `token_file`: that of TAILRACE_ADMIN_TOKEN_FILE.
    pub(crate) fn new(address: &str, token_file: Option<&str>) -> Result<AdminClient, Refusal> {
        let found = address.trim().to_socket_addrs().map(|all| all.map(reachable).collect::<Vec<_>>());
        let addresses = found.ok().filter(|all| !all.is_empty()).ok_or_else(|| {
            let accepted = "an address and a port, such as 127.0.0.1:9464 or localhost:9464";
            Refusal::value("TAILRACE_ADMIN_LISTEN", address, accepted)
        })?;
        let token = token_file.filter(|path| !path.is_empty()).map(token).transpose()?;
        Ok(AdminClient { shown: addresses[0].to_string(), addresses, token })
    }

    pub(crate) fn address(&self) -> &str {
        &self.shown
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The answer to `GET` with its whole body.
    pub(crate) async fn get(&self, target: &str) -> anyhow::Result<(Head, Bytes)> {
        let asking = async {
            let (head, body) = self.ask(target).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body =
                body.map_err(|error| anyhow!("the answer of {} cannot be read: {error}", self.shown))?;
            Ok((head, body.to_bytes()))
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => bail!("{} does not answer within {} s", self.shown, PATIENCE.as_secs()),
        }
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

    /// What is said of an answer that no server of this version gives.
    pub(crate) fn stranger(&self) -> String {
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
