//! A message of a consumer's queue: a record, the end of a partition, or an error of one.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::{self, NonNull};

use rdkafka_sys as sys;

use super::Code;

/// One message. Its bytes stay in librdkafka's buffers until it is dropped.
// Transparent: librdkafka writes whole batches of these pointers.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Message(NonNull<sys::rd_kafka_message_t>);

// SAFETY: a message is a reference-counted piece of memory with no ties to the thread that took it.
unsafe impl Send for Message {}

impl Message {
    /// # Safety
    /// `ptr` is null or a message that nobody else will destroy, of a client that outlives the value.
    pub(super) unsafe fn from_ptr(ptr: *mut sys::rd_kafka_message_t) -> Option<Message> {
        NonNull::new(ptr).map(Message)
    }

    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: valid until drop.
        unsafe { self.0.as_ref() }
    }

    /// What the message says: `RD_KAFKA_RESP_ERR_NO_ERROR` for a record.
    pub(crate) fn code(&self) -> Code {
        self.raw().err
    }

    pub(crate) fn is_record(&self) -> bool {
        self.code() == Code::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    pub(crate) fn is_end(&self) -> bool {
        self.code() == Code::RD_KAFKA_RESP_ERR__PARTITION_EOF
    }

    /// The words of an error.
    pub(crate) fn error_text(&self) -> String {
        // SAFETY: valid message; the string lives as long as it.
        unsafe { super::text(sys::rd_kafka_message_errstr(self.0.as_ptr())) }
    }

    /// The topic's name; empty for errors of no topic.
    pub(crate) fn topic(&self) -> &str {
        let topic = self.raw().rkt;
        if topic.is_null() {
            return "";
        }
        // SAFETY: the message holds a reference to its topic.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(topic)) }.to_str().unwrap_or_default()
    }

    /// Equal for two messages of one batch only if their partitions are the same.
    pub(crate) fn place(&self) -> (usize, i32) {
        (self.raw().rkt as usize, self.raw().partition)
    }

    pub(crate) fn partition(&self) -> i32 {
        self.raw().partition
    }

    /// The record's offset; of an end, the offset that the next record will get.
    pub(crate) fn offset(&self) -> u64 {
        u64::try_from(self.raw().offset).unwrap_or(0)
    }

    pub(crate) fn leader_epoch(&self) -> i32 {
        // SAFETY: valid message.
        unsafe { sys::rd_kafka_message_leader_epoch(self.0.as_ptr()) }
    }

    /// Milliseconds since the Unix epoch; -1 where there is none.
    pub(crate) fn timestamp(&self) -> i64 {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: valid message.
        unsafe { sys::rd_kafka_message_timestamp(self.0.as_ptr(), &mut kind) }
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        // SAFETY: key and length belong together and live as long as the message.
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    /// Appends the headers and leaves them in the message, for [`Message::drop_headers`], or to be read again.
    pub(crate) fn read_headers(&mut self, out: &mut Vec<u8>) {
        let mut headers = ptr::null_mut();
        // SAFETY: valid message; the headers stay the message's, and are read before anything else is done with it.
        unsafe {
            if sys::rd_kafka_message_headers(self.0.as_ptr(), &mut headers)
                == Code::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                put_headers(headers, out);
            }
        }
    }

    /// Frees the headers: see [`Message::take_headers`].
    pub(crate) fn drop_headers(&mut self) {
        let mut headers = ptr::null_mut();
        // SAFETY: valid message; the headers are ours from here on, and destroyed once.
        unsafe {
            if sys::rd_kafka_message_detach_headers(self.0.as_ptr(), &mut headers)
                == Code::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                sys::rd_kafka_headers_destroy(headers);
            }
        }
    }

    /// Takes the headers out of the message: appends them in their order, for [`tailrace_bridge::Headers::written`]. A name
    /// that is not UTF-8 (no client writes one) is left out.
    ///
    /// librdkafka parses them into allocations of their own. Freed after each message, the same memory serves the next one,
    /// still in the processor's cache; freed after a whole batch, it would come from, and return to, what the allocator shares
    /// between threads.
    pub(crate) fn take_headers(&mut self, out: &mut Vec<u8>) {
        let mut headers = ptr::null_mut();
        // SAFETY: valid message; the headers are ours from here on.
        if unsafe { sys::rd_kafka_message_detach_headers(self.0.as_ptr(), &mut headers) }
            != Code::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return;
        }
        // SAFETY: as above; they are read before they are destroyed, and once.
        unsafe {
            put_headers(headers, out);
            sys::rd_kafka_headers_destroy(headers);
        }
    }
}

/// # Safety
/// `headers` are valid.
unsafe fn put_headers(headers: *const sys::rd_kafka_headers_t, out: &mut Vec<u8>) {
    for index in 0.. {
        let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) =
            (ptr::null(), ptr::null(), 0);
        // SAFETY: the index is checked by librdkafka; what it gives lives as long as the headers.
        let header = unsafe {
            let found = sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size);
            if found != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            (CStr::from_ptr(name).to_str(), bytes(value, size))
        };
        if let (Ok(name), value) = header {
            tailrace_bridge::put_header(out, name, value);
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: owned by this value alone.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// # Safety
/// `data` is null or points to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: by this function's own contract.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast(), len) })
}
