//! What happens to brokers, and to the way to them.

use std::time::Duration;

use anyhow::Result;
use rdkafka::metadata::MetadataPartition;
use rustix::process::Signal;
use serde_json::json;

use crate::bridge::get;
use crate::eventually;
use crate::member::Member;
use crate::proxy::Weather;
use crate::scene::{Scene, Stage};
use crate::trial::Fault;

/// From a broker's return to the first record that it took since.
const RECOVERY: Duration = Duration::from_secs(2);

/// A connection that is dead without a word is given up after fifteen seconds without an answer.
const SILENCE: Duration = Duration::from_secs(18);

/// Where Kafka keeps the consumer groups.
const OFFSETS: &str = "__consumer_offsets";
/// Until a replica says what became of its group: a static member that only closes keeps its place until its session ends.
const READY: Duration = Duration::from_secs(30);

pub(super) fn faults() -> Vec<Fault> {
    let proxied = || Stage { is_proxied: true, ..Stage::default() };
    vec![
        Fault::new("broker-killed", "the only broker: SIGKILL, and started again", |scene| {
            Box::pin(killed(scene))
        })
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new("broker-paused", "the only broker: SIGSTOP for 6 s", |scene| Box::pin(stopped(scene, 6)))
            .keeps_streams()
            .recovers_within(RECOVERY),
        Fault::new("broker-stopped", "the only broker: SIGSTOP for 30 s", |scene| {
            Box::pin(stopped(scene, 30))
        })
        .long()
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new("way-slow", "the way to Kafka: 100 ms longer, and 100 kB/s at the most", |scene| {
            Box::pin(slow_way(scene))
        })
        .on(proxied())
        .keeps_streams(),
        Fault::new("way-lossy", "the way to Kafka: 3 % of all pieces are lost, and come late", |scene| {
            Box::pin(lossy_way(scene))
        })
        .on(proxied())
        .keeps_streams(),
        Fault::new("way-reset", "connections to Kafka are reset in the middle of answers", |scene| {
            Box::pin(resets(scene))
        })
        .on(proxied())
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new("way-half-open", "connections to Kafka pass nothing on, and nobody is told", |scene| {
            Box::pin(half_open(scene))
        })
        .on(proxied())
        .long()
        .keeps_streams()
        .recovers_within(SILENCE),
        Fault::new("cut-live", "unclean leader election: the log is cut under two replicas", |scene| {
            Box::pin(cut_while_connected(scene))
        })
        .on(unclean()),
        Fault::new(
            "cut-stopped",
            "unclean leader election, and overtaken, while two replicas stand still",
            |scene| Box::pin(cut_while_stopped(scene)),
        )
        .on(unclean()),
        Fault::new(
            "cut-away",
            "unclean leader election while clients are away, one replica without memory",
            |scene| Box::pin(cut_while_away(scene)),
        )
        .on(unclean()),
        Fault::new(
            "cut-overtaken",
            "as before, and other records have those offsets when clients return",
            |scene| Box::pin(overtaken_while_away(scene)),
        )
        .on(unclean()),
        Fault::new(
            "leader-killed",
            "one of three brokers: SIGKILL, its partitions are led by others",
            |scene| Box::pin(leader_killed(scene)),
        )
        .on(three())
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new(
            "coordinator-killed",
            "of three brokers, the one with the consumer groups: SIGKILL",
            |scene| Box::pin(coordinator_killed(scene)),
        )
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
        .on(three())
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new(
            "leaders-reassigned",
            "the topic moves from two of three brokers to others, and back",
            |scene| Box::pin(reassigned(scene)),
        )
        .on(Stage { topic_on: vec![1, 2], ..three() })
        .keeps_streams()
        .recovers_within(RECOVERY),
        Fault::new(
            "group-shared",
            "another member in the replica's own group, which comes and goes",
            |scene| Box::pin(dynamic_member(scene)),
        )
        .keeps_streams(),
        Fault::new("group-shared-static", "as before, a static member", |scene| {
            Box::pin(static_member(scene))
        })
        .long()
        .keeps_streams(),
    ]
}

async fn killed(scene: &mut Scene) -> Result<()> {
    scene.kafka.broker(0).kill();
    scene.breathe().await;
    scene.kafka.broker(0).spawn();
    scene.kafka.broker(0).answers().await;
    scene.mark(true);
    scene.breathe().await;
    scene.breathe().await;
    Ok(())
}

async fn stopped(scene: &mut Scene, seconds: u64) -> Result<()> {
    scene.kafka.broker(0).signal(Signal::STOP);
    scene.wait(Duration::from_secs(seconds)).await;
    scene.kafka.broker(0).signal(Signal::CONT);
    scene.kafka.broker(0).answers().await;
    scene.mark(true);
    scene.breathe().await;
    scene.breathe().await;
    Ok(())
}

async fn slow_way(scene: &mut Scene) -> Result<()> {
    let delay = Duration::from_millis(100);
    weather(scene, Weather { delay, rate: Some(100_000), ..Weather::default() }, 4).await
}

async fn lossy_way(scene: &mut Scene) -> Result<()> {
    weather(scene, Weather { loss: 30, ..Weather::default() }, 4).await
}

async fn resets(scene: &mut Scene) -> Result<()> {
    let before = scene.kafka.broker(0).proxy().resets();
    weather(scene, Weather { reset_within: Some(30_000), ..Weather::default() }, 4).await?;
    let count = scene.kafka.broker(0).proxy().resets() - before;
    anyhow::ensure!(count > 0, "no connection was reset");
    Ok(())
}

/// Some time of it, and of fair weather after it.
async fn weather(scene: &mut Scene, weather: Weather, breaths: u32) -> Result<()> {
    scene.kafka.broker(0).proxy().set(weather);
    for _ in 0..breaths {
        scene.breathe().await;
    }
    scene.kafka.broker(0).proxy().set(Weather::default());
    scene.mark(true);
    scene.breathe().await;
    Ok(())
}

/// Found out only because answers do not come.
async fn half_open(scene: &mut Scene) -> Result<()> {
    scene.kafka.broker(0).proxy().half_open();
    scene.mark(true);
    scene.breathe().await;
    scene.breathe().await;
    Ok(())
}

/// On two of three brokers, of which the second may lead without being in sync.
fn unclean() -> Stage {
    Stage {
        brokers: 3,
        partitions: 4,
        replicas: 2,
        topic_on: vec![1, 2],
        topic_config: vec![("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")],
        ..Stage::default()
    }
}

/// The leader alone has the newest records. It dies, and one that lacks them leads: the log is cut back.
async fn cut(scene: &mut Scene) -> Result<()> {
    let topic = scene.topic.clone();
    scene.kafka.broker(1).kill();
    scene.kafka.leaders(&topic, "the leader is alone", |at| at.leader() == 1 && at.isr() == [1]).await;
    scene.breathe().await;
    tokio::task::block_in_place(|| scene.writer.pause(&topic));
    // What was written last is to be seen before it is cut.
    scene.wait(Duration::from_millis(500)).await;
    Ok(())
}

/// The first broker dies, the second comes back without the newest records and leads.
async fn lead_uncleanly(scene: &mut Scene) -> Result<()> {
    let topic = scene.topic.clone();
    scene.kafka.broker(0).kill();
    scene.kafka.broker(1).spawn();
    scene.kafka.leaders(&topic, "the other replica leads", |at| at.leader() == 2).await;
    let count = scene.note_cut().await;
    anyhow::ensure!(count > 0, "no record was cut");
    Ok(())
}

/// Other records take the offsets of those that were cut.
async fn overtake(scene: &mut Scene) {
    let (topic, generation) = (scene.topic.clone(), scene.generation());
    tokio::task::block_in_place(|| scene.writer.renew());
    scene.writer.change(&topic, |target| {
        target.generation = generation;
        target.is_active = true;
    });
    scene.breathe().await;
    scene.breathe().await;
}

/// The broker that died follows again, and all is as it was.
async fn heal(scene: &mut Scene) {
    let topic = scene.topic.clone();
    scene.kafka.broker(0).spawn();
    scene.kafka.leaders(&topic, "all replicas are in sync", |at| at.isr().len() == 2).await;
    scene.breathe().await;
}

/// Replicas and clients see the cut happen: their positions lie past the end first, and are overtaken then.
async fn cut_while_connected(scene: &mut Scene) -> Result<()> {
    cut(scene).await?;
    lead_uncleanly(scene).await?;
    scene.breathe().await;
    overtake(scene).await;
    heal(scene).await;
    Ok(())
}

/// Replicas do not see the cut: when they come to, other records have the offsets that they go on from.
async fn cut_while_stopped(scene: &mut Scene) -> Result<()> {
    cut(scene).await?;
    scene.bridges.iter().for_each(|bridge| bridge.signal(Signal::STOP));
    lead_uncleanly(scene).await?;
    overtake(scene).await;
    scene.bridges.iter().for_each(|bridge| bridge.signal(Signal::CONT));
    scene.breathe().await;
    heal(scene).await;
    Ok(())
}

/// One replica sees it, the other has no memory of what was; clients come back past the end.
async fn cut_while_away(scene: &mut Scene) -> Result<()> {
    cut(scene).await?;
    scene.away().await;
    scene.bridges[1].kill();
    lead_uncleanly(scene).await?;
    scene.bridges[1].start().await;
    scene.back();
    scene.breathe().await;
    overtake(scene).await;
    heal(scene).await;
    Ok(())
}

/// As before; but when clients come back, other records have the offsets that they come with.
async fn overtaken_while_away(scene: &mut Scene) -> Result<()> {
    cut(scene).await?;
    scene.away().await;
    scene.bridges[1].kill();
    lead_uncleanly(scene).await?;
    overtake(scene).await;
    scene.bridges[1].start().await;
    scene.back();
    heal(scene).await;
    Ok(())
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

/// Somebody else joins a replica's own group, takes partitions from it, and leaves again.
async fn shared_group(scene: &mut Scene, instance: Option<&str>) -> Result<()> {
    for _ in 0..2 {
        let group = format!("tailrace-{}", scene.bridges[0].instance());
        let member = Member::join(&scene.kafka, &group, &scene.topic, instance);
        let admin = scene.bridges[0].admin;
        eventually("the replica says that its group is shared", READY, async || {
            let (_, text) = get(admin, "/readyz").await?;
            text.contains("are not assigned to member").then_some(())
        })
        .await;
        scene.breathe().await;
        tokio::task::block_in_place(|| member.leave());
        eventually("the replica has all partitions again", READY, async || {
            let (_, text) = get(admin, "/readyz").await?;
            (!text.contains("are not assigned")).then_some(())
        })
        .await;
        scene.mark(true);
        scene.breathe().await;
    }
    Ok(())
}

async fn dynamic_member(scene: &mut Scene) -> Result<()> {
    shared_group(scene, None).await
}

async fn static_member(scene: &mut Scene) -> Result<()> {
    shared_group(scene, Some("intruder")).await
}
