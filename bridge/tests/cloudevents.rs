//! `envelope=cloudevents` against the CloudEvents SDK: what its Kafka binding wrote comes out as it reads it, and what Tailrace
//! makes of other records is what `cloudevents/sdk.py verify` has read.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is not the core")]

mod support;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use support::manual_clock::ManualClock;
use support::*;
use tailrace_bridge::*;

#[derive(Deserialize)]
struct Native {
    headers: Vec<(String, String)>,
    key: Option<String>,
    value: Option<String>,
    event: Value,
}

#[derive(Deserialize)]
struct Ordinary {
    key: Option<String>,
    value: Option<String>,
    timestamp: i64,
    #[serde(rename = "type")]
    event_type: Option<String>,
    event: String,
}

#[derive(Default)]
struct Given {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<u8>,
    timestamp: i64,
    event_type: Option<String>,
}

fn bytes(base64: &Option<String>) -> Option<Vec<u8>> {
    base64.as_ref().map(|text| STANDARD.decode(text).unwrap())
}

/// The data of each record's event in a stream, in order.
fn streamed(given: &[Given]) -> Vec<String> {
    let (clock, kafka) = (ManualClock::new(), Kafka::with_partitions(1));
    let bridge = bridge_showing(1 << 20, &kafka, Arc::new(clock.clone()), Privacy::default());
    bridge.add_topic("orders", TopicId([1; 16]), &[Start { offset: 0, epoch: -1, log_start: 0 }]);
    let partition = bridge.topic("orders").unwrap().partitions()[0].clone();
    for (offset, record) in (0..).zip(given) {
        let new = NewRecord {
            offset,
            epoch: 0,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: Headers::written(&record.headers),
            tenant: TenantId::new("acme").unwrap(),
            event_type: record.event_type.as_deref().map(Into::into),
            form: Form::default(),
        };
        bridge.append(&partition, &[new], Position { offset: offset + 1, epoch: 0 });
    }
    let asked = SubscribeRequest { envelope: Envelope::CloudEvents, ..request(None, StartFrom::Earliest) };
    let mut subscription = clock.block_on(bridge.subscribe(asked)).unwrap();
    let mut all = Vec::new();
    loop {
        match subscription.next(Budget { records: 3, bytes: 4096 }) {
            Next::Frames { bytes, .. } => all.extend(joined(bytes)),
            Next::Wait if subscription.is_live() => break,
            Next::Wait => clock.block_on(subscription.changed()),
        }
    }
    let data = blocks(&all).into_iter().filter(|block| !block.event.starts_with("tailrace."));
    data.filter_map(|block| block.data).collect()
}

#[test]
fn events_of_the_sdk_come_out_as_the_sdk_reads_them() {
    let lines: Vec<Native> = include_str!("cloudevents/native.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let given: Vec<Given> = lines
        .iter()
        .map(|line| {
            let mut headers = Vec::new();
            for (name, value) in &line.headers {
                put_header(&mut headers, name, Some(&STANDARD.decode(value).unwrap()));
            }
            Given { key: bytes(&line.key), value: bytes(&line.value), headers, ..Given::default() }
        })
        .collect();
    let streamed = streamed(&given);
    assert_eq!(streamed.len(), lines.len());
    assert!(lines.len() >= 22);
    for (text, line) in streamed.iter().zip(&lines) {
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), line.event, "{text}");
    }
}

#[test]
fn other_records_become_events_that_the_sdk_has_read() {
    let lines: Vec<Ordinary> = include_str!("cloudevents/ordinary.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let given: Vec<Given> = lines
        .iter()
        .map(|line| Given {
            key: bytes(&line.key),
            value: bytes(&line.value),
            timestamp: line.timestamp,
            event_type: line.event_type.clone(),
            ..Given::default()
        })
        .collect();
    let expected: Vec<&str> = lines.iter().map(|line| line.event.as_str()).collect();
    assert_eq!(streamed(&given), expected);
}
