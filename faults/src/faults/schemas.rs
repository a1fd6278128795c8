//! Faults of the schema registry, with a topic of Avro: what cannot be decoded yet is held back, and nothing else is.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::scene::{Scene, Stage};
use crate::schemas::Registry;
use crate::trial::Fault;

/// Other partitions are delivered while these are held back.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(super) fn faults() -> Vec<Fault> {
    let avro = || Stage { is_avro: true, replicas: 2, keys: 400, by_key: true, ..Stage::default() };
    vec![
        Fault::new(
            "registry-gone",
            "Avro: the registry is gone when schemas change, and when a replica starts",
            |scene| Box::pin(registry_gone(scene)),
        )
        .on(avro()),
        Fault::new("registry-flaps", "Avro: the registry comes and goes, and replicas are killed", |scene| {
            Box::pin(registry_flaps(scene))
        })
        .on(avro())
        .long(),
    ]
}

fn registry(scene: &Scene) -> Result<Registry> {
    scene.registry.clone().context("the stage has a registry")
}

/// First both replicas know one schema and not the next, then one knows none. Records of the other topic come meanwhile.
async fn registry_gone(scene: &mut Scene) -> Result<()> {
    let registry = registry(scene)?;
    registry.shut();
    registry.use_one_more();
    let longest = scene.longest_silence(Duration::from_secs(4)).await;
    ensure!(longest < AT_ONCE, "nothing at all was delivered for {longest:?}");
    registry.open();
    scene.breathe().await;
    registry.shut();
    scene.bridges[1].kill();
    let opens = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        registry.open();
    };
    tokio::join!(scene.bridges[1].start(), opens);
    scene.breathe().await;
    scene.bridges[0].kill();
    scene.bridges[0].start().await;
    scene.breathe().await;
    Ok(())
}

/// Replicas that differ in what they could fetch give the same bytes: clients go back and forth between them.
async fn registry_flaps(scene: &mut Scene) -> Result<()> {
    let registry = registry(scene)?;
    for round in 0..6 {
        registry.shut();
        if round % 2 == 0 {
            registry.use_one_more();
        }
        scene.wait(Duration::from_millis(700)).await;
        scene.bridges[round % 2].kill();
        scene.wait(Duration::from_millis(300)).await;
        registry.open();
        scene.bridges[round % 2].start().await;
        scene.breathe().await;
    }
    Ok(())
}
