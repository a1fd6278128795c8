//! Faults of replicas: killed, terminated, stopped, started with other settings.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::log::{more_partitions, one_more_topic};
use crate::clock::Clock;
use crate::eventually;
use crate::scene::{Scene, Stage};
use crate::sse::{IdBuffer, Source};
use crate::trial::Fault;

/// Bytes of a log that a replica reads into memory when it starts.
const WARM_TAIL: usize = 64 << 20;

const HOUR: i64 = 3_600;
/// Longer than any timeout in the program.
const LONGER: Duration = Duration::from_secs(6);

pub(super) fn faults() -> Vec<Fault> {
    let two = || Stage { replicas: 2, ..Stage::default() };
    vec![
        Fault::new("bridge-killed", "the bridge: SIGKILL, and started again", |scene| {
            Box::pin(killed(scene))
        })
        .recovers_within(Duration::from_secs(3)),
        Fault::new(
            "killed-more",
            "the bridge: SIGKILL; before it starts again 12 partitions become 24, and a topic appears",
            |scene| Box::pin(more_while_dead(scene)),
        )
        .on(Stage { pattern: true, ..Stage::default() })
        .recovers_within(Duration::from_secs(3)),
        Fault::new(
            "killed-recreated",
            "the bridge: SIGKILL; before it starts again the topic is created again, with 24 partitions",
            |scene| Box::pin(recreated_while_dead(scene)),
        )
        .recovers_within(Duration::from_secs(3)),
        Fault::new(
            "killed-topics",
            "the bridge: SIGKILL, SIGTERM, and started again with one topic more each time",
            |scene| Box::pin(other_topics(scene)),
        )
        .long()
        .recovers_within(Duration::from_secs(3)),
        Fault::new("bridge-terminated", "the bridge: SIGTERM, and started again", |scene| {
            Box::pin(terminated(scene))
        })
        .long(),
        Fault::new("bridge-paused", "one of two replicas: SIGSTOP for 8 s", |scene| {
            Box::pin(stopped(scene, 8))
        })
        .on(two()),
        Fault::new("bridge-stopped", "one of two replicas: SIGSTOP for 20 s", |scene| {
            Box::pin(stopped(scene, 20))
        })
        .on(two())
        .long(),
        Fault::new(
            "bridge-budgets",
            "the bridge: started again with 8 MiB, 128 MiB, and a warm-up of 0 s",
            |scene| Box::pin(other_budgets(scene)),
        )
        .long(),
        Fault::new(
            "replicas-upgraded",
            "two replicas: one after the other ended and started again",
            |scene| Box::pin(upgraded(scene)),
        )
        .on(two()),
        Fault::new("bridge-killed-warm", "the bridge: SIGKILL with a tail of 64 MiB to warm up", |scene| {
            Box::pin(killed_with_a_warm_tail(scene))
        })
        .long()
        .on(Stage { cache_mib: 192, ..Stage::default() })
        .recovers_within(Duration::from_secs(3)),
        Fault::new(
            "clock-moved",
            "the bridge's clock: an hour forward, two hours back, right again",
            |scene| Box::pin(clock_moved(scene)),
        )
        .long(),
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

async fn more_while_dead(scene: &mut Scene) -> Result<()> {
    scene.bridges[0].kill();
    more_partitions(scene).await;
    one_more_topic(scene, "new").await;
    scene.mark(false);
    scene.bridges[0].start().await;
    scene.breathe().await;
    Ok(())
}

async fn recreated_while_dead(scene: &mut Scene) -> Result<()> {
    scene.bridges[0].kill();
    scene.delete().await;
    scene.create_again(24, "recreated").await;
    scene.mark(false);
    scene.bridges[0].start().await;
    scene.breathe().await;
    Ok(())
}

/// The setting lists the topics by name.
async fn other_topics(scene: &mut Scene) -> Result<()> {
    for (name, is_killed) in [("second", true), ("third", false)] {
        match is_killed {
            true => scene.bridges[0].kill(),
            false => drop(scene.bridges[0].terminate().await),
        }
        let name = one_more_topic(scene, name).await;
        let topics = format!("{},{name}", scene.bridges[0].setting("TAILRACE_TOPICS"));
        scene.bridges[0].set("TAILRACE_TOPICS", &topics);
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

async fn stopped(scene: &mut Scene, seconds: u64) -> Result<()> {
    scene.bridges[0].signal(Signal::STOP);
    scene.wait(Duration::from_secs(seconds)).await;
    scene.bridges[0].signal(Signal::CONT);
    scene.breathe().await;
    Ok(())
}

/// The bridge is ended by SIGTERM and by SIGKILL in turn. Its memory is compared with the first budget all the time.
async fn other_budgets(scene: &mut Scene) -> Result<()> {
    scene.writer.set_scale(4);
    for (round, (cache, warmup)) in
        [("8MiB", "10m"), ("128MiB", "10m"), ("64MiB", "0s")].into_iter().enumerate()
    {
        if round == 1 {
            // Some clients return for records that only Kafka still has.
            scene.away().await;
            scene.breathe().await;
        }
        let bridge = &mut scene.bridges[0];
        match round % 2 {
            0 => drop(bridge.terminate().await),
            _ => bridge.kill(),
        }
        bridge.set("TAILRACE_CACHE_SIZE", cache);
        bridge.set("TAILRACE_CACHE_WARMUP", warmup);
        scene.mark(false);
        scene.bridges[0].start().await;
        scene.back();
        scene.breathe().await;
    }
    Ok(())
}

async fn upgraded(scene: &mut Scene) -> Result<()> {
    for _ in 0..2 {
        for replica in 0..scene.bridges.len() {
            let status = scene.bridges[replica].terminate().await;
            ensure!(status.success(), "a drained bridge exits with 0, not {status}");
            scene.bridges[replica].start().await;
            scene.breathe().await;
        }
    }
    Ok(())
}

/// The tail belongs to a tenant that no client reads: only the time to warm it up matters.
async fn killed_with_a_warm_tail(scene: &mut Scene) -> Result<()> {
    tokio::task::block_in_place(|| scene.write_ballast(WARM_TAIL));
    for _ in 0..2 {
        let warmed = |bytes: f64| bytes >= WARM_TAIL as f64;
        let bridge = &scene.bridges[0];
        eventually("the tail is in memory", Duration::from_secs(20), async || {
            warmed(bridge.metric("tailrace_log_memory_bytes").await).then_some(())
        })
        .await;
        scene.bridges[0].kill();
        scene.mark(false);
        scene.bridges[0].start().await;
        scene.breathe().await;
    }
    Ok(())
}

/// Moves the wall clock; the monotonic clock is not changed, as when an administrator sets the time.
async fn clock_moved(scene: &mut Scene) -> Result<()> {
    let clock = match Clock::new() {
        Ok(clock) => clock,
        Err(error) => {
            scene.note(format!("not played: no clock can be made here ({error:#})"));
            return Ok(());
        }
    };
    scene.bridges[0].terminate().await;
    clock.env().into_iter().for_each(|(name, value)| scene.bridges[0].set(name, &value));
    scene.bridges[0].start().await;
    clock.move_to(HOUR)?;
    scene.breathe().await;
    a_quarter_of_an_hour(scene, HOUR).await?;
    // Two hours back: a wait for a moment of this clock takes two hours longer.
    clock.move_to(-HOUR)?;
    scene.mark(true);
    scene.wait(LONGER + scene.breath).await;
    a_quarter_of_an_hour(scene, -HOUR).await?;
    clock.move_to(0)?;
    scene.breathe().await;
    // A bridge that starts with a wrong clock.
    clock.move_to(-HOUR)?;
    scene.bridges[0].kill();
    scene.bridges[0].start().await;
    scene.breathe().await;
    Ok(())
}

/// A client that requests the last 15 minutes: the start is computed with the server's wrong clock; then the stream continues.
async fn a_quarter_of_an_hour(scene: &mut Scene, moved: i64) -> Result<()> {
    let mut source = Source::new(0, "/t/tenant-1/events?from=-15m&heartbeat=1s", IdBuffer::Empty);
    let connected = source.connect(scene.bridges[0].port).await;
    let mut connection = connected.context("the bridge answers")?;
    let (events, is_open) =
        source.read_for(&mut connection, usize::MAX, scene.breath.max(Duration::from_secs(1))).await;
    let records = events.iter().filter(|event| event.name.is_empty()).count();
    let is_gap = events.iter().any(|event| event.name == "tailrace.gap");
    ensure!(is_open && records > 0 && !is_gap, "from=-15m with a clock off by {moved} s: {records} records");
    Ok(())
}
