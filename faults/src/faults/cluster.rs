//! Faults of three brokers: leaders and coordinators that move.

use std::time::Duration;

use anyhow::{Result, ensure};
use rdkafka::metadata::MetadataPartition;
use serde_json::json;

use crate::scene::{Scene, Stage};
use crate::trial::Fault;

/// The limit from the moment when all partitions have leaders again to the first record that was accepted after it. Kafka and
/// the producer take up to three seconds of it.
const RECOVERY: Duration = Duration::from_secs(5);
/// The time of a delivery on a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The topic in which Kafka stores the consumer groups.
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
        Fault::new(
            "coordinator-gone",
            "of three brokers, the only one with the consumer groups: away for five minutes",
            |scene| Box::pin(coordinator_gone(scene)),
        )
        .long()
        .on(Stage { topic_on: vec![1, 2], ..three() })
        .keeps_streams()
        .recovers_within(AT_ONCE),
        Fault::new(
            "recreated-rolled",
            "of three brokers one starts again; the topic is deleted and created meanwhile",
            |scene| Box::pin(recreated_while_one_restarts(scene)),
        )
        .long()
        .on(three())
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new(
            "cluster-wiped-three",
            "three brokers: all their data gone, and set up again as another cluster",
            |scene| Box::pin(wiped(scene)),
        )
        .long()
        .on(three())
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new(
            "racks",
            "three racks, reading from one's own: its broker is killed, and comes back without its logs",
            |scene| Box::pin(racks(scene)),
        )
        .long()
        .on(Stage { env: vec![("TAILRACE_KAFKA_CLIENT_RACK", "rack-2".to_owned())], ..three() })
        .keeps_streams()
        .recovers_within(RECOVERY),
    ]
}

/// The groups move to the third broker alone, which does not have the topic, and that broker is killed.
async fn coordinator_gone(scene: &mut Scene) -> Result<()> {
    let only = |at: &MetadataPartition| at.replicas() == [3] && at.leader() == 3;
    reassign(scene, OFFSETS, 1, &[3])?;
    scene.kafka.leaders(OFFSETS, "the groups have moved", only).await;
    scene.kafka.broker(2).kill();
    let topic = scene.topic.clone();
    let calm = scene.another_topic("calm");
    for topic in [&*topic, &calm] {
        scene.kafka.leaders(topic, "others lead", |at| matches!(at.leader(), 1 | 2)).await;
    }
    scene.mark(true);
    let longest = scene.longest_silence(Duration::from_secs(300)).await;
    scene.kafka.broker(2).spawn();
    scene.kafka.broker(2).answers().await;
    reassign(scene, OFFSETS, 1, &[1, 2, 3])?;
    scene.kafka.leaders(OFFSETS, "all replicas are in sync", |at| at.isr().len() == 3).await;
    scene.breathe().await;
    ensure!(longest < AT_ONCE * 2, "nothing was delivered for {longest:?}");
    Ok(())
}

/// A topic cannot be created on a broker that is down, so it is deleted while the broker is down, and created as soon as it is
/// back.
async fn recreated_while_one_restarts(scene: &mut Scene) -> Result<()> {
    tokio::task::block_in_place(|| scene.kafka.broker(0).stop());
    scene.delete().await;
    scene.kafka.broker(0).spawn();
    scene.kafka.broker(0).answers().await;
    scene.create_again(scene.stage.partitions, "replaced").await;
    scene.mark(true);
    scene.breathe().await;
    scene.breathe().await;
    Ok(())
}

/// A client uses the highest leader epoch that it knows, and a new cluster begins with the lowest one: so leaders are elected
/// again first.
async fn wiped(scene: &mut Scene) -> Result<()> {
    tokio::task::block_in_place(|| scene.kafka.broker(0).stop());
    scene.kafka.broker(0).spawn();
    in_sync(scene).await;
    scene.breathe().await;
    scene.wipe(true).await;
    scene.mark(true);
    scene.breathe().await;
    scene.breathe().await;
    Ok(())
}

/// A follower that is back may have fewer records than were read already: its log end must not be announced as a gap.
async fn racks(scene: &mut Scene) -> Result<()> {
    let topic = scene.topic.clone();
    for is_emptied in [false, true] {
        scene.kafka.broker(1).kill();
        if is_emptied {
            scene.kafka.remove_logs(2, &topic)?;
        } else {
            scene.breathe().await;
        }
        scene.kafka.broker(1).spawn();
        scene.kafka.broker(1).answers().await;
        scene.mark(true);
        scene.breathe().await;
        in_sync(scene).await;
        scene.breathe().await;
    }
    Ok(())
}

fn three() -> Stage {
    Stage { brokers: 3, ..Stage::default() }
}

/// Waits until all replicas of the topic and of the consumer groups are in sync again.
async fn in_sync(scene: &mut Scene) {
    for topic in [scene.topic.clone(), OFFSETS.into()] {
        scene.kafka.leaders(&topic, "all replicas are in sync", |at| at.isr().len() == 3).await;
    }
}

/// A broker that leads partitions of the topic is killed: other brokers then lead them.
async fn leader_killed(scene: &mut Scene) -> Result<()> {
    let topic = scene.topic.clone();
    kill_and_return(scene, &topic).await;
    Ok(())
}

/// The broker that coordinates the replicas' consumer groups is killed.
async fn coordinator_killed(scene: &mut Scene) -> Result<()> {
    kill_and_return(scene, OFFSETS).await;
    Ok(())
}

/// Kills the leader of the topic's first partition, and starts it again after other brokers have led for a while.
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

/// SIGTERM to one broker after the other, each once all replicas are in sync again.
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

/// After a restart a broker leads no partition, until its partitions are given back to it.
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

/// Moves all partitions of a topic to these brokers.
fn reassign(scene: &Scene, topic: &str, partitions: u32, brokers: &[i32]) -> Result<()> {
    let partitions: Vec<_> = (0..partitions)
        .map(|partition| json!({ "topic": topic, "partition": partition, "replicas": brokers }))
        .collect();
    let file = scene.kafka.directory().join("reassignment.json");
    std::fs::write(&file, json!({ "version": 1, "partitions": partitions }).to_string())?;
    let file = file.to_string_lossy();
    let arguments = ["--reassignment-json-file", &*file, "--execute"];
    let tool = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
    tokio::task::block_in_place(|| scene.kafka.tool(tool, &arguments));
    Ok(())
}

/// The topic moves from two brokers to others, including its leader, and back.
async fn reassigned(scene: &mut Scene) -> Result<()> {
    let topic = scene.topic.clone();
    for brokers in [[3, 1], [2, 3], [1, 2]] {
        reassign(scene, &topic, scene.stage.partitions, &brokers)?;
        let is_there = |at: &MetadataPartition| at.replicas() == brokers && brokers.contains(&at.leader());
        scene.kafka.leaders(&topic, "the topic has moved", is_there).await;
        scene.mark(true);
        scene.breathe().await;
    }
    Ok(())
}
