//! Runs one fault, from the setup of its stage to its row in the table.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::FutureExt as _;

use crate::judge::Verdict;
use crate::kafka::Kafka;
use crate::scene::{Scene, Stage};

/// Memory that a replica may use in addition to the budget of its logs: for the program itself, librdkafka's clients, and the
/// slack of the heap, in bytes.
pub const BASE: u64 = 64 << 20;

/// The actions of a fault: it returns after the last of them, while the load continues.
pub type Play = for<'a> fn(&'a mut Scene) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// One fault of the suite.
#[derive(Clone)]
pub struct Fault {
    pub name: &'static str,
    /// One sentence, for the table.
    pub what: &'static str,
    pub stage: Stage,
    pub play: Play,
    /// Whether the short form includes it.
    pub is_short: bool,
    /// The limit of the median recovery time, where there is one.
    pub recovery: Option<Duration>,
    /// Whether the replicas may not end any stream during the fault.
    pub keeps_streams: bool,
}

/// How much load there is, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The duration of one stretch of load; a fault has two or three.
    pub breath: Duration,
    /// Factor for the stage's clients and rate.
    pub load: u32,
}

/// The result of a trial.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub what: &'static str,
    pub seed: u64,
    pub verdict: Verdict,
    pub connections: u64,
    /// How many of the connections the replica ended.
    pub ended: u64,
    /// Recovery times of the clients, sorted.
    pub recovery: Vec<Duration>,
    /// The time until Kafka accepted records again, which is not part of the recovery.
    pub returned: Option<Duration>,
    pub most_resident: u64,
    /// The budget of the replica's logs; its memory may be this and [`BASE`].
    pub budget: u64,
    pub took: Duration,
    /// Why the trial failed; empty if it passed.
    pub problems: Vec<String>,
    /// Notes for readers of the row.
    pub notes: Vec<String>,
    pub logs: Vec<String>,
}

impl Row {
    pub fn is_passed(&self) -> bool {
        self.problems.is_empty()
    }

    /// The median of the clients' recovery times.
    pub fn median_recovery(&self) -> Option<Duration> {
        self.recovery.get(self.recovery.len() / 2).copied()
    }
}

/// Runs one fault. Returns its row, and the brokers for the next fault.
pub async fn play(fault: &Fault, kafka: Kafka, seed: u64, scale: Scale) -> (Row, Kafka) {
    let began = Instant::now();
    let mut stage = fault.stage.clone();
    stage.clients *= scale.load;
    stage.rate *= u64::from(scale.load);
    let budget = stage.cache_mib << 20;
    let mut scene = Scene::set(kafka, fault.name, stage, seed, scale.breath).await;
    let played = AssertUnwindSafe((fault.play)(&mut scene)).catch_unwind().await;
    let outcome = scene.finish().await;
    let mut row = Row {
        name: fault.name,
        what: fault.what,
        seed,
        verdict: outcome.verdict,
        connections: outcome.connections,
        ended: outcome.ended,
        recovery: outcome.recovery,
        returned: outcome.returned,
        most_resident: outcome.most_resident,
        budget,
        took: began.elapsed(),
        problems: outcome.problems,
        notes: outcome.notes,
        logs: outcome.logs,
    };
    match played {
        Ok(Ok(())) => {}
        Ok(Err(error)) => row.problems.push(format!("the fault could not be played: {error:#}")),
        Err(panic) => row.problems.push(format!("the fault could not be played: {}", words(&*panic))),
    }
    let found = problems(fault, &row);
    row.problems.extend(found);
    (row, outcome.kafka)
}

fn problems(fault: &Fault, row: &Row) -> Vec<String> {
    let mut found = Vec::new();
    if !row.verdict.is_clean() {
        found.push("clients did not get exactly what they should have".to_owned());
    }
    if row.verdict.deliveries == 0 {
        found.push("nothing was delivered".to_owned());
    }
    if row.most_resident > row.budget + BASE {
        let (most, allowed) = (row.most_resident >> 20, (row.budget + BASE) >> 20);
        found.push(format!("{most} MiB resident, {allowed} MiB allowed"));
    }
    if fault.keeps_streams && row.ended > 0 {
        found.push(format!("{} streams were ended", row.ended));
    }
    if let Some(limit) = fault.recovery {
        match row.median_recovery() {
            Some(median) if median <= limit => {}
            median => found.push(format!("recovered in {median:?} at the median, {limit:?} allowed")),
        }
    }
    found
}

/// The message of a panic.
fn words(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}
