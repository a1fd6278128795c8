//! Compressed streams of one view: they share what is compressed, whatever else each of them gets between, and each gets every record
//! once and at once.
//!
//! The kinds of trouble: who joins, or has something of its own, amid a stretch; who reads slowly, and comes back behind the others;
//! a view that loses all streams but one, and gets others; a resume; an end in order, and one amid a piece.

use std::time::{Duration, Instant};

use crate::beside_others;
use crate::support::Server;
use crate::way::{Ask, End, Reader, Way};

const TENANT: &str = "acme";

fn value(n: usize) -> String {
    format!(r#"{{"order":{n},"state":"shipped","customer":"customer-{}","lines":{}}}"#, n % 7, n % 3)
}

async fn open(way: Way, server: &Server, ask: &Ask) -> Reader {
    let mut reader = Reader::open(way, server.address, ask).await;
    reader.next_is("tailrace.synced").await;
    reader
}

async fn who_joins_and_who_has_something_of_its_own(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&["--heartbeat", "200ms"]).await;
    // Each with the number of the record that comes next.
    let mut readers = Vec::new();
    for query in ["from=latest", "from=latest&heartbeat=event", "from=latest"] {
        readers.push((open(way, &server, &Ask::of(TENANT).query(query)).await, 0));
    }
    let mut plain = open(way.beside(), &server, &Ask::of(TENANT)).await;
    for n in 0..=40 {
        server.append(TENANT, &value(n));
        for (reader, next) in &mut readers {
            let block = reader.next_record().await;
            assert_eq!((block.data, *next), (Some(value(n)), n), "at once");
            *next += 1;
        }
        assert_eq!(plain.next_record().await.data, Some(value(n)));
        match n {
            // One joins, a time passes in which heartbeats come, and one is cut.
            20 => readers.push((open(way, &server, &Ask::of(TENANT).query("from=latest")).await, n + 1)),
            40 => {
                let (reader, next) = readers.remove(0);
                reader.reset().await;
                server.append(TENANT, &value(n + 1));
                for (reader, next) in &mut readers {
                    assert_eq!(reader.next_record().await.data, Some(value(n + 1)));
                    *next += 1;
                }
                assert_eq!(plain.next_record().await.data, Some(value(n + 1)));
                assert_eq!(next, n + 1);
                return resumes(way, server, readers, n + 2).await;
            }
            30 => tokio::time::sleep(Duration::from_millis(500)).await,
            _ => {}
        }
    }
}

/// All go on, one of them with an id; then all are ended by the server.
async fn resumes(way: Way, mut server: Server, mut readers: Vec<(Reader, usize)>, from: usize) {
    let mut ids = Vec::new();
    for n in from..from + 50 {
        server.append(TENANT, &value(n));
        for (reader, next) in &mut readers {
            let block = reader.next_record().await;
            assert_eq!((block.data, *next), (Some(value(n)), n));
            *next += 1;
            ids.push((block.id.unwrap(), n + 1));
        }
        if n % 10 == 0 {
            let (id, next) = ids[ids.len() / 2].clone();
            let mut reader = Reader::open(way, server.address, &Ask::of(TENANT).last_event_id(&id)).await;
            for missed in next..=n {
                assert_eq!(reader.next_record().await.data, Some(value(missed)));
            }
            readers.push((reader, n + 1));
        }
    }
    server.stop();
    for (mut reader, _) in readers {
        reader.next_is("tailrace.drain").await;
        assert!(reader.next().await.is_none());
        assert_eq!(reader.end, Some(End::Clean));
    }
}

async fn who_reads_slowly(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let mut slow = open(way, &server, &Ask::of(TENANT).room(8 * 1024)).await;
    let mut quick = Vec::new();
    for _ in 0..2 {
        quick.push(open(way, &server, &Ask::of(TENANT)).await);
    }
    // Noise, which nothing makes small: the slow one is behind what the ring keeps.
    let value = |n: usize| {
        let mut state = n as u64 + 1;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            format!("{:016x}", state ^ (state >> 29))
        });
        format!("{n} {}", noise.take(200).collect::<String>())
    };
    for n in 0..1500 {
        server.append(TENANT, &value(n));
        for reader in &mut quick {
            assert_eq!(reader.next_record().await.data, Some(value(n)));
        }
    }
    for n in 0..1500 {
        assert_eq!(slow.next_record().await.data, Some(value(n)));
    }
    for n in 1500..1600 {
        server.append(TENANT, &value(n));
        for reader in quick.iter_mut().chain([&mut slow]) {
            assert_eq!(reader.next_record().await.data, Some(value(n)));
        }
    }
}

async fn what_is_shared_is_small(way: Way, part: usize) {
    const RECORDS: usize = 640;
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let mut two = [open(way, &server, &Ask::of(TENANT)).await, open(way, &server, &Ask::of(TENANT)).await];
    let mut alone = open(way, &server, &Ask::of("alone")).await;
    let before = (two[0].coded, alone.coded);
    let (begin, mut text) = (Instant::now(), 0);
    for n in (0..RECORDS).step_by(part) {
        for n in n..n + part {
            server.append(TENANT, &value(n));
            server.append("alone", &value(n));
        }
        for n in n..n + part {
            for reader in two.iter_mut().chain([&mut alone]) {
                let block = reader.next_record().await;
                assert_eq!(block.data, Some(value(n)));
                text += block.data.unwrap().len() + block.id.unwrap().len() + "data: \nid: \n\n".len();
            }
        }
    }
    let (shared, stored) = (two[0].coded - before.0, alone.coded - before.1);
    println!("{way:?}, {part} at a time: {shared} and {stored} of {} in {:?}", text / 3, begin.elapsed());
    assert!(shared * 2 < text / 3, "{shared} of {}", text / 3);
    // For one alone nothing is compressed, and little is added.
    assert!(stored >= text / 3 && stored < text / 3 + 16 * RECORDS * 256, "{stored} of {}", text / 3);
}

macro_rules! with_each_coding {
    ($name:ident, $proof:path $(, $more:expr)*) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_gzip() {
                $proof(Way::Gzip $(, $more)*).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_zstd_over_http_2() {
                $proof(Way::Zstd $(, $more)*).await;
            }
        }
    };
}

with_each_coding!(each_gets_every_record_once_and_at_once, who_joins_and_who_has_something_of_its_own);
with_each_coding!(who_was_slow_goes_on_with_the_others, who_reads_slowly);
with_each_coding!(bursts_become_small, what_is_shared_is_small, 20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_events_become_small() {
    // Over HTTP/2, no frame of DATA is that small.
    what_is_shared_is_small(Way::Gzip, 1).await;
}
