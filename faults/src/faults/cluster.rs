//! What happens to three brokers: leaders and coordinators that move.

use std::time::Duration;

use anyhow::Result;
use rdkafka::metadata::MetadataPartition;
use serde_json::json;

use crate::scene::{Scene, Stage};
use crate::trial::Fault;

/// From the moment when all partitions have leaders again to the first record that was taken since. Kafka's own part of it,
/// and the producer's, take up to three seconds.
const RECOVERY: Duration = Duration::from_secs(5);
/// Where Kafka keeps the consumer groups.
const OFFSETS: &str = "__consumer_offsets";

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "leader-killed",
            "one of three brokers: SIGKILL, its partitions are led by others",
            |scene| Box::pin(leader_killed(scene)),
        )
        .long()
        .on(three())
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new(
            "coordinator-killed",
            "of three brokers, the one with the consumer groups: SIGKILL",
            |scene| Box::pin(coordinator_killed(scene)),
        )
        .long()
        .on(three())
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new("brokers-rolled", "a rolling restart of three brokers", |scene| {
            Box::pin(rolling_restart(scene))
        })
        .on(three())
        .long()
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new("leaders-preferred", "a restart, then a preferred-leader election", |scene| {
            Box::pin(preferred_leaders(scene))
        })
        .long()
        .on(three())
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new(
            "leaders-reassigned",
            "the topic moves from two of three brokers to others, and back",
            |scene| Box::pin(reassigned(scene)),
        )
        .long()
        .on(Stage { topic_on: vec![1, 2], ..three() })
        .keeps_streams()
        .recovers_within(RECOVERY),
    ]
}

fn three() -> Stage {
    Stage { brokers: 3, ..Stage::default() }
}

/// Waits until all replicas of all topics of the trial are in sync again.
async fn in_sync(scene: &mut Scene) {
    for topic in [scene.topic.clone(), OFFSETS.into()] {
        scene.kafka.leaders(&topic, "all replicas are in sync", |at| at.isr().len() == 3).await;
    }
}

/// One broker dies, which led partitions of the topic: others lead them.
async fn leader_killed(scene: &mut Scene) -> Result<()> {
    let topic = scene.topic.clone();
    kill_and_return(scene, &topic).await;
    Ok(())
}

/// The broker dies that has the replicas' consumer groups.
async fn coordinator_killed(scene: &mut Scene) -> Result<()> {
    kill_and_return(scene, OFFSETS).await;
    Ok(())
}

/// Kills the leader of the topic's first partition; it comes back after others have led for a while.
async fn kill_and_return(scene: &mut Scene, topic: &str) {
    let dead = tokio::task::block_in_place(|| scene.kafka.leader(topic, 0));
    scene.kafka.broker(dead as usize - 1).kill();
    let own = scene.topic.clone();
    scene.kafka.leaders(topic, "another one leads", |at| at.leader() > 0 && at.leader() != dead).await;
    scene.kafka.leaders(&own, "others lead", |at| at.leader() > 0 && at.leader() != dead).await;
    scene.mark(true);
    scene.breathe().await;
    scene.kafka.broker(dead as usize - 1).spawn();
    in_sync(scene).await;
    scene.breathe().await;
}

/// SIGTERM to one after the other, each when all is in sync again.
async fn rolling_restart(scene: &mut Scene) -> Result<()> {
    for index in 0..3 {
        tokio::task::block_in_place(|| scene.kafka.broker(index).stop());
        scene.kafka.broker(index).spawn();
        scene.kafka.broker(index).answers().await;
        in_sync(scene).await;
        scene.mark(true);
        scene.breathe().await;
    }
    Ok(())
}

/// After a restart a broker leads nothing, until its partitions are given back to it.
async fn preferred_leaders(scene: &mut Scene) -> Result<()> {
    tokio::task::block_in_place(|| scene.kafka.broker(0).stop());
    scene.kafka.broker(0).spawn();
    in_sync(scene).await;
    let arguments = ["--election-type", "preferred", "--all-topic-partitions"];
    let tool = "org.apache.kafka.tools.LeaderElectionCommand";
    tokio::task::block_in_place(|| scene.kafka.tool(tool, &arguments));
    let topic = scene.topic.clone();
    scene.kafka.leaders(&topic, "the first replica leads", |at| at.leader() == at.replicas()[0]).await;
    scene.mark(true);
    scene.breathe().await;
    Ok(())
}

/// The topic moves from two brokers to others, its leader among them, and back.
async fn reassigned(scene: &mut Scene) -> Result<()> {
    let topic = scene.topic.clone();
    for brokers in [[3, 1], [2, 3], [1, 2]] {
        let partitions: Vec<_> = (0..scene.stage.partitions)
            .map(|partition| json!({ "topic": &*topic, "partition": partition, "replicas": brokers }))
            .collect();
        let file = scene.kafka.directory().join("reassignment.json");
        std::fs::write(&file, json!({ "version": 1, "partitions": partitions }).to_string())?;
        let file = file.to_string_lossy();
        let arguments = ["--reassignment-json-file", &*file, "--execute"];
        let tool = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
        tokio::task::block_in_place(|| scene.kafka.tool(tool, &arguments));
        let is_there = |at: &MetadataPartition| at.replicas() == brokers && brokers.contains(&at.leader());
        scene.kafka.leaders(&topic, "the topic has moved", is_there).await;
        scene.mark(true);
        scene.breathe().await;
    }
    Ok(())
}
