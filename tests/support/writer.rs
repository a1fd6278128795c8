//! Something to hear.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::kafka::Kafka;

/// Of the topic that is written to.
pub const PARTITIONS: usize = 8;

/// Writes to all partitions until it is stopped: to each half as often as to the one before, so that some are quiet.
pub struct Writer {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u64>>>,
}

impl Writer {
    /// Rests for `pause` after each record.
    pub fn start(kafka: &Kafka, topic: &'static str, pause: Duration) -> Writer {
        let stopped = Arc::new(AtomicBool::new(false));
        let (producer, stop) = (kafka.producer(), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            let mut sent = vec![Vec::new(); PARTITIONS];
            for number in 1u64.. {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let partition = (number.trailing_zeros() as usize).min(PARTITIONS - 1);
                producer.send(topic, partition as i32, "acme", format!("{partition}:{number}").as_bytes());
                sent[partition].push(number);
                std::thread::sleep(pause);
            }
            producer.flush();
            sent
        });
        Writer { stopped, thread }
    }

    /// Gives the numbers of each partition's records, once Kafka has them all.
    pub fn stop(self) -> Vec<Vec<u64>> {
        self.stopped.store(true, Ordering::Release);
        self.thread.join().expect("the producer's thread ends well")
    }
}
