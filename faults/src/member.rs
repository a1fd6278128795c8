//! A second member of a replica's own consumer group, as by an operator's mistake, or a tool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::Kafka;

/// A consumer on a thread of its own. It also commits arbitrary offsets: where a replica reads does not depend on the group.
pub struct Member {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Member {
    /// Joins with the cooperative protocol; with an `instance` it is a static member.
    pub fn join(kafka: &Kafka, group: &str, topic: &str, instance: Option<&str>) -> Member {
        let mut config = kafka.client();
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "6000")
            .set("enable.auto.commit", "false")
            .set("log_level", "2");
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        let consumer: BaseConsumer = config.create().expect("a consumer");
        consumer.subscribe(&[topic]).expect("a topic can be subscribed to");
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, topic) = (is_over.clone(), topic.to_owned());
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if let Some(Ok(_)) = consumer.poll(Duration::from_millis(50)) {
                    let mut list = TopicPartitionList::new();
                    for element in consumer.assignment().iter().flat_map(|all| all.elements()) {
                        let partition = element.partition();
                        list.add_partition_offset(&topic, partition, Offset::Offset(1)).expect("an offset");
                    }
                    // Fails if a rebalance is under way.
                    let _ = consumer.commit(&list, CommitMode::Async);
                }
            }
        });
        Member { is_over, thread }
    }

    /// Leaves the group. The partitions of a static member are reserved until its session ends.
    pub fn leave(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the member ends");
    }
}
