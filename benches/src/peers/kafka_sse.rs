//! kafka-sse: one consumer of the whole topic for each client, on the same Kafka as Tailrace.

use std::process::Command;

use anyhow::Result;

use super::kafka_publish::KafkaPublish;
use super::peer::{PARTITIONS, Peer, Place, Process, Running, Stage};
use crate::producer::Topic;
use crate::wire::Transport;

pub(crate) const PEER: Peer = Peer {
    name: "kafka-sse",
    note: "on the same Kafka, whose own CPU is not in it; fetches the topic once for each client",
    most_clients: 50,
    curve: true,
    start,
    folder: Some("kafka-sse"),
};

fn start(stage: &Stage) -> Result<Running> {
    let place = Place::new()?;
    let topic = Topic::create(&stage.kafka.bootstrap, stage.topic_name(), PARTITIONS)?;
    let script = place.write("server.js", include_str!("kafka_sse.js"))?;
    let mut command = Command::new("node");
    command.arg(script).env("NODE_PATH", stage.installed("kafka-sse/node_modules").canonicalize()?);
    // The consumer of each client blocks a thread of the pool, which has four threads by default.
    command.env("UV_THREADPOOL_SIZE", "128").env("PORT", place.address.port().to_string());
    command.env("BROKERS", &stage.kafka.bootstrap).env("TOPIC", &topic.name);
    let tree = place.start(&mut command)?;
    Ok(Running {
        transport: Transport::Plain,
        process: Process::Tree(tree),
        address: place.address,
        path: format!("/{}", topic.name),
        publish: Box::new(KafkaPublish::new(&stage.kafka.bootstrap, &topic.name)?),
        _topic: Some(topic),
        place: Some(place),
    })
}
