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

fn start(stage: &Stage) -> Result<Running> {
    let topic = Topic::create(&stage.kafka.bootstrap, stage.topic_name(), PARTITIONS)?;
    let server = Server::start(&stage.program, &stage.kafka.bootstrap, &topic.name, &[])?;
    Ok(Running {
        transport: Transport::Plain,
        address: server.address,
        process: Process::Ours(server),
        path: format!("/t/{TENANT}/events"),
        publish: Box::new(KafkaPublish::new(&stage.kafka.bootstrap, &topic.name)?),
        _topic: Some(topic),
        place: None,
    })
}
