//! Faults of a replica's consumer group: none of them may affect reading.

use std::time::Duration;

use anyhow::Result;

use crate::member::Member;
use crate::scene::Scene;
use crate::trial::Fault;

/// Reading does not pause, so this is the time of a delivery on a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The time until another member is in the group.
const JOINED: Duration = Duration::from_secs(4);

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "group-shared",
            "another member in the replica's own group, which comes and goes, and commits what it likes",
            |scene| Box::pin(dynamic_member(scene)),
        )
        .long()
        .keeps_streams()
        .recovers_within(AT_ONCE),
        Fault::new("group-shared-static", "as before, a static member", |scene| {
            Box::pin(static_member(scene))
        })
        .long()
        .keeps_streams()
        .recovers_within(AT_ONCE),
        Fault::new("group-deleted", "the replica's group: its offsets reset, and it is deleted", |scene| {
            Box::pin(deleted(scene))
        })
        .long()
        .keeps_streams()
        .recovers_within(AT_ONCE),
        Fault::new(
            "group-twin",
            "a second process of the same TAILRACE_INSTANCE runs for 8 s, twice",
            |scene| Box::pin(twin(scene)),
        )
        .keeps_streams()
        .recovers_within(AT_ONCE),
    ]
}

/// Another member joins a replica's own group, takes partitions from it, and leaves again.
async fn shared_group(scene: &mut Scene, instance: Option<&str>) -> Result<()> {
    for _ in 0..2 {
        let group = format!("tailrace-{}", scene.bridges[0].instance());
        let member = Member::join(&scene.kafka, &group, &scene.topic, instance);
        scene.wait(JOINED).await;
        scene.mark(true);
        scene.breathe().await;
        tokio::task::block_in_place(|| member.leave());
        scene.breathe().await;
    }
    Ok(())
}

/// Uses Kafka's own tool, for which the group must have no members: the broker refuses the commands, or, if one succeeds, it
/// must have no effect.
async fn deleted(scene: &mut Scene) -> Result<()> {
    let group = format!("tailrace-{}", scene.bridges[0].instance());
    for arguments in [
        &["--reset-offsets", "--to-earliest", "--all-topics", "--execute"][..],
        &["--delete-offsets", "--topic", &scene.topic.clone()],
        &["--delete"],
    ] {
        let mut all = vec!["--group", &group];
        all.extend(arguments);
        scene.mark(true);
        let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        tokio::task::block_in_place(|| scene.kafka.try_tool(class, &all));
        scene.breathe().await;
    }
    Ok(())
}

async fn twin(scene: &mut Scene) -> Result<()> {
    for is_killed in [true, false] {
        let mut twin = scene.bridges[0].twin();
        twin.start().await;
        scene.mark(true);
        scene.wait(Duration::from_secs(8)).await;
        match is_killed {
            true => twin.kill(),
            false => drop(twin.terminate().await),
        }
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
