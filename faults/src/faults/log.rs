//! Faults of the log: retention, compaction, transactions, topics and partitions that appear and disappear.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::Signal;

use crate::bare::read_all;
use crate::client::Habit;
use crate::judge::Edge;
use crate::ledger::Fate;
use crate::scene::{Scene, Stage};
use crate::transactions::Transactions;
use crate::trial::Fault;
use crate::writer::Target;

/// Segments are closed, and retention is checked, within a second or two.
const SHORT_LIVED: [(&str, &str); 2] = [("segment.ms", "1000"), ("retention.ms", "3000")];
/// A compacted topic whose cleaner runs all the time.
const COMPACTED: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "500"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("max.compaction.lag.ms", "1000"),
];

pub(super) fn faults() -> Vec<Fault> {
    let usual = Stage::default;
    vec![
        Fault::new("deleted-away", "DeleteRecords passes clients that are away", |scene| {
            Box::pin(deleted_while_away(scene))
        }),
        Fault::new(
            "deleted-live",
            "a topic emptied while clients are connected, some of them slow",
            |scene| Box::pin(deleted_while_connected(scene)),
        )
        .on(Stage {
            cache_mib: 16,
            habits: vec![Habit::Cut, Habit::Slow(2_000)],
            rate: 2_000,
            ..usual()
        }),
        Fault::new("retention", "retention runs all the time, and the bridge is killed", |scene| {
            Box::pin(retention(scene))
        })
        .on(Stage { topic_config: SHORT_LIVED.to_vec(), ..usual() }),
        Fault::new("compaction", "compaction leaves holes", |scene| Box::pin(compaction(scene))).on(Stage {
            topic_config: COMPACTED.to_vec(),
            keys: 40,
            by_key: true,
            ..usual()
        }),
        Fault::new("transactions", "transactions committed, aborted, and open for long", |scene| {
            Box::pin(transactions(scene))
        }),
        Fault::new("recreated-away", "a topic deleted and created again while clients are away", |scene| {
            Box::pin(recreated_while_away(scene))
        }),
        Fault::new(
            "recreated-live",
            "a topic deleted and created again while clients are connected",
            |scene| Box::pin(recreated_while_connected(scene)),
        ),
        Fault::new("recreated-later", "a topic that is gone for six seconds", |scene| {
            Box::pin(gone_for_a_while(scene))
        })
        .long(),
        Fault::new("partitions-away", "12 partitions become 24 while clients are away", |scene| {
            Box::pin(partitions_while_away(scene))
        }),
        Fault::new("partitions-live", "12 partitions become 24 while clients are connected", |scene| {
            Box::pin(partitions_while_connected(scene))
        })
        .long(),
        Fault::new(
            "topic-appears",
            "a topic appears; one of two replicas learns of it ten seconds later",
            |scene| Box::pin(topic_appears(scene)),
        )
        .on(Stage { replicas: 2, pattern: true, ..usual() }),
        Fault::new("thousand-partitions", "1,000 partitions, and the bridge is killed", |scene| {
            Box::pin(thousand_partitions(scene))
        })
        .on(Stage { partitions: 1_000, ..usual() })
        .long(),
        Fault::new("timestamps", "timestamps in no order, and the bridge is killed", |scene| {
            Box::pin(disordered(scene))
        })
        .long()
        .on(Stage { disorder: 3_600_000, ..usual() }),
    ]
}

/// The bridge is killed as well; otherwise it would still have the records in memory.
async fn deleted_while_away(scene: &mut Scene) -> Result<()> {
    scene.away().await;
    scene.breathe().await;
    scene.bridges[0].kill();
    scene.empty().await;
    scene.bridges[0].start().await;
    scene.mark(false);
    scene.back();
    scene.breathe().await;
    Ok(())
}

/// Records that slow clients have not read are not in memory any more, so the gap must be announced.
async fn deleted_while_connected(scene: &mut Scene) -> Result<()> {
    for _ in 0..2 {
        tokio::task::block_in_place(|| scene.write_ballast(24 << 20));
        scene.empty().await;
        scene.breathe().await;
    }
    Ok(())
}

/// How far retention deleted is known only afterwards.
async fn retention(scene: &mut Scene) -> Result<()> {
    scene.wait(Duration::from_secs(4)).await;
    scene.away().await;
    scene.bridges[0].kill();
    scene.wait(Duration::from_secs(5)).await;
    scene.bridges[0].start().await;
    scene.back();
    scene.breathe().await;
    // Nothing more is deleted from here on, so that the end can be judged.
    scene.kafka.alter_topic(&scene.topic, &[("retention.ms", "-1")]).await;
    scene.wait(Duration::from_secs(1)).await;
    let probe: BaseConsumer = scene.kafka.client().create().context("create a consumer")?;
    for partition in 0..scene.stage.partitions {
        let ask = || probe.fetch_watermarks(&scene.topic, partition as i32, Duration::from_secs(10));
        let (start, _) = tokio::task::block_in_place(ask).context("ask for the log's start")?;
        scene.fact("retention", partition, 0, Edge::UpTo(start as u64));
    }
    Ok(())
}

/// Records that the cleaner removed may have been delivered before, or not. The remaining ones must be delivered.
async fn compaction(scene: &mut Scene) -> Result<()> {
    scene.away().await;
    scene.wait(Duration::from_secs(4)).await;
    scene.bridges[0].kill();
    scene.bridges[0].start().await;
    scene.back();
    scene.breathe().await;
    let topic = scene.topic.clone();
    tokio::task::block_in_place(|| scene.writer.pause(&topic));
    // Without this, the cleaner would go on after the reading below.
    scene.kafka.alter_topic(&topic, &[("cleanup.policy", "delete")]).await;
    scene.wait(Duration::from_secs(2)).await;
    let mut left = HashSet::new();
    let kafka = &scene.kafka;
    for (partition, reads) in tokio::task::block_in_place(|| read_all(kafka, &topic)).into_iter().enumerate()
    {
        left.extend(reads.into_iter().map(|read| (partition as u32, read.offset as u64)));
    }
    scene.ledger.change(|_, entry| {
        let is_left = entry.offset.is_some_and(|offset| left.contains(&(entry.partition, offset)));
        if entry.topic == topic && !is_left {
            entry.fate = Fate::Unsure;
        }
    });
    Ok(())
}

async fn transactions(scene: &mut Scene) -> Result<()> {
    let (ledger, topic) = (scene.ledger.clone(), scene.topic.clone());
    let transactions = Transactions::start(&scene.kafka, ledger, topic, scene.stage.partitions, scene.breath);
    scene.breathe().await;
    scene.bridges[0].kill();
    scene.bridges[0].start().await;
    scene.breathe().await;
    tokio::task::block_in_place(|| transactions.stop())
}

async fn recreated_while_away(scene: &mut Scene) -> Result<()> {
    scene.away().await;
    scene.recreate(Duration::ZERO).await;
    scene.breathe().await;
    scene.back();
    scene.breathe().await;
    Ok(())
}

async fn recreated_while_connected(scene: &mut Scene) -> Result<()> {
    for _ in 0..2 {
        scene.recreate(Duration::ZERO).await;
        scene.breathe().await;
    }
    Ok(())
}

async fn gone_for_a_while(scene: &mut Scene) -> Result<()> {
    scene.recreate(Duration::from_secs(6)).await;
    scene.breathe().await;
    Ok(())
}

pub(super) async fn more_partitions(scene: &mut Scene) {
    let topic = scene.topic.clone();
    scene.kafka.add_partitions(&topic, 24).await;
    tokio::task::block_in_place(|| scene.writer.renew());
    scene.writer.change(&topic, |target| target.partitions = 24);
}

async fn partitions_while_away(scene: &mut Scene) -> Result<()> {
    scene.away().await;
    more_partitions(scene).await;
    scene.breathe().await;
    scene.bridges[0].kill();
    scene.bridges[0].start().await;
    scene.back();
    scene.breathe().await;
    Ok(())
}

async fn partitions_while_connected(scene: &mut Scene) -> Result<()> {
    more_partitions(scene).await;
    scene.breathe().await;
    Ok(())
}

/// Creates a topic that is written to at once. Returns its name.
pub(super) async fn one_more_topic(scene: &mut Scene, name: &str) -> String {
    let name = scene.another_topic(name);
    scene.kafka.create_topic(&name, 4, &[]).await;
    scene.writer.add(Target::new(&name, 4));
    name
}

/// A stopped replica does not learn of the topic; when it continues, clients send ids with a topic that it does not know.
async fn topic_appears(scene: &mut Scene) -> Result<()> {
    scene.bridges[1].signal(Signal::STOP);
    one_more_topic(scene, "new").await;
    scene.wait(Duration::from_secs(10)).await;
    scene.bridges[1].signal(Signal::CONT);
    scene.breathe().await;
    Ok(())
}

async fn thousand_partitions(scene: &mut Scene) -> Result<()> {
    scene.breathe().await;
    scene.bridges[0].kill();
    scene.bridges[0].start().await;
    scene.breathe().await;
    Ok(())
}

async fn disordered(scene: &mut Scene) -> Result<()> {
    scene.breathe().await;
    scene.bridges[0].kill();
    scene.bridges[0].start().await;
    scene.breathe().await;
    Ok(())
}
