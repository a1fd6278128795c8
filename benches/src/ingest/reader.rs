//! One reader, whichever side it is: what it is told, and between which two moments it is measured.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use rustix::time::{ClockId, clock_gettime};

/// For a reader to see its first record.
const START: Duration = Duration::from_secs(30);
/// At a rate, a reader settles for so long before it is measured.
const CALM: Duration = Duration::from_secs(2);

/// Where a record's tenant comes from. The records of `json` have no headers, so that neither side reads any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rule {
    Header,
    Json,
}

/// One reader, a process of its own.
#[derive(Args, Clone, Debug)]
pub(crate) struct Reader {
    #[arg(long, value_enum)]
    pub(super) side: Side,
    #[arg(long, value_enum)]
    pub(super) rule: Rule,
    #[arg(long)]
    pub(super) bootstrap: String,
    #[arg(long)]
    pub(super) topic: String,
    #[arg(long = "property")]
    properties: Vec<String>,
    #[arg(long)]
    pub(super) partitions: i32,
    /// Reads from the first record, of so many; without it: from the end, for `seconds`.
    #[arg(long)]
    pub(super) records: Option<u64>,
    #[arg(long, default_value_t = 0)]
    seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Side {
    Bare,
    Ours,
}

/// What a reader has used and read so far.
#[derive(Clone, Copy, Debug)]
struct Sample {
    records: u64,
    cpu: Duration,
    at: Instant,
}

impl Sample {
    /// CPU of the whole process, user and system.
    fn take(records: u64) -> Sample {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::new(cpu.tv_sec.unsigned_abs(), cpu.tv_nsec.unsigned_abs() as u32);
        Sample { records, cpu, at: Instant::now() }
    }
}

/// Takes the two samples between which a reader is measured, and says when it is over.
pub(super) struct Meter {
    reader: Reader,
    begun: Instant,
    first: Option<Sample>,
}

impl Reader {
    pub(super) fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.iter().filter_map(|property| property.split_once('='))
    }
}

impl Meter {
    pub(super) fn new(reader: &Reader) -> Meter {
        Meter { reader: reader.clone(), begun: Instant::now(), first: None }
    }

    /// To be called often with the records read so far. Says the result, once, when there is one.
    pub(super) fn is_over(&mut self, records: u64) -> Result<bool> {
        let Some(first) = self.first else {
            ensure!(self.begun.elapsed() < START + CALM, "no record came within {START:?}");
            let settled = match self.reader.records {
                // Memory is full by then: from here on, what comes takes the place of what goes.
                Some(all) => records >= all / 3,
                None => records > 0 && self.begun.elapsed() >= CALM,
            };
            if settled {
                self.first = Some(Sample::take(records));
            }
            return Ok(false);
        };
        let over = match self.reader.records {
            // What is fetched ahead is as much as at the beginning.
            Some(all) => records >= all / 6 * 5,
            None => first.at.elapsed() >= Duration::from_secs(self.reader.seconds),
        };
        if over {
            let last = Sample::take(records);
            let (read, cpu) = (last.records - first.records, last.cpu - first.cpu);
            let time = last.at - first.at;
            println!("{} {} {}", read, cpu.as_nanos(), time.as_nanos());
        }
        Ok(over)
    }
}
