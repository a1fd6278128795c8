//! Tailrace, as one of the peers.

use anyhow::Result;

use super::kafka_publish::{KafkaPublish, TENANT};
use super::peer::{PARTITIONS, Peer, Process, Running, Stage};
use crate::producer::Topic;
use crate::server::Server;
use crate::wire::Transport;

/// Its name in figures.
pub(crate) const NAME: &str = "Tailrace";

pub(crate) const PEER: Peer = Peer {
    name: NAME,
    note: "on Kafka, whose own CPU is not in it",
    most_clients: usize::MAX,
    curve: true,
    start,
    folder: None,
};

pub(crate) const WEB_SOCKET: Peer =
    Peer { name: "Tailrace, WebSocket", start: |stage| start_at(stage, "ws", HANDSHAKE), ..PEER };

/// After the path.
const HANDSHAKE: &str = "\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn start(stage: &Stage) -> Result<Running> {
    start_at(stage, "events", "")
}

fn start_at(stage: &Stage, route: &str, headers: &str) -> Result<Running> {
    let topic = Topic::create(&stage.kafka.bootstrap, stage.topic_name(), PARTITIONS)?;
    let server = Server::start(&stage.program, &stage.kafka.bootstrap, &topic.name, &[])?;
    Ok(Running {
        transport: Transport::Plain,
        address: server.address,
        process: Process::Ours(server),
        path: format!("/t/{TENANT}/{route}{headers}"),
        publish: Box::new(KafkaPublish::new(&stage.kafka.bootstrap, &topic.name)?),
        _topic: Some(topic),
        place: None,
    })
}
