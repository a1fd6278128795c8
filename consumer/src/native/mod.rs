//! The thin layer over librdkafka's C API that the rest of this package stands on.
//!
//! It exists because the safe bindings leave out what exact resume rests on: leader epochs of messages and assignments
//! (KIP-320), topic ids (KIP-516), the topic of an end-of-partition event, offsets of many partitions in one request.
//! Nothing outside of this folder is `unsafe`.

mod admin;
mod client;
mod commits;
mod conf;
mod list;
mod message;
mod mock;

pub(crate) use admin::{Described, Found, OffsetQuery};
pub(crate) use client::{Client, Role};
pub(crate) use commits::Commits;
pub(crate) use conf::{Conf, SetError};
pub(crate) use list::List;
pub(crate) use message::Message;
pub(crate) use mock::Mock;
pub(crate) use rdkafka_sys::rd_kafka_resp_err_t as Code;

use std::ffi::CStr;

use crate::error::KafkaError;

/// librdkafka's words for an error code.
pub(crate) fn describe(code: Code) -> String {
    // SAFETY: the function takes any code and gives a static string.
    let text = unsafe { CStr::from_ptr(rdkafka_sys::rd_kafka_err2str(code)) };
    text.to_string_lossy().into_owned()
}

/// The error of a topic that was asked for and not described.
pub(crate) fn describe_error(code: Code) -> KafkaError {
    KafkaError::Request { what: "describe the topic", code, message: describe(code) }
}

/// The error of an offset that was asked for and not told.
pub(crate) fn list_error(code: Code) -> KafkaError {
    KafkaError::Request { what: "list offsets", code, message: describe(code) }
}

/// A C string as text; empty where there is none.
///
/// # Safety
/// `text` is null or a NUL-terminated string that outlives the call.
unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by this function's own contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
