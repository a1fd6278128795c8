//! What happens to replicas: killed, ended, stopped, started with other settings.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::scene::{Scene, Stage};
use crate::trial::Fault;

pub(super) fn faults() -> Vec<Fault> {
    let two = || Stage { replicas: 2, ..Stage::default() };
    vec![
        Fault::new("bridge-killed", "the bridge: SIGKILL, and started again", |scene| {
            Box::pin(killed(scene))
        })
        .recovers_within(Duration::from_secs(3)),
        Fault::new("bridge-terminated", "the bridge: SIGTERM, and started again", |scene| {
            Box::pin(terminated(scene))
        }),
        Fault::new("bridge-stopped", "one of two replicas: SIGSTOP for 20 s", |scene| {
            Box::pin(stopped(scene))
        })
        .on(two()),
    ]
}

async fn killed(scene: &mut Scene) -> Result<()> {
    for _ in 0..2 {
        scene.bridges[0].kill();
        scene.mark(false);
        scene.bridges[0].start().await;
        scene.breathe().await;
    }
    Ok(())
}

async fn terminated(scene: &mut Scene) -> Result<()> {
    for _ in 0..2 {
        let status = scene.bridges[0].terminate().await;
        ensure!(status.success(), "a drained bridge exits with 0, not {status}");
        scene.mark(false);
        scene.bridges[0].start().await;
        scene.breathe().await;
    }
    Ok(())
}

async fn stopped(scene: &mut Scene) -> Result<()> {
    scene.bridges[0].signal(Signal::STOP);
    scene.wait(Duration::from_secs(20)).await;
    scene.bridges[0].signal(Signal::CONT);
    scene.breathe().await;
    Ok(())
}
