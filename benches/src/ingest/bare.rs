//! A bare librdkafka consumer, with the C API: it reads key, value and timestamp of each record and the fields that the
//! tenant's rule reads, and stores nothing. It has the properties of the server's consumer that concern reading.

use std::ffi::{CString, c_char, c_void};
use std::hint::black_box;
use std::ptr;

use anyhow::{Context, Result, ensure};
use rdkafka::bindings as sys;
use rdkafka::types::{RDKafkaRespErr, RDKafkaType};

use super::ours::PREFETCH;
use super::reader::{Meter, Reader, Rule};

/// The most records taken at once.
const BATCH: usize = 200;
/// How long to wait for the first record.
const POLL_MS: i32 = 50;
const ERROR_TEXT: usize = 512;
/// librdkafka's logical offsets.
const BEGINNING: i64 = -2;
const END: i64 = -1;

struct Consumer {
    rk: *mut sys::rd_kafka_t,
    queue: *mut sys::rd_kafka_queue_t,
}

pub(super) fn run(reader: &Reader) -> Result<()> {
    let consumer = Consumer::new(reader)?;
    let (mut meter, mut records) = (Meter::new(reader), 0);
    let pointer = sonic_rs::pointer!["tenant"];
    let mut batch = [ptr::null_mut(); BATCH];
    loop {
        for &mut message in consumer.poll(&mut batch) {
            // SAFETY: the message is ours, and not used after it is destroyed.
            unsafe {
                if (*message).err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    records += 1;
                    look(message, reader.rule, &pointer);
                }
                sys::rd_kafka_message_destroy(message);
            }
        }
        if meter.is_over(records)? {
            return Ok(());
        }
    }
}

/// Reads the fields that the rule reads.
///
/// # Safety
/// `message` is a valid record.
unsafe fn look(message: *mut sys::rd_kafka_message_t, rule: Rule, pointer: &sonic_rs::JsonPointer) {
    // SAFETY: a record's pointers and lengths are consistent and valid as long as the record; so are its headers.
    unsafe {
        let record = &*message;
        black_box((record.offset, record.key, record.key_len));
        black_box(sys::rd_kafka_message_timestamp(message, ptr::null_mut()));
        let value = std::slice::from_raw_parts(record.payload.cast::<u8>(), record.len);
        match rule {
            Rule::Header => {
                let (mut headers, mut tenant, mut size) = (ptr::null_mut(), ptr::null::<c_void>(), 0);
                sys::rd_kafka_message_headers(message, &mut headers);
                sys::rd_kafka_header_get_last(headers, c"tenant".as_ptr(), &mut tenant, &mut size);
                black_box((value, std::slice::from_raw_parts(tenant.cast::<u8>(), size)));
            }
            Rule::Json => {
                let found = sonic_rs::get_from_slice(value, pointer);
                black_box(found.as_ref().map(sonic_rs::LazyValue::as_raw_str).unwrap_or_default());
            }
        }
    }
}

impl Consumer {
    fn new(reader: &Reader) -> Result<Consumer> {
        let kib = (PREFETCH / 1024).to_string();
        let fetch = (PREFETCH / 4).to_string();
        let group = format!("tailrace-ingest-bare-{}", std::process::id());
        let properties = [
            ("bootstrap.servers", reader.bootstrap.as_str()),
            ("group.id", &group),
            ("isolation.level", "read_committed"),
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.min.bytes", "1"),
            ("fetch.wait.max.ms", "100"),
            ("queued.max.messages.kbytes", &kib),
            ("fetch.max.bytes", &fetch),
            ("enable.partition.eof", "true"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
        ];
        let mut text = [0 as c_char; ERROR_TEXT];
        // SAFETY: the strings end with NUL and are copied; on success the handle owns the conf.
        let rk = unsafe {
            let conf = sys::rd_kafka_conf_new();
            for (name, value) in properties.into_iter().chain(reader.properties()) {
                let (name, value) = (CString::new(name)?, CString::new(value)?);
                let set = sys::rd_kafka_conf_set(
                    conf,
                    name.as_ptr(),
                    value.as_ptr(),
                    text.as_mut_ptr(),
                    ERROR_TEXT,
                );
                ensure!(set == sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK, "{name:?} was not taken");
            }
            sys::rd_kafka_new(RDKafkaType::RD_KAFKA_CONSUMER, conf, text.as_mut_ptr(), ERROR_TEXT)
        };
        ensure!(!rk.is_null(), "librdkafka made no consumer");
        // SAFETY: the handle is valid; the list is copied by the assignment and destroyed here.
        let queue = unsafe {
            sys::rd_kafka_poll_set_consumer(rk);
            let list = sys::rd_kafka_topic_partition_list_new(reader.partitions);
            let topic = CString::new(reader.topic.as_str()).context("a topic's name has no NUL")?;
            for partition in 0..reader.partitions {
                let entry = sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition);
                (*entry).offset = if reader.records.is_some() { BEGINNING } else { END };
            }
            let assigned = sys::rd_kafka_assign(rk, list);
            sys::rd_kafka_topic_partition_list_destroy(list);
            ensure!(assigned == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, "the assignment was not taken");
            sys::rd_kafka_queue_get_consumer(rk)
        };
        Ok(Consumer { rk, queue })
    }

    /// Waits for one message, then takes the others that are in the queue.
    fn poll<'a>(
        &self,
        batch: &'a mut [*mut sys::rd_kafka_message_t; BATCH],
    ) -> &'a mut [*mut sys::rd_kafka_message_t] {
        // SAFETY: handle and queue are valid; the batch has room for as many messages as are requested.
        let taken = unsafe {
            batch[0] = sys::rd_kafka_consumer_poll(self.rk, POLL_MS);
            if batch[0].is_null() {
                0
            } else {
                let rest = &mut batch[1..];
                1 + sys::rd_kafka_consume_batch_queue(self.queue, 0, rest.as_mut_ptr(), rest.len()).max(0)
            }
        };
        &mut batch[..taken as usize]
    }
}
