//! Event ids that no server has written, or that belong to another client. None is an error, and none leads to a wrong
//! position.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::id::{Id, TopicPart};
use crate::ledger::tenant_name;
use crate::scene::Scene;
use crate::sse::{Connection, Event, IdBuffer, Source};

/// The number of clients that send requests at the same time.
const ASKERS: u64 = 12;
/// The timeout of a response: Kafka is asked for unknown positions one after another, in addition to the other clients' reads.
const PATIENCE: Duration = Duration::from_secs(30);
/// The last minute since 2024 that an id can hold, in 2055.
const LAST_MINUTE: u32 = (1 << 24) - 1;

/// Sends `count` requests with damaged ids.
pub(super) async fn damaged(scene: &mut Scene, count: usize) -> Result<()> {
    let port = scene.bridges[0].port;
    let good: Arc<[String]> = collect(port).await?.into();
    ensure!(good.len() > 10, "only {} ids to damage", good.len());
    let left = Arc::new(AtomicUsize::new(count));
    let mut askers = JoinSet::new();
    for number in 0..ASKERS {
        let (good, left, seed) = (good.clone(), left.clone(), scene.random.random::<u64>() ^ number);
        askers.spawn(async move { ask_with_damaged(port, &good, &left, seed).await });
    }
    while let Some(found) = askers.join_next().await {
        found?.into_iter().for_each(|problem| scene.problem(problem));
    }
    scene.breathe().await;
    Ok(())
}

/// Collects the ids of a stream.
async fn collect(port: u16) -> Result<Vec<String>> {
    let mut source = source(0, "from=earliest", "");
    let mut connection = connect(&source, port).await.context("nobody answers")?;
    let (mut ids, until) = (Vec::new(), Instant::now() + Duration::from_secs(2));
    while Instant::now() < until {
        let (events, _) = source.read_for(&mut connection, usize::MAX, Duration::from_millis(100)).await;
        ids.extend(events.into_iter().map(|event| event.id).filter(|id| !id.is_empty()));
    }
    ids.dedup();
    Ok(ids)
}

async fn ask_with_damaged(port: u16, good: &[String], left: &AtomicUsize, seed: u64) -> Vec<String> {
    let (mut random, mut found) = (StdRng::seed_from_u64(seed), Vec::new());
    let next = |left: usize| left.checked_sub(1);
    while found.is_empty() && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok() {
        let id = &good[random.random_range(0..good.len())];
        let damaged = damage(&mut random, id);
        if damaged == *id || damaged.trim().is_empty() {
            continue;
        }
        let answer = first_words(port, &damaged).await;
        let is_right = match &answer {
            Some((200, place, _)) if place == id => true,
            Some((200, _, event)) => event.name == "tailrace.gap" && event.data == r#"{"code":"unknown_id"}"#,
            _ => false,
        };
        if !is_right {
            found.push(format!("{damaged:?}, made of {id}, was answered by {answer:?}"));
        }
    }
    found
}

/// The status, the id of the priming block, and the first event.
async fn first_words(port: u16, id: &str) -> Option<(u16, String, Event)> {
    let mut source = source(0, "from=latest", id);
    let mut connection = connect(&source, port).await?;
    if connection.status != 200 {
        return Some((connection.status, connection.head, Event::default()));
    }
    source.last_event_id.clear();
    let (mut place, until) = (String::new(), Instant::now() + PATIENCE);
    let mut raw = connection.take_raw();
    while Instant::now() < until {
        // Byte by byte, so that the id of the priming block is known before the id of the event after it.
        for byte in raw {
            let event = connection.feed(&[byte], &mut source).pop();
            if place.is_empty() {
                place.clone_from(&source.last_event_id);
            }
            if let Some(event) = event {
                return Some((200, place, event));
            }
        }
        raw = vec![0; 2_048];
        let count = tokio::time::timeout(PATIENCE, connection.socket().read(&mut raw)).await.ok()?.ok()?;
        raw.truncate(count);
        if count == 0 {
            break;
        }
    }
    None
}

fn damage(random: &mut StdRng, id: &str) -> String {
    // Only characters that a header may contain; another fault tests the others, which HTTP itself rejects.
    let any = |random: &mut StdRng| char::from(random.random_range(0x20..0x7f_u8));
    let mut letters: Vec<char> = id.chars().collect();
    let at = random.random_range(0..letters.len());
    match random.random_range(0..20) {
        0 => letters.truncate(at),
        1 => letters.extend(id.chars()),
        2 => drop(letters.remove(at)),
        3 => letters.insert(at, any(random)),
        4 => letters.swap(at, (at * 7 + 3) % id.len()),
        5 => letters = (0..random.random_range(1..200)).map(|_| any(random)).collect(),
        // Valid characters in random order.
        6 => {
            let of_ids = |random: &mut StdRng| id.as_bytes()[random.random_range(0..id.len())].into();
            letters = (0..random.random_range(1..200)).map(|_| of_ids(random)).collect();
        }
        // The length stays the same, but the last characters change.
        7 => letters.iter_mut().rev().take(at % 8).for_each(|letter| *letter = any(random)),
        _ => letters[at] = any(random),
    }
    letters.into_iter().collect()
}

/// Where a stream begins, by topic and partition: the first record, or the next one that a gap names.
#[derive(Debug, Default)]
struct Begins {
    status: u16,
    records: BTreeMap<(String, u64), u64>,
    gaps: Vec<Value>,
    is_synced: bool,
}

/// Reads until the stream is live.
async fn begins(port: u16, query: &str, id: &str) -> Option<Begins> {
    let mut source = source(0, query, id);
    let mut connection = connect(&source, port).await?;
    let (mut begins, until) =
        (Begins { status: connection.status, ..Begins::default() }, Instant::now() + PATIENCE);
    while begins.status == 200 && !begins.is_synced && Instant::now() < until {
        let (events, is_open) = source.read_for(&mut connection, usize::MAX, Duration::from_millis(50)).await;
        for event in events.iter().filter(|_| !begins.is_synced).collect::<Vec<_>>() {
            let data: Value = serde_json::from_str(&event.data).ok()?;
            match event.name.as_str() {
                "tailrace.synced" => begins.is_synced = true,
                "tailrace.gap" => begins.gaps.push(data),
                "" => {
                    let place = (data["topic"].as_str()?.to_owned(), data["partition"].as_u64()?);
                    begins.records.entry(place).or_insert(data["offset"].as_u64()?);
                }
                _ => {}
            }
        }
        if !is_open {
            break;
        }
    }
    Some(begins)
}

/// Well-formed ids that differ from all ids that this client got.
pub(super) async fn elsewhere(scene: &mut Scene) -> Result<()> {
    let port = scene.bridges[0].port;
    let own = collect(port).await?.pop().context("no id")?;
    let id = Id::parse(&own).context("an id is as the documentation says")?;
    ensure!(id.text() == own, "an id has one form");
    let earliest = begins(port, "from=earliest", "").await.context("nobody answers")?;

    let mut strangers = id.clone();
    strangers.topics.iter_mut().for_each(|topic| topic.fingerprint[0] ^= 0x55);
    from_the_first(scene, port, &earliest, "of topics that nobody knows", &strangers).await;
    let none = Id { topics: Vec::new(), epochs: Vec::new(), ..id.clone() };
    from_the_first(scene, port, &earliest, "of no topic", &none).await;
    for index in 0..id.topics.len() {
        let one = Id { topics: vec![id.topics[index].clone()], ..id.clone() }.without_epochs();
        one_topic(scene, port, &earliest, &one).await;
    }
    let future = Id { minutes: LAST_MINUTE, ..id.clone() };
    unmoved(scene, port, "of the far future", &future).await;
    for far in [1_000_000, i64::MAX as u64 - 1] {
        beyond(scene, port, &id, far).await;
    }
    let mut impossible = id.clone();
    impossible.topics[0].offsets[0] = u64::MAX - 5;
    let answer = first_words(port, &impossible.text()).await;
    if answer.as_ref().is_none_or(|(_, _, event)| !event.data.contains("unknown_id")) {
        scene.problem(format!("an id with an offset that Kafka cannot have: {answer:?}"));
    }
    scene.breathe().await;
    Ok(())
}

/// An id without any of the existing topics: the server starts them two minutes before the time of the id, when they did not
/// exist yet, so all of their records are sent.
async fn from_the_first(scene: &Scene, port: u16, earliest: &Begins, what: &str, id: &Id) {
    let Some(begins) = begins(port, "from=latest", &id.text()).await else {
        return scene.problem(format!("nothing came for an id {what}"));
    };
    let is_right = begins.is_synced && begins.gaps.is_empty() && agree(&begins, earliest, |_| true);
    if !is_right {
        scene.problem(format!("an id {what}: {begins:?}, and from the first: {earliest:?}"));
    }
}

/// An id with one of the topics: that topic continues at its position, the other begins at its first record.
async fn one_topic(scene: &Scene, port: u16, earliest: &Begins, id: &Id) {
    let Some(begins) = begins(port, "from=latest", &id.text()).await else {
        return scene.problem("nothing came for an id of one topic");
    };
    let part = &id.topics[0];
    let has_other = |place: &(String, u64)| is_calm(&place.0) != (part.offsets.len() == 2);
    let is_right = begins.is_synced && begins.gaps.is_empty() && agree(&begins, earliest, has_other);
    if !is_right {
        scene.problem(format!("an id of one topic, {id:?}: {begins:?}, and from the first: {earliest:?}"));
    }
}

/// Whether this is the topic that no fault affects; it has two partitions.
fn is_calm(topic: &str) -> bool {
    topic.ends_with("-calm")
}

fn agree(begins: &Begins, earliest: &Begins, concerns: impl Fn(&(String, u64)) -> bool) -> bool {
    let places: Vec<_> = earliest.records.iter().filter(|(place, _)| concerns(place)).collect();
    !places.is_empty() && places.into_iter().all(|(place, first)| begins.records.get(place) == Some(first))
}

/// An id that differs only in parts that are not positions.
async fn unmoved(scene: &Scene, port: u16, what: &str, id: &Id) {
    let Some(begins) = begins(port, "from=earliest", &id.text()).await else {
        return scene.problem(format!("nothing came for an id {what}"));
    };
    let offset = |place: &(String, u64)| {
        let of_size = |topic: &&TopicPart| (topic.offsets.len() == 2) == is_calm(&place.0);
        id.topics.iter().find(of_size).and_then(|topic| topic.offsets.get(place.1 as usize).copied())
    };
    let is_before =
        |(place, first): (&(String, u64), &u64)| offset(place).is_some_and(|next| *first + 1 < next);
    if !begins.is_synced || !begins.gaps.is_empty() || begins.records.iter().any(is_before) {
        scene.problem(format!("an id {what}, {id:?}: {begins:?}"));
    }
}

/// Positions beyond the end of every log: a gap is announced for each partition, and all new records are sent.
async fn beyond(scene: &Scene, port: u16, id: &Id, far: u64) {
    let mut id = id.clone();
    let offsets = id.topics.iter_mut().flat_map(|topic| &mut topic.offsets);
    offsets.for_each(|offset| *offset = offset.saturating_add(far).min(i64::MAX as u64 - 1));
    let partitions: usize = id.topics.iter().map(|topic| topic.offsets.len()).sum();
    let Some(begins) = begins(port, "from=latest", &id.text()).await else {
        return scene.problem(format!("nothing came for positions {far} past the end"));
    };
    let is_cut =
        |gap: &Value| gap["code"] == "truncated" && gap["next"].as_u64().is_some_and(|next| next < 1_000_000);
    if !begins.is_synced || begins.gaps.len() != partitions || !begins.gaps.iter().all(is_cut) {
        scene.problem(format!("positions {far} past the end: {begins:?}"));
    }
}

fn source(tenant: u32, query: &str, id: &str) -> Source {
    let path = format!("/t/{}/events?envelope=record&heartbeat=1s&{query}", tenant_name(tenant));
    let mut source = Source::new(0, &path, IdBuffer::Empty);
    source.last_event_id.push_str(id);
    source
}

async fn connect(source: &Source, port: u16) -> Option<Connection> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    // Otherwise a hundred thousand ports would stay in TIME_WAIT.
    socket.set_zero_linger().ok()?;
    tokio::time::timeout(PATIENCE, source.connect_over(socket)).await.ok()?
}
