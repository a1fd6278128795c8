//! Ingest: CPU per record from Kafka to the partition log, compared with a bare librdkafka consumer that reads the same records
//! and, of each, the fields that the tenant's rule reads.

mod bare;
mod ours;
mod reader;
mod records;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use self::reader::Side;
pub(crate) use self::reader::{Reader, Rule};
use crate::kafka::Kafka;
use crate::pace::Pace;
use crate::producer::Topic;

#[derive(Args, Clone, Debug)]
pub(crate) struct Ingest {
    /// Where the tenant comes from.
    #[arg(long, value_enum, default_value_t = Rule::Header)]
    rule: Rule,
    /// Records that are there before anybody reads.
    #[arg(long, default_value_t = 3_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    records: u64,
    /// Read as they come, so many a second, rather than what is there.
    #[arg(long)]
    rate: Option<u32>,
    /// With a rate: how long each reader is measured, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How often ours is measured, each time between two measurements of the bare consumer.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    repeats: u64,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// A property of librdkafka for both sides, as NAME=VALUE.
    #[arg(long = "property")]
    properties: Vec<String>,
    /// A broker that is there, as HOST:PORT; without it one is started from --kafka-libs.
    #[arg(long)]
    bootstrap: Option<String>,
    /// Kafka's jars, where `cargo xtask setup` puts them.
    #[arg(long, default_value = ".tailrace/kafka/libs")]
    kafka_libs: PathBuf,
}

/// What one triple gave, in microseconds of CPU per record.
pub(crate) struct Triple {
    pub(crate) ours: f64,
    /// The mean of the bare consumers before and after ours.
    pub(crate) bare: f64,
}

/// The child.
pub(crate) fn read(reader: &Reader) -> Result<()> {
    match reader.side {
        Side::Bare => bare::run(reader),
        Side::Ours => ours::run(reader),
    }
}

pub(crate) fn run(ingest: &Ingest) -> Result<()> {
    let started = match &ingest.bootstrap {
        Some(_) => None,
        None => {
            eprintln!("benches: start Kafka");
            Some(Kafka::start(&ingest.kafka_libs)?)
        }
    };
    let given = ingest.bootstrap.as_ref().or(started.as_ref().map(|kafka| &kafka.bootstrap));
    let bootstrap = given.context("there is a broker")?;
    let name = format!("tailrace-ingest-{}", std::process::id());
    let topic = Topic::create(bootstrap, name, ingest.partitions)?;
    let triples = match ingest.rate {
        None => {
            eprintln!("benches: write {} records", ingest.records);
            ingest.measure(bootstrap, &topic.name)?
        }
        Some(rate) => {
            let pace = Pace { rate, burst: 1 };
            let writer =
                records::Writer::start(bootstrap, &topic.name, ingest.partitions, ingest.rule, pace)?;
            let triples = triples(ingest, bootstrap, &topic.name);
            writer.end()?;
            triples?
        }
    };
    print!("{}", markdown(ingest, &triples));
    Ok(())
}

impl Ingest {
    /// A measurement of records that are in Kafka before, in a topic of twelve partitions.
    pub(crate) fn of_what_is_there(rule: Rule, records: u64, repeats: u64) -> Ingest {
        Ingest {
            rule,
            records,
            rate: None,
            seconds: 0,
            repeats,
            partitions: 12,
            properties: Vec::new(),
            bootstrap: None,
            kafka_libs: PathBuf::new(),
        }
    }

    /// Writes the records to a new topic, and measures.
    pub(crate) fn measure(&self, bootstrap: &str, topic: &str) -> Result<Vec<Triple>> {
        records::write(bootstrap, topic, self.partitions, self.rule, self.records)?;
        triples(self, bootstrap, topic)
    }
}

fn triples(ingest: &Ingest, bootstrap: &str, topic: &str) -> Result<Vec<Triple>> {
    let measure = |side| measure(ingest, side, bootstrap, topic);
    let mut before = measure(Side::Bare)?;
    let mut triples = Vec::new();
    for number in 1..=ingest.repeats {
        let ours = measure(Side::Ours)?;
        let after = measure(Side::Bare)?;
        let triple = Triple { ours, bare: (before + after) / 2.0 };
        eprintln!(
            "benches: {number} of {}: bare {before:.3} µs, ours {ours:.3} µs, bare {after:.3} µs: {:.3} ×",
            ingest.repeats,
            triple.ours / triple.bare
        );
        triples.push(triple);
        before = after;
    }
    Ok(triples)
}

/// CPU per record in microseconds.
fn measure(ingest: &Ingest, side: Side, bootstrap: &str, topic: &str) -> Result<f64> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    let (side, rule) = (name_of(side), name_of(ingest.rule));
    command.args(["ingest-reader", "--side", &side, "--rule", &rule, "--bootstrap", bootstrap]);
    command.args(["--topic", topic, "--partitions", &ingest.partitions.to_string()]);
    for property in &ingest.properties {
        command.args(["--property", property]);
    }
    match ingest.rate {
        None => command.args(["--records", &ingest.records.to_string()]),
        Some(_) => command.args(["--seconds", &ingest.seconds.to_string()]),
    };
    if side == "ours" && std::env::var_os("MALLOC_MMAP_THRESHOLD_").is_none() {
        // As src/memory.rs sets it for a server with a cache of 256 MiB.
        let memory = [("MMAP_THRESHOLD_", "8388608"), ("TRIM_THRESHOLD_", "1048576")];
        command.envs(memory.map(|(name, value)| (format!("MALLOC_{name}"), value)));
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("start a reader")?;
    ensure!(output.status.success(), "the reader failed: {}", output.status);
    let said = String::from_utf8(output.stdout).context("read what the reader says")?;
    let numbers = said.split_whitespace().map(str::parse::<f64>).collect::<Result<Vec<_>, _>>();
    let numbers = numbers.with_context(|| format!("the reader said {said:?}"))?;
    let [records, cpu, time] = numbers[..] else { anyhow::bail!("the reader said {said:?}") };
    eprintln!("benches:   {side}: {records} records, {:.0} a second", records * 1e9 / time);
    Ok(cpu / 1e3 / records)
}

fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn markdown(ingest: &Ingest, triples: &[Triple]) -> String {
    type Row = (&'static str, fn(&Triple) -> f64);
    let rows: [Row; 3] = [
        ("CPU per record, µs", |triple| triple.ours),
        ("bare consumer's, µs", |triple| triple.bare),
        ("ours / bare, ×", |triple| triple.ours / triple.bare),
    ];
    let mut out = String::from("| | min | median | max |\n| --- | ---: | ---: | ---: |\n");
    for (name, value) in rows {
        let [min, median, max] = crate::figures::spread(triples.iter().map(value).collect());
        out += &format!("| {name} | {min:.3} | {median:.3} | {max:.3} |\n");
    }
    let how = match ingest.rate {
        None => format!("{} records that are there", ingest.records),
        Some(rate) => format!("{rate} records a second, for {} s each", ingest.seconds),
    };
    out + &format!(
        "\n{how}, {} partitions, tenant from {}; {} triples bare–ours–bare.\n",
        ingest.partitions,
        name_of(ingest.rule),
        triples.len(),
    )
}
