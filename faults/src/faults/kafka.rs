//! What happens to the only broker, and to the way to it.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::BROKER_RECOVERY;
use crate::proxy::Weather;
use crate::scene::{Scene, Stage};
use crate::trial::Fault;

/// A connection that is dead without a word is given up after fifteen seconds without an answer.
const SILENCE: Duration = Duration::from_secs(18);

pub(super) fn faults() -> Vec<Fault> {
    let proxied = || Stage { is_proxied: true, ..Stage::default() };
    vec![
        Fault::new("broker-killed", "the only broker: SIGKILL, and started again", |scene| {
            Box::pin(killed(scene, 2))
        })
        .keeps_streams()
        .recovers_within(BROKER_RECOVERY),
        Fault::new("broker-gone", "the only broker: SIGKILL, and started again after 20 s", |scene| {
            Box::pin(killed(scene, 20))
        })
        .long()
        .keeps_streams()
        .recovers_within(BROKER_RECOVERY),
        Fault::new("broker-paused", "the only broker: SIGSTOP for 6 s", |scene| Box::pin(stopped(scene, 6)))
            .long()
            .keeps_streams()
            .recovers_within(BROKER_RECOVERY),
        Fault::new("broker-stopped", "the only broker: SIGSTOP for 30 s", |scene| {
            Box::pin(stopped(scene, 30))
        })
        .long()
        .keeps_streams()
        .recovers_within(BROKER_RECOVERY),
        Fault::new("way-slow", "the way to Kafka: 100 ms longer, and 100 kB/s at the most", |scene| {
            Box::pin(slow_way(scene))
        })
        .long()
        .on(proxied())
        .keeps_streams(),
        Fault::new("way-lossy", "the way to Kafka: 3 % of all pieces are lost, and come late", |scene| {
            Box::pin(lossy_way(scene))
        })
        .long()
        .on(proxied())
        .keeps_streams(),
        Fault::new("way-reset", "connections to Kafka are reset in the middle of answers", |scene| {
            Box::pin(resets(scene))
        })
        .on(proxied())
        .keeps_streams()
        .recovers_within(BROKER_RECOVERY),
        Fault::new("way-half-open", "connections to Kafka pass nothing on, and nobody is told", |scene| {
            Box::pin(half_open(scene))
        })
        .on(proxied())
        .long()
        .keeps_streams()
        .recovers_within(SILENCE),
    ]
}

async fn killed(scene: &mut Scene, seconds: u64) -> Result<()> {
    scene.kafka.broker(0).kill();
    scene.wait(Duration::from_secs(seconds)).await;
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
    ensure!(count > 0, "no connection was reset");
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
