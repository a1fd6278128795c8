//! What happens to the log under its readers: records deleted, topics created again, partitions added.

use anyhow::Result;

use crate::judge::Edge;
use crate::scene::Scene;
use crate::trial::Fault;

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "records-deleted-away",
            "DeleteRecords passes positions of clients that are away",
            |scene| Box::pin(deleted_while_away(scene)),
        ),
        Fault::new("recreated-away", "a topic deleted and created again while clients are away", |scene| {
            Box::pin(recreated_while_away(scene))
        }),
        Fault::new(
            "recreated-live",
            "a topic deleted and created again while clients are connected",
            |scene| Box::pin(recreated_while_connected(scene)),
        ),
    ]
}

/// The bridge is down as well, or it would still have the records in memory.
async fn deleted_while_away(scene: &mut Scene) -> Result<()> {
    scene.away().await;
    scene.breathe().await;
    scene.bridges[0].kill();
    scene.writer.pause(&scene.topic.clone());
    for partition in 0..scene.stage.partitions {
        let end = scene.end_of(partition);
        scene.kafka.delete_records(&scene.topic, partition as i32, end as i64).await;
        scene.fact("retention", partition, 0, Edge::At(end));
    }
    scene.writer.change(&scene.topic, |target| target.is_active = true);
    scene.bridges[0].start().await;
    scene.mark(false);
    scene.back();
    scene.breathe().await;
    Ok(())
}

async fn recreated_while_away(scene: &mut Scene) -> Result<()> {
    scene.away().await;
    scene.recreate().await;
    scene.breathe().await;
    scene.back();
    scene.breathe().await;
    Ok(())
}

async fn recreated_while_connected(scene: &mut Scene) -> Result<()> {
    scene.recreate().await;
    scene.breathe().await;
    Ok(())
}
