//! Reads a topic with a bare consumer, for comparison.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::Kafka;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub offset: i64,
    pub tenant: Option<String>,
    pub value: Option<Vec<u8>>,
}

/// All committed records of all partitions, from the first to the end.
pub fn read_all(kafka: &Kafka, topic: &str) -> Vec<Vec<Read>> {
    let mut config = kafka.client();
    config
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).expect("Kafka answers");
    let count = metadata.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    for partition in 0..count {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("the partitions are assigned");
    let mut reads = vec![Vec::new(); count];
    let mut ended = vec![false; count];
    while !ended.iter().all(|ended| *ended) {
        match consumer.poll(Duration::from_secs(30)).expect("Kafka answers") {
            Ok(message) => reads[message.partition() as usize].push(Read {
                offset: message.offset(),
                tenant: tenant_of(&message),
                value: message.payload().map(<[u8]>::to_vec),
            }),
            Err(rdkafka::error::KafkaError::PartitionEOF(partition)) => ended[partition as usize] = true,
            // A broker is down; librdkafka continues with the others.
            Err(rdkafka::error::KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            )) => {}
            Err(error) => panic!("{error}"),
        }
    }
    reads
}

fn tenant_of(message: &impl Message) -> Option<String> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == "tenant")?;
    header.value.map(|value| String::from_utf8_lossy(value).into_owned())
}
