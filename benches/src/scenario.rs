//! The trait of all scenarios, and what they share.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::figures::Report;
use crate::kafka::Kafka;
use crate::producer::Topic;
use crate::server::{Server, Setting};

/// One question, and how it is measured. Each scenario has its own file in `scenarios/` and is in the list there.
pub(crate) trait Scenario {
    /// The name on the command line and in the marks of its region in docs/benchmarks.md: lower-case words with hyphens.
    fn name(&self) -> &'static str;

    /// The heading of its region, if the page has none yet.
    fn title(&self) -> &'static str;

    /// Measures, at least three times unless quick (see [`Stage::pick`]); the report shows every figure with its lower limit.
    fn run(&self, stage: &Stage) -> Result<Report>;
}

/// What scenarios share: the broker, the program that is measured, and how thoroughly to measure it.
pub(crate) struct Stage {
    pub(crate) kafka: Kafka,
    program: Box<Path>,
    quick: bool,
    topics: Cell<u32>,
    part: RefCell<String>,
    started: Instant,
}

impl Stage {
    pub(crate) fn new(kafka: Kafka, program: &Path, quick: bool) -> Stage {
        let (topics, part) = (Cell::new(0), RefCell::default());
        Stage { kafka, program: program.into(), quick, topics, part, started: Instant::now() }
    }

    /// Returns the first for figures that are published, the second for a quick run.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.kafka.bootstrap
    }

    /// A new topic, so that records of an earlier run are not read again. It is deleted when it is dropped.
    pub(crate) fn topic(&self, partitions: i32) -> Result<Topic> {
        self.topics.set(self.topics.get() + 1);
        let name = format!("tailrace-bench-{}-{}", std::process::id(), self.topics.get());
        Topic::create(self.bootstrap(), name, partitions)
    }

    /// A server for that topic, ready; its tenants come from the header `tenant`.
    pub(crate) fn server(&self, topic: &Topic, settings: &[Setting<'_>]) -> Result<Server> {
        Server::start(&self.program, self.bootstrap(), &topic.name, settings)
    }

    /// Sets the scenario's name for the progress line.
    pub(crate) fn begin(&self, part: String) {
        *self.part.borrow_mut() = part;
    }

    /// Prints the progress line.
    pub(crate) fn say(&self, what: impl Display) {
        eprintln!("benches: {:4.0} s  {}: {what}", self.started.elapsed().as_secs_f64(), self.part.borrow());
    }
}
