//! Unclean leader elections on three brokers: acknowledged and delivered records are cut from the log.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::scene::{Scene, Stage};
use crate::transactions::commit_one;
use crate::trial::Fault;

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new("cut-live", "unclean leader election: the log is cut under two replicas", |scene| {
            Box::pin(cut_while_connected(scene))
        })
        .long()
        .on(unclean()),
        Fault::new(
            "cut-stopped",
            "unclean leader election, and overtaken, while two replicas stand still",
            |scene| Box::pin(cut_while_stopped(scene)),
        )
        .long()
        .on(unclean()),
        Fault::new(
            "cut-away",
            "unclean leader election while clients are away, one replica without memory",
            |scene| Box::pin(cut_while_away(scene)),
        )
        .long()
        .on(unclean()),
        Fault::new(
            "cut-overtaken",
            "as before, and other records have those offsets when clients return",
            |scene| Box::pin(overtaken_while_away(scene)),
        )
        .on(unclean()),
        Fault::new(
            "cut-transactions",
            "as before, where the last that clients saw ends with the marks of a transaction",
            |scene| Box::pin(transaction_overtaken_while_away(scene)),
        )
        .long()
        .on(unclean()),
        Fault::new(
            "cut-led-on",
            "as before, and another leader was elected cleanly when clients return",
            |scene| Box::pin(led_on_while_away(scene)),
        )
        .long()
        .on(unclean()),
        Fault::new("cut-whole", "the other replica has lost its disk: nothing is left of the log", |scene| {
            Box::pin(cut_to_nothing(scene))
        })
        .long()
        .on(unclean()),
    ]
}

/// The topic is on two of three brokers, of which the second may lead without being in sync.
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

/// Kills the second broker, so that only the leader has the newest records, and then pauses writing.
async fn cut(scene: &mut Scene) -> Result<()> {
    let topic = scene.topic.clone();
    scene.kafka.broker(1).kill();
    scene.kafka.leaders(&topic, "the leader is alone", |at| at.leader() == 1 && at.isr() == [1]).await;
    scene.breathe().await;
    tokio::task::block_in_place(|| scene.writer.pause(&topic));
    // The last records must be delivered before they are cut.
    scene.wait(Duration::from_millis(500)).await;
    Ok(())
}

/// Kills the first broker; the second one returns without the newest records and leads, which cuts the log.
async fn lead_uncleanly(scene: &mut Scene) -> Result<()> {
    let topic = scene.topic.clone();
    scene.kafka.broker(0).kill();
    scene.kafka.broker(1).spawn();
    scene.kafka.leaders(&topic, "the other replica leads", |at| at.leader() == 2).await;
    let count = scene.note_cut().await;
    ensure!(count > 0, "no record was cut");
    Ok(())
}

/// Writes other records, which get the offsets of those that were cut.
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

/// The killed broker becomes a follower again, until all replicas are in sync.
async fn heal(scene: &mut Scene) {
    let topic = scene.topic.clone();
    scene.kafka.broker(0).spawn();
    scene.kafka.leaders(&topic, "all replicas are in sync", |at| at.isr().len() == 2).await;
    scene.breathe().await;
}

/// Replicas and clients are connected during the cut: their positions are first beyond the end of the log, and then overtaken.
async fn cut_while_connected(scene: &mut Scene) -> Result<()> {
    cut(scene).await?;
    lead_uncleanly(scene).await?;
    scene.breathe().await;
    overtake(scene).await;
    heal(scene).await;
    Ok(())
}

/// Replicas are stopped during the cut: when they continue, other records have the offsets from which they read on.
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

/// One replica runs during the cut, the other starts without its memory; clients return with positions beyond the end.
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

/// As before, but when clients return, other records have the offsets of their positions.
async fn overtaken_while_away(scene: &mut Scene) -> Result<()> {
    cut(scene).await?;
    lead_and_overtake_while_away(scene).await
}

/// As before, and positions are at offsets without records, from which no leader epoch can be known.
async fn transaction_overtaken_while_away(scene: &mut Scene) -> Result<()> {
    cut(scene).await?;
    let (ledger, topic) = (scene.ledger.clone(), scene.topic.clone());
    tokio::task::block_in_place(|| commit_one(&scene.kafka, ledger, topic, scene.stage.partitions))?;
    // Waits for ids from records of the other topic, which contain the positions after the transaction.
    scene.wait(Duration::from_secs(1)).await;
    lead_and_overtake_while_away(scene).await
}

async fn lead_and_overtake_while_away(scene: &mut Scene) -> Result<()> {
    scene.away().await;
    scene.bridges[1].kill();
    lead_uncleanly(scene).await?;
    overtake(scene).await;
    scene.bridges[1].start().await;
    scene.back();
    heal(scene).await;
    Ok(())
}

/// Whoever tells clients of the truncation is a later leader than the one that wrote the records behind it.
async fn led_on_while_away(scene: &mut Scene) -> Result<()> {
    cut(scene).await?;
    scene.away().await;
    scene.bridges[1].kill();
    lead_uncleanly(scene).await?;
    overtake(scene).await;
    heal(scene).await;
    let topic = scene.topic.clone();
    tokio::task::block_in_place(|| scene.kafka.broker(1).stop());
    scene.kafka.leaders(&topic, "the first broker leads", |at| at.leader() == 1).await;
    scene.kafka.broker(1).spawn();
    scene.kafka.leaders(&topic, "all replicas are in sync", |at| at.isr().len() == 2).await;
    scene.bridges[1].start().await;
    scene.back();
    scene.breathe().await;
    scene.breathe().await;
    Ok(())
}

/// The broker that becomes the leader has lost all of its data of the topic.
async fn cut_to_nothing(scene: &mut Scene) -> Result<()> {
    cut(scene).await?;
    scene.kafka.remove_logs(2, &scene.topic)?;
    lead_uncleanly(scene).await?;
    overtake(scene).await;
    heal(scene).await;
    Ok(())
}
