//! What happens to a replica's consumer group.

use std::time::Duration;

use anyhow::Result;

use crate::bridge::get;
use crate::eventually;
use crate::member::Member;
use crate::scene::Scene;
use crate::trial::Fault;

/// Until a replica says what became of its group: a static member that only closes keeps its place until its session ends.
const READY: Duration = Duration::from_secs(30);

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "group-shared",
            "another member in the replica's own group, which comes and goes",
            |scene| Box::pin(dynamic_member(scene)),
        )
        .long()
        .keeps_streams(),
        Fault::new("group-shared-static", "as before, a static member", |scene| {
            Box::pin(static_member(scene))
        })
        .long()
        .keeps_streams(),
    ]
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
