//! Faults of resources: memory, descriptors, the broker's disk, a processor.

mod disk;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bridge::get;
use crate::eventually;
use crate::process::{burn, cpu_seconds, descriptors, limit_descriptors, pin};
use crate::scene::{Scene, Stage};
use crate::trial::Fault;

/// Factor for the size of values where megabytes must be sent: 4 KiB on average.
const LARGE: u32 = 32;
/// Connections that use up descriptors.
const TAKERS: usize = 200;
/// The limit of descriptors where there are few from the start.
const FEW: u64 = 160;
/// Far more time than reconnecting to a reachable broker takes.
const KAFKA_REACHED: Duration = Duration::from_secs(20);
const NEW_STREAM: Duration = Duration::from_secs(2);

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "memory-8MiB",
            "a budget of 8 MiB, and much more traffic while clients are away",
            |scene| Box::pin(little_memory(scene)),
        )
        .on(Stage { cache_mib: 8, ..Stage::default() })
        .long(),
        Fault::new("descriptors-used-up", "no descriptor is left for a while", |scene| {
            Box::pin(descriptors_used_up(scene))
        })
        .long()
        .keeps_streams()
        .recovers_within(Duration::from_secs(2)),
        Fault::new(
            "descriptors-few",
            "all places for clients are taken, and the broker is killed",
            |scene| Box::pin(few_descriptors(scene)),
        )
        .long(),
        Fault::new("disk-full", "the broker's disk is full, and has room again", |scene| {
            Box::pin(disk::full(scene))
        })
        .long(),
        Fault::new("processor-shared", "the bridge shares one processor with two busy loops", |scene| {
            Box::pin(shared_processor(scene))
        })
        .long()
        .keeps_streams()
        .recovers_within(Duration::from_secs(2)),
    ]
}

/// Some tens of megabytes: the records that clients missed are not in memory any more when they reconnect.
async fn little_memory(scene: &mut Scene) -> Result<()> {
    scene.writer.set_scale(LARGE);
    for _ in 0..2 {
        scene.away().await;
        scene.breathe().await;
        scene.breathe().await;
        scene.back();
        scene.breathe().await;
    }
    scene.writer.set_scale(1);
    Ok(())
}

async fn descriptors_used_up(scene: &mut Scene) -> Result<()> {
    let (pid, port) = (scene.bridges[0].pid(), scene.bridges[0].port);
    let calm = used_while(scene, pid).await?;
    let before = limit_descriptors(pid, Some(descriptors(pid) as u64 + 8));
    let takers = take(port, TAKERS).await;
    let delivered = scene.delivered();
    let busy = used_while(scene, pid).await?;
    if busy > 2.0 * calm + 0.2 {
        scene.problem(format!("{busy:.2} processors without descriptors, {calm:.2} with them"));
    }
    if scene.delivered() == delivered {
        scene.problem("streams that were open did not go on");
    }
    drop(takers);
    limit_descriptors(pid, before);
    scene.mark(false);
    new_stream(port).await.context("once descriptors are back")?;
    scene.breathe().await;
    scene.note(format!("{calm:.2} processors before, {busy:.2} without descriptors"));
    Ok(())
}

/// With all places for clients taken, the program can still connect to Kafka and answer health checks.
async fn few_descriptors(scene: &mut Scene) -> Result<()> {
    scene.bridges[0].terminate().await;
    scene.bridges[0].set_descriptors(Some(FEW));
    scene.bridges[0].start().await;
    scene.breathe().await;
    let takers = take(scene.bridges[0].port, TAKERS).await;
    scene.wait(Duration::from_secs(1)).await;
    let health = get(scene.bridges[0].admin, "/healthz").await;
    if health.is_none_or(|(status, _)| status != 200) {
        scene.problem("clients took the descriptors of the health check");
    }
    scene.kafka.broker(0).kill();
    scene.kafka.broker(0).spawn();
    scene.kafka.broker(0).answers().await;
    let (delivered, back) = (scene.delivered(), Instant::now());
    while scene.delivered() == delivered && back.elapsed() < KAFKA_REACHED {
        scene.wait(Duration::from_millis(50)).await;
    }
    if scene.delivered() == delivered {
        scene.problem("clients took the descriptors that Kafka is reached by");
    }
    scene.note(format!(
        "the broker was reached again {:.1} s after it answered",
        back.elapsed().as_secs_f64()
    ));
    drop(takers);
    new_stream(scene.bridges[0].port).await.context("once places are free")?;
    scene.breathe().await;
    Ok(())
}

/// The number of processors that a process uses while the load continues.
async fn used_while(scene: &mut Scene, pid: u32) -> Result<f64> {
    let (before, began) = (cpu_seconds(pid).context("the bridge runs")?, Instant::now());
    scene.breathe().await;
    Ok((cpu_seconds(pid).context("the bridge runs")? - before) / began.elapsed().as_secs_f64())
}

/// Connections that request a stream and stay open, whether they get a response or not.
async fn take(port: u16, count: usize) -> Vec<TcpStream> {
    let mut taken = Vec::new();
    for _ in 0..count {
        if let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)).await {
            let _ = socket.write_all(b"GET /t/nobody/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            taken.push(socket);
        }
    }
    taken
}

/// Checks that a new stream is accepted.
async fn new_stream(port: u16) -> Result<()> {
    let began = Instant::now();
    let opened = eventually("a new stream begins", Duration::from_secs(20), async || {
        let mut taken = take(port, 1).await;
        let mut head = [0; 12];
        let read = tokio::time::timeout(NEW_STREAM, taken.first_mut()?.read_exact(&mut head)).await;
        (read.ok()?.is_ok() && head.ends_with(b"200")).then(|| began.elapsed())
    })
    .await;
    ensure!(opened < NEW_STREAM, "a new stream took {opened:?}");
    Ok(())
}

async fn shared_processor(scene: &mut Scene) -> Result<()> {
    let processors = std::thread::available_parallelism()?.get();
    let pid = scene.bridges[0].pid();
    pin(pid, &[0]);
    let burning = burn(0, 2);
    scene.breathe().await;
    scene.mark(true);
    scene.breathe().await;
    drop(burning);
    pin(pid, &(0..processors).collect::<Vec<_>>());
    scene.breathe().await;
    Ok(())
}
