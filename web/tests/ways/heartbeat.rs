//! Heartbeats: at their time in silence, not amid traffic, with the id where the position has moved, and as events for
//! scripts, amid traffic too.

use std::time::{Duration, Instant};

use crate::support::Server;
use crate::way::{Ask, Reader, Way};
use crate::{beside_others, on_every_way};

const BEAT: Duration = Duration::from_millis(400);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

async fn open(way: Way, server: &Server, ask: &Ask) -> Reader {
    let mut reader = Reader::open(way, server.address, ask).await;
    assert!(reader.next().await.unwrap().id.is_some());
    reader.next_is("tailrace.synced").await;
    reader
}

async fn silence_is_broken_at_its_time(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&["--heartbeat", "400ms"]).await;
    let begin = Instant::now();
    let mut reader = open(way, &server, &Ask::of("acme").query("from=latest")).await;
    for beat in 1..=3 {
        let block = reader.next().await.unwrap();
        assert_eq!((block.comments, &block.id, &block.event, &block.data), (1, &None, &None, &None));
        assert!(begin.elapsed() >= BEAT * beat, "beat {beat} after {:?}", begin.elapsed());
    }
    assert!(begin.elapsed() < BEAT * 3 + SLACK, "{:?}", begin.elapsed());
    // The position moves past what is not for this stream: said once, at a heartbeat's time.
    server.append("other", "not yours");
    let moved = loop {
        let block = reader.next().await.unwrap();
        assert_eq!((&block.event, &block.data), (&None, &None));
        if let Some(id) = block.id {
            break id;
        }
    };
    assert_eq!(reader.next().await.unwrap().comments, 1);
    server.append("acme", "yours");
    let mut again = Reader::open(way, server.address, &Ask::of("acme").last_event_id(&moved)).await;
    assert_eq!(again.next_record().await.data.as_deref(), Some("yours"));
}

async fn traffic_needs_no_heartbeat_but_scripts_get_theirs(way: Way) {
    const PAUSE: Duration = Duration::from_millis(20);
    let _beside = beside_others().await;
    let mut server = way.server(&["--heartbeat", "400ms"]).await;
    let opened = Instant::now();
    let mut plain = open(way, &server, &Ask::of("acme")).await;
    let mut script = open(way, &server, &Ask::of("acme").query("heartbeat=event")).await;
    let begin = Instant::now();
    let (mut sent, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
    while begin.elapsed() < BEAT * 4 {
        server.append("acme", &sent.to_string());
        sent += 1;
        longest = longest.max(last.elapsed());
        last = Instant::now();
        tokio::time::sleep(PAUSE).await;
    }
    server.append("acme", "end");
    let (mut comments, mut beats) = (0, 0);
    loop {
        let block = plain.next().await.unwrap();
        comments += block.comments;
        if block.data.as_deref() == Some("end") {
            break;
        }
    }
    loop {
        let block = script.next().await.unwrap();
        if block.is("tailrace.heartbeat") {
            assert!(block.json()["time"].is_u64());
            beats += 1;
        }
        if block.data.as_deref() == Some("end") {
            break;
        }
    }
    // On a machine that stood still there was a silence.
    assert!(
        comments == 0 || longest > BEAT / 2,
        "{comments} comments amid traffic; longest pause {longest:?}"
    );
    let most = 1 + (opened.elapsed().as_millis() / BEAT.as_millis()) as usize;
    assert!((2..=most).contains(&beats), "{beats} heartbeats for a script in {:?}", opened.elapsed());
}

on_every_way!(a_heartbeat_breaks_silence_at_its_time, silence_is_broken_at_its_time);
on_every_way!(
    a_heartbeat_comes_amid_traffic_for_scripts_alone,
    traffic_needs_no_heartbeat_but_scripts_get_theirs
);
