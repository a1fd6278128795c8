//! What people write themselves: small programs in benches/peers, each in its language's ordinary way, which `cargo xtask peers`
//! builds.

use std::process::Command;

use anyhow::Result;

use super::http::Http;
use super::peer::{Peer, Place, Process, Running, Stage};
use super::publish::Posts;
use crate::wire::Transport;

const fn peer(
    name: &'static str,
    note: &'static str,
    folder: &'static str,
    start: fn(&Stage) -> Result<Running>,
) -> Peer {
    Peer { name, note, most_clients: usize::MAX, curve: true, start, folder: Some(folder) }
}

pub(crate) const GO_SSE: Peer =
    peer("Go, SSE", "`net/http`, a channel for each client", "go", |stage| go(stage, EVENTS));
pub(crate) const GO_WS: Peer =
    peer("Go, WebSocket", "gorilla/websocket, a channel for each client", "go", |stage| go(stage, SOCKET));
pub(crate) const NODE_SSE: Peer =
    peer("Node, SSE", "`response.write` to each client", "node", |stage| node(stage, EVENTS));
pub(crate) const NODE_WS: Peer =
    peer("Node, WebSocket", "the package ws, `send` to each client", "node", |stage| node(stage, SOCKET));
pub(crate) const AXUM_SSE: Peer =
    peer("axum, SSE", "`Sse`, tokio's broadcast channel", "axum", |stage| axum(stage, EVENTS));
pub(crate) const AXUM_WS: Peer =
    peer("axum, WebSocket", "`ws`, tokio's broadcast channel", "axum", |stage| axum(stage, SOCKET));

const EVENTS: &str = "/events";
/// The path, and the headers of a handshake.
const SOCKET: &str = "/ws\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn go(stage: &Stage, path: &str) -> Result<Running> {
    start(Command::new(stage.installed("go").join("server")), path)
}

fn node(stage: &Stage, path: &str) -> Result<Running> {
    let mut command = Command::new("node");
    command.arg(stage.installed("node").join("server.mjs"));
    start(command, path)
}

fn axum(stage: &Stage, path: &str) -> Result<Running> {
    start(Command::new(stage.installed("axum").join("server")), path)
}

fn start(mut command: Command, path: &str) -> Result<Running> {
    let place = Place::new()?;
    let tree = place.start(command.arg(place.address.to_string()))?;
    let posts = Posts {
        http: Http::connect(place.address)?,
        line: "POST /publish".to_owned(),
        headers: "Content-Type: text/plain\r\n".to_owned(),
        prefix: b"",
    };
    Ok(Running {
        transport: Transport::Plain,
        process: Process::Tree(tree),
        address: place.address,
        path: path.to_owned(),
        publish: Box::new(posts),
        _topic: None,
        place: Some(place),
    })
}
