//! Faults of the only broker, and of the network to it.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::BROKER_RECOVERY;
use crate::bridge::{Bridge, get};
use crate::eventually;
use crate::proxy::{FETCH, GROUPS, Weather};
use crate::scene::{Scene, Stage};
use crate::trial::Fault;

/// The limit from the moment when Kafka can serve a topic again to its first record.
const RECREATED: Duration = Duration::from_secs(5);
/// A client that has lost all brokers is detected by a request without an answer for three seconds; then it is replaced.
const LOST: Duration = Duration::from_secs(8);
/// The time of a delivery on a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A half-open connection is given up after fifteen seconds without an answer.
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
        Fault::new(
            "fetches-mute",
            "one of two replicas gets answers to everything but fetches, for 45 s: its readiness turns red, the other's does not",
            |scene| Box::pin(fetches_mute(scene)),
        )
        .on(Stage { is_proxied: true, replicas: 2, ..Stage::default() })
        .long()
        .recovers_within(SILENCE),
        Fault::new(
            "recreated-unseen",
            "the only broker starts again, and the topic is another when the bridge comes to it",
            |scene| Box::pin(recreated_unseen(scene)),
        )
        .on(proxied())
        .keeps_streams()
        .recovers_within(RECREATED),
        Fault::new(
            "cluster-wiped",
            "the only broker: all its data gone, twice, and set up again as the same cluster and as another",
            |scene| Box::pin(wiped(scene)),
        )
        .keeps_streams()
        .recovers_within(RECREATED),
        Fault::new(
            "brokers-hidden",
            "for 3 s answers about the cluster name no broker, as after a standstill of the only one",
            |scene| Box::pin(hidden(scene)),
        )
        .on(proxied())
        .keeps_streams()
        .recovers_within(LOST),
        Fault::new("groups-mute", "nothing that concerns consumer groups is answered for 60 s", |scene| {
            Box::pin(groups_mute(scene))
        })
        .on(proxied())
        .long()
        .keeps_streams()
        .recovers_within(AT_ONCE),
        Fault::new(
            "topic-forbidden",
            "the right to read a topic: taken for 10 s, and given back",
            |scene| Box::pin(forbidden(scene)),
        )
        .on(Stage { is_secured: true, ..Stage::default() })
        .keeps_streams()
        .recovers_within(RECREATED),
    ]
}

/// The topic is created again while the proxy refuses connections: the bridge sees a broker that returns, with another topic
/// id.
async fn recreated_unseen(scene: &mut Scene) -> Result<()> {
    scene.kafka.broker(0).proxy().set(Weather { is_shut: true, ..Weather::default() });
    scene.kafka.broker(0).kill();
    scene.kafka.broker(0).spawn();
    scene.kafka.broker(0).answers().await;
    scene.recreate(Duration::ZERO).await;
    scene.kafka.broker(0).proxy().set(Weather::default());
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
    scene.kafka.broker(0).answers().await;
    scene.breathe().await;
    for as_another in [false, true] {
        scene.wipe(as_another).await;
        scene.mark(true);
        scene.breathe().await;
        scene.breathe().await;
    }
    Ok(())
}

/// A client that uses such a response drops the only broker that it knows (librdkafka's issue 5301), and must be replaced.
/// Clients request metadata soon after a connection was reset.
async fn hidden(scene: &mut Scene) -> Result<()> {
    scene.kafka.broker(0).proxy().set(Weather {
        hides_brokers: true,
        reset_within: Some(2_000),
        ..Weather::default()
    });
    scene.wait(Duration::from_secs(3)).await;
    scene.kafka.broker(0).proxy().set(Weather::default());
    scene.mark(true);
    for _ in 0..3 {
        scene.breathe().await;
    }
    Ok(())
}

async fn groups_mute(scene: &mut Scene) -> Result<()> {
    scene.kafka.broker(0).proxy().set(Weather { mutes: GROUPS, ..Weather::default() });
    scene.mark(true);
    let longest = scene.longest_silence(Duration::from_secs(60)).await;
    scene.kafka.broker(0).proxy().set(Weather::default());
    ensure!(longest < AT_ONCE, "nothing was delivered for {longest:?}");
    scene.breathe().await;
    Ok(())
}

/// The other topic continues meanwhile, and no record of this one is lost.
async fn forbidden(scene: &mut Scene) -> Result<()> {
    let topic = scene.topic.clone();
    let read = ["--topic", &*topic];
    tokio::task::block_in_place(|| scene.kafka.disallow(&["Read"], &read));
    let longest = scene.longest_silence(Duration::from_secs(10)).await;
    ensure!(longest < AT_ONCE * 2, "nothing of the other topic was delivered for {longest:?}");
    tokio::task::block_in_place(|| scene.kafka.allow(&["Read"], &read));
    scene.mark(true);
    scene.breathe().await;
    scene.breathe().await;
    Ok(())
}

/// The other replica connects without the proxy, and its group shows that it reads.
async fn fetches_mute(scene: &mut Scene) -> Result<()> {
    let bootstrap = scene.kafka.bootstrap();
    scene.bridges[1].terminate().await;
    scene.bridges[1].set("TAILRACE_KAFKA_BOOTSTRAP_SERVERS", &bootstrap);
    scene.bridges[1].start().await;
    let weather = Weather { mutes: FETCH, ..Weather::default() };
    scene.kafka.broker(0).proxy().set(weather);
    let status = async |replica: &Bridge| get(replica.admin, "/readyz").await.map(|(status, _)| status);
    eventually("the replica that cannot read is not ready", Duration::from_secs(60), async || {
        (status(&scene.bridges[0]).await? == 503).then_some(())
    })
    .await;
    ensure!(status(&scene.bridges[1]).await == Some(200), "the other replica is not ready either");
    scene.kafka.broker(0).proxy().set(Weather::default());
    scene.mark(true);
    scene.wait(SILENCE).await;
    eventually("it is ready again", Duration::from_secs(20), async || {
        (status(&scene.bridges[0]).await? == 200).then_some(())
    })
    .await;
    scene.breathe().await;
    Ok(())
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

/// Runs the load with this network for a while, and then with an undisturbed one.
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

/// This can be detected only by missing answers.
async fn half_open(scene: &mut Scene) -> Result<()> {
    scene.kafka.broker(0).proxy().half_open();
    scene.mark(true);
    scene.breathe().await;
    scene.breathe().await;
    Ok(())
}
