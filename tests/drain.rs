//! SIGTERM under 200 streams: each gets `tailrace.drain` and a clean end, readiness is red at once, and the exit is 0; and with Kafka
//! away, in time.

mod support;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::bridge::{Bridge, get};
use support::kafka::Kafka;
use support::sse::{IdBuffer, Source};

const STREAMS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_every_stream_cleanly_and_exits_with_0() {
    let kafka = Kafka::start().await;
    kafka.create_topic("orders", 4, &[]).await;
    let env = [("TAILRACE_DRAIN_DELAY", "1s"), ("TAILRACE_DRAIN_TIMEOUT", "10s")];
    let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "drain", &env);
    bridge.start().await;
    let readers: Vec<_> = (0..STREAMS)
        .map(|_| {
            let port = bridge.port;
            tokio::spawn(async move {
                let mut source = Source::new(port, "/t/acme/events", IdBuffer::Empty);
                let mut connection = source.connect(port).await.expect("the bridge answers");
                assert_eq!(connection.status, 200);
                let mut all = Vec::new();
                let until = Instant::now() + Duration::from_secs(40);
                while Instant::now() < until {
                    let (events, open) =
                        source.read(&mut connection, usize::MAX, Duration::from_millis(200)).await;
                    all.extend(events);
                    if !open {
                        assert!(connection.ended_cleanly, "the stream was cut: {all:?}");
                        return (all, source.last_event_id);
                    }
                }
                panic!("the stream did not end");
            })
        })
        .collect();
    support::eventually("all streams are open", Duration::from_secs(10), async || {
        (bridge.metric("tailrace_streams").await as usize == STREAMS).then_some(())
    })
    .await;
    let started = Instant::now();
    bridge.signal(Signal::TERM);
    // From the first moment: the signal has to arrive, which takes the process a turn, not more.
    tokio::time::sleep(Duration::from_millis(5)).await;
    for _ in 0..10 {
        let (status, body) = get(bridge.admin, "/readyz").await.expect("the admin address answers");
        assert_eq!(status, 503, "{:?} after the signal: {body}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let exit = bridge.exited().await;
    assert!(exit.success(), "{exit}\n{}", bridge.log());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    for reader in readers {
        let (events, id) = reader.await.expect("a reader does not panic");
        let last = events.last().expect("a drain says so");
        assert_eq!(last.name, "tailrace.drain", "{events:?}");
        assert!(!id.is_empty());
    }
}

/// With no stream left there is nothing to wait for but Kafka, and that has two seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_comes_in_time_whatever_kafka_does() {
    let mut kafka = Kafka::start().await;
    kafka.create_topic("orders", 2, &[]).await;
    for what in ["is gone", "stands still", "was wiped"] {
        let mut bridge = Bridge::new(&kafka.bootstrap(), "orders", "late", &[]);
        bridge.start().await;
        match what {
            "is gone" => kafka.broker(0).kill(),
            "stands still" => kafka.broker(0).signal(Signal::STOP),
            _ => kafka.wipe(true).await,
        }
        // Long enough for a request to be under way.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let started = Instant::now();
        let exit = bridge.terminate().await;
        let took = started.elapsed();
        assert!(exit.success() && took < Duration::from_secs(4), "Kafka {what}: {exit} after {took:?}");
        match what {
            "is gone" => kafka.broker(0).spawn(),
            "stands still" => kafka.broker(0).signal(Signal::CONT),
            _ => {}
        }
        kafka.broker(0).answers().await;
    }
}
