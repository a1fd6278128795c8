//! Tailrace's side: the consumer's package and the bridge, connected as in the server, without a server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tailrace_bridge::{Bridge, BridgeConfig, EventTypeRule};
use tailrace_consumer::{DataSettings, Kafka, KafkaSettings, SnapshotTopics};

use super::reader::{Meter, Reader, Rule};

/// The server's default cache, less the prefetch and the share of slow clients, each a sixteenth of it.
const MEMORY: usize = 224 << 20;
/// This many records fill the memory three times.
const FULL: u64 = 3_000_000;
pub(super) const PREFETCH: usize = 16 << 20;
/// How often the progress is checked.
const LOOK: Duration = Duration::from_millis(2);
/// A time before all records.
const LONG_AGO: Duration = Duration::from_secs(24 * 3600);

pub(super) fn run(reader: &Reader) -> Result<()> {
    let settings = settings(reader)?;
    let rules = Arc::clone(&settings.rules);
    let kafka = Kafka::new(settings).context("make the consumer")?;
    let config =
        BridgeConfig { memory: memory(reader), rules, linger: Duration::ZERO, privacy: Arc::default() };
    let bridge = Bridge::new(config, kafka.source());
    let _running = kafka.start(bridge.clone());
    let (mut meter, mut partitions, mut base) = (Meter::new(reader), Vec::new(), None);
    loop {
        if partitions.is_empty() {
            partitions = bridge.topic(&reader.topic).map(|topic| topic.partitions()).unwrap_or_default();
        }
        if !partitions.is_empty() {
            let heads = partitions.iter().map(|partition| partition.head().offset).sum::<u64>();
            // When reading from the end, earlier records are not counted.
            let from = *base.get_or_insert(if reader.records.is_some() { 0 } else { heads });
            if meter.is_over(heads - from)? {
                return Ok(());
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Less memory for fewer records: the measurement begins when memory is full, since growing costs more than replacing.
fn memory(reader: &Reader) -> usize {
    let records = reader.records.unwrap_or(FULL).min(FULL);
    (MEMORY as u64 * records / FULL) as usize
}

fn settings(reader: &Reader) -> Result<KafkaSettings> {
    let rule = match reader.rule {
        Rule::Header => "header:tenant",
        Rule::Json => "json:/tenant",
    };
    let rules = rule.parse().map_err(|why: String| anyhow!(why))?;
    let own = [("bootstrap.servers", reader.bootstrap.as_str())].into_iter();
    let properties = own.chain(reader.properties());
    Ok(KafkaSettings {
        properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        topics: reader.topic.parse().map_err(|why| anyhow!("{why}"))?,
        rules: Arc::new(rules),
        event_type: EventTypeRule::default(),
        group_prefix: "tailrace-ingest".to_owned(),
        instance: std::process::id().to_string(),
        warmup: if reader.records.is_some() { LONG_AGO } else { Duration::ZERO },
        prefetch: PREFETCH,
        memory: usize::MAX,
        snapshot_topics: SnapshotTopics::None,
        lag_by_partition: false,
        data: DataSettings::default(),
        traces: false,
    })
}
