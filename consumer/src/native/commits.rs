//! Commits of positions to a group, one at a time, whose answers are asked for rather than waited for.

use std::time::Duration;

use rdkafka_sys as sys;

use super::client::{check, millis};
use super::{Client, List};
use crate::error::KafkaError;

/// The answers to one client's commits. It must go before its client.
pub(crate) struct Commits {
    queue: *mut sys::rd_kafka_queue_t,
    is_under_way: bool,
}

// SAFETY: librdkafka's queues are thread-safe.
unsafe impl Send for Commits {}

impl Commits {
    pub(crate) fn new(client: &Client) -> Commits {
        // SAFETY: the handle is valid.
        Commits { queue: unsafe { sys::rd_kafka_queue_new(client.rk()) }, is_under_way: false }
    }

    /// Whether a commit was sent and has no answer yet.
    pub(crate) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// Sends these positions. The answer is for [`Commits::outcome`].
    pub(crate) fn send(&mut self, client: &Client, list: &List) -> Result<(), KafkaError> {
        // SAFETY: all are valid; the list is copied. Without a callback the answer is an event of the queue.
        let code = unsafe {
            sys::rd_kafka_commit_queue(client.rk(), list.ptr(), self.queue, None, std::ptr::null_mut())
        };
        check("commit", code)?;
        self.is_under_way = true;
        Ok(())
    }

    /// The answer to the commit under way, if it comes within `timeout`.
    pub(crate) fn outcome(&mut self, timeout: Duration) -> Option<Result<(), KafkaError>> {
        if !self.is_under_way {
            return None;
        }
        // SAFETY: the queue is valid; the event is destroyed below, once.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue, millis(timeout));
            if event.is_null() {
                return None;
            }
            self.is_under_way = false;
            let code = sys::rd_kafka_event_error(event);
            sys::rd_kafka_event_destroy(event);
            Some(check("commit", code))
        }
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        // SAFETY: owned by this value alone.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) };
    }
}
