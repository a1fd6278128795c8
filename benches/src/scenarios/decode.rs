//! What it costs the server to read records of Avro and of Protobuf, compared with the same records as JSON.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::figures::{Point, Report};
use crate::pace::Pace;
use crate::process::cpu;
use crate::producer::{Flow, Topic, fill_with};
use crate::scenario::{Scenario, Stage};
use crate::schemas::{Kind, avro_schema, descriptor_set, put_order};

const PARTITIONS: i32 = 12;

pub(crate) struct Decode;

impl Scenario for Decode {
    fn name(&self) -> &'static str {
        "decode"
    }

    fn title(&self) -> &'static str {
        "The way in: Avro and Protobuf, compared with JSON"
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (runs, records) = (stage.pick(5, 1), stage.pick(1_000_000, 100_000));
        let (avro, protobuf) = (file(avro_schema().as_bytes())?, file(&descriptor_set())?);
        let kinds = [
            (Kind::Json, String::new()),
            (Kind::Avro, format!("avro:{}", avro.path().display())),
            (Kind::Protobuf, format!("protobuf:{}#Order", protobuf.path().display())),
        ];
        let empty = stage.topic(PARTITIONS)?;
        let mut topics = Vec::new();
        for (kind, format) in &kinds {
            stage.say(format!("{records} records of {kind:?} into Kafka"));
            let topic = stage.topic(PARTITIONS)?;
            let flow = Flow::one_tenant(Pace { rate: 1, burst: 2 });
            fill_with(stage.bootstrap(), &topic, flow, records, |number, out| put_order(*kind, number, out))?;
            topics.push((topic, format.as_str()));
        }
        let mut point = Point::new("");
        for run in 1..=runs {
            stage.say(format!("run {run} of {runs}"));
            let idle = read(stage, &empty, "")?;
            let mut costs = [0.0; 3];
            for (cost, (topic, format)) in costs.iter_mut().zip(&topics) {
                *cost = read(stage, topic, format)?.saturating_sub(idle).as_secs_f64() * 1e6 / records as f64;
            }
            let [json, avro, protobuf] = costs;
            point.add("JSON, CPU per record, µs", 3, json);
            point.add("Avro, µs", 3, avro);
            point.add("Protobuf, µs", 3, protobuf);
            point.add_target("Avro / JSON, ×", 2, 2.0, avro / json);
            point.add_target("Protobuf / JSON, ×", 2, 2.0, protobuf / json);
        }
        let mut sizes = String::new();
        for (kind, _) in &kinds {
            let mut value = Vec::new();
            put_order(*kind, 123_456, &mut value);
            sizes += &format!(", {} bytes of {kind:?}", value.len());
        }
        let extent = format!(
            "{runs} runs: a server starts and reads {records} records of ten fields{sizes}; less what one needs to start"
        );
        Ok(Report { extent, points: vec![point] })
    }
}

/// The processor time of a server from its start until it has read everything.
fn read(stage: &Stage, topic: &Topic, format: &str) -> Result<Duration> {
    let mut settings = vec![("TAILRACE_CACHE_WARMUP", "24h"), ("TAILRACE_CACHE_SIZE", "1GiB")];
    if !format.is_empty() {
        settings.push(("TAILRACE_VALUE_FORMAT", format));
    }
    // It is ready once it has read the topic.
    let server = stage.server(topic, &settings)?;
    let took = cpu(server.pid())?;
    server.stop();
    Ok(took)
}

fn file(bytes: &[u8]) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::new().context("create a file for a schema")?;
    file.write_all(bytes).context("write a schema")?;
    Ok(file)
}
