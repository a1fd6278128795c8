//! A client that goes is noticed soon, whether its stream is idle, amid traffic, or blocked, and however it goes: its
//! place is given back, and its end is counted as its own. Half-closing is going (docs/protocol.md).

use std::time::{Duration, Instant};

use crate::slow::settled;
use crate::way::{Ask, Reader, Way};
use crate::{alone, eventually, on_every_way, on_every_way_of_http_1};

/// Far below the heartbeat: it is not a write that finds out.
const SOON: Duration = Duration::from_secs(3);
const BY_CLIENT: &str = "tailrace_streams_closed_total{reason=\"client\"}";

#[derive(Clone, Copy, Debug)]
enum While {
    Idle,
    Traffic,
    Blocked,
    /// It has said more than its request.
    Talked,
}

#[derive(Clone, Copy, Debug)]
enum By {
    Closing,
    Reset,
    HalfClosing,
}

async fn a_client_that_goes_is_noticed(way: Way) {
    let _alone = alone().await;
    for state in [While::Idle, While::Traffic, While::Blocked] {
        for by in [By::Closing, By::Reset, By::HalfClosing] {
            notices(way, state, by).await;
        }
    }
}

async fn notices(way: Way, state: While, by: By) {
    let mut server = way.server(&["--max-streams", "1", "--heartbeat", "1h"]).await;
    let mut reader = Reader::open(way, server.address, &Ask::of("acme").room(8 * 1024)).await;
    reader.next().await.unwrap();
    let (before, streams) = (server.metric(BY_CLIENT).await, server.metric("tailrace_streams ").await);
    match state {
        While::Idle => {}
        While::Traffic => (0..20).for_each(|n| server.append("acme", &n.to_string())),
        While::Blocked => {
            (0..40).for_each(|_| server.append("acme", &"x".repeat(50_000)));
            let sent = settled(&server).await;
            assert!(sent > 0);
        }
        While::Talked => {
            reader.send(&[b'x'; 10_000], SOON).await;
        }
    }
    assert_eq!(Reader::try_open(way.beside(), server.address, &Ask::of("acme")).await.err(), Some(429));
    let begin = Instant::now();
    let kept = match by {
        By::Closing => {
            reader.close().await;
            None
        }
        By::Reset => {
            reader.reset().await;
            None
        }
        By::HalfClosing => {
            reader.half_close();
            Some(reader)
        }
    };
    let address = server.address;
    eventually("the place is given back", async || {
        Reader::try_open(way.beside(), address, &Ask::of("acme")).await.is_ok()
    })
    .await;
    assert!(begin.elapsed() < SOON, "{way:?} {state:?} {by:?}: {:?}", begin.elapsed());
    // The one that found the place has gone as well by then.
    eventually("both are counted", async || {
        server.metric(BY_CLIENT).await == before + 2.0
            && server.metric("tailrace_streams ").await == streams - 1.0
    })
    .await;
    if let Some(mut reader) = kept {
        while reader.more(64 * 1024).await {
            reader.drop_text();
        }
    }
}

on_every_way!(a_client_that_goes_gives_its_place_back, a_client_that_goes_is_noticed);

async fn a_talker_that_goes_is_noticed(way: Way) {
    let _alone = alone().await;
    for by in [By::Closing, By::Reset, By::HalfClosing] {
        notices(way, While::Talked, by).await;
    }
}

on_every_way_of_http_1!(a_talker_that_goes_gives_its_place_back, a_talker_that_goes_is_noticed);
