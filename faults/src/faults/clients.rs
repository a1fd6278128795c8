//! Faults of clients: hundreds of them, slow reading or none, half-closed connections, garbage, damaged ids.

mod garbage;
mod ids;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::Rng;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::client::Habit;
use crate::eventually;
use crate::ledger::tenant_name;
use crate::scene::{Scene, Stage};
use crate::trial::Fault;
use crate::writer::TENANTS;

/// Factor for the size of values where megabytes must be sent: 8 KiB on average.
const LARGE: u32 = 64;
/// Connections that never read.
const MUTE: usize = 300;

pub(super) fn faults() -> Vec<Fault> {
    let many = |clients| Stage { clients, rate: 200, habits: vec![Habit::Cut], ..Stage::default() };
    let habits = |habits: &[Habit]| Stage { habits: habits.to_vec(), ..Stage::default() };
    vec![
        Fault::new("clients-200", "200 clients that reconnect at random bytes", |scene| Box::pin(run(scene)))
            .long()
            .on(many(200)),
        Fault::new("clients-1000", "1,000 clients that reconnect at random bytes", |scene| {
            Box::pin(run(scene))
        })
        .on(many(1_000))
        .long(),
        Fault::new("readers-slow", "readers at 100 B/s while megabytes pass, beside others", |scene| {
            Box::pin(slow_readers(scene))
        })
        .on(habits(&[Habit::Cut, Habit::Slow(100), Habit::Steady]))
        .recovers_within(Duration::from_secs(2)),
        Fault::new(
            "readers-mute",
            "300 clients that never read while megabytes pass, beside others",
            |scene| Box::pin(mute_readers(scene)),
        )
        .long()
        .recovers_within(Duration::from_secs(2)),
        Fault::new("clients-half-closed", "clients that close their half of the connection", |scene| {
            Box::pin(run(scene))
        })
        .long()
        .on(habits(&[Habit::HalfClosed, Habit::Cut])),
        Fault::new("requests-garbage", "requests of garbage, too large, or with more behind them", |scene| {
            Box::pin(garbage::thrown(scene))
        })
        .long(),
        Fault::new("requests-unfinished", "100 requests that never end", |scene| {
            Box::pin(garbage::unfinished(scene))
        })
        .long(),
        Fault::new("ids-damaged", "2,000 ids with a damaged byte, cut, doubled, made up", |scene| {
            Box::pin(ids::damaged(scene, 2_000))
        })
        .long(),
        Fault::new(
            "ids-damaged-million",
            "a million ids with a damaged byte, cut, doubled, made up",
            |scene| Box::pin(ids::damaged(scene, 1_000_000)),
        )
        .long(),
        Fault::new(
            "ids-elsewhere",
            "ids of other topics, of offsets that are not there, of the far future",
            |scene| Box::pin(ids::elsewhere(scene)),
        )
        .long(),
    ]
}

/// The clients' habits are the fault; nothing else is done.
async fn run(scene: &mut Scene) -> Result<()> {
    scene.breathe().await;
    scene.breathe().await;
    Ok(())
}

async fn slow_readers(scene: &mut Scene) -> Result<()> {
    scene.writer.set_scale(LARGE);
    scene.breathe().await;
    scene.breathe().await;
    // By now the slow clients are megabytes behind; the others get new records at once.
    scene.mark(true);
    scene.breathe().await;
    scene.breathe().await;
    Ok(())
}

async fn mute_readers(scene: &mut Scene) -> Result<()> {
    let before = scene.bridges[0].metric("tailrace_streams").await;
    scene.writer.set_scale(LARGE);
    scene.breathe().await;
    let mut mute = Vec::new();
    for number in 0..MUTE {
        let from = if number % 2 == 0 { "earliest" } else { "latest" };
        let tenant = tenant_name(scene.random.random_range(0..TENANTS));
        let request = format!("GET /t/{tenant}/events?from={from} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        mute.push(ask(scene.bridges[0].port, request.as_bytes()).await.context("connect")?);
    }
    scene.breathe().await;
    scene.mark(true);
    scene.breathe().await;
    scene.breathe().await;
    drop(mute);
    let bridge = &scene.bridges[0];
    let clients = f64::from(scene.stage.clients).max(before);
    eventually("streams of clients that have gone end", Duration::from_secs(5), async || {
        (bridge.metric("tailrace_streams").await <= clients).then_some(())
    })
    .await;
    ensure!(scene.bridges[0].is_running(), "the bridge runs");
    Ok(())
}

/// A connection with a small receive buffer, over which a request was sent.
async fn ask(port: u16, request: &[u8]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(4_096).ok()?;
    let mut socket = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.ok()?;
    socket.write_all(request).await.ok()?;
    Some(socket)
}
