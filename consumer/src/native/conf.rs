//! librdkafka's configuration, and its own table as the judge of names and values.

use std::ffi::{CString, c_char};

use rdkafka_sys as sys;
use sys::rd_kafka_conf_res_t::{RD_KAFKA_CONF_OK, RD_KAFKA_CONF_UNKNOWN};

/// Room for librdkafka's messages, in bytes.
pub(super) const ERROR_TEXT: usize = 512;

/// Why a property was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SetError {
    /// librdkafka has no property of that name.
    Unknown,
    /// The name is known, the value is not good; librdkafka's words.
    Invalid(String),
}

/// A configuration under construction.
#[derive(Debug)]
pub(crate) struct Conf(*mut sys::rd_kafka_conf_t);

impl Conf {
    pub(crate) fn new() -> Conf {
        // SAFETY: no preconditions; never null.
        Conf(unsafe { sys::rd_kafka_conf_new() })
    }

    /// Sets one property, checked against librdkafka's table.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), SetError> {
        let Ok(c_name) = CString::new(name) else { return Err(SetError::Unknown) };
        let Ok(c_value) = CString::new(value) else {
            return Err(SetError::Invalid("the value holds a NUL character".to_owned()));
        };
        let mut message = [0 as c_char; ERROR_TEXT];
        // SAFETY: both strings are NUL-terminated, the buffer's length is given.
        let result = unsafe {
            sys::rd_kafka_conf_set(
                self.0,
                c_name.as_ptr(),
                c_value.as_ptr(),
                message.as_mut_ptr(),
                message.len(),
            )
        };
        match result {
            RD_KAFKA_CONF_OK => Ok(()),
            RD_KAFKA_CONF_UNKNOWN => Err(SetError::Unknown),
            // SAFETY: librdkafka terminates what it writes.
            _ => Err(SetError::Invalid(unsafe { super::text(message.as_ptr()) })),
        }
    }

    /// Every property, by name, as librdkafka's own table has it. A dump of a configuration leaves out what has no value.
    pub(crate) fn names() -> Vec<String> {
        let named = |line: &str| line.split_once(" | ").map(|(name, _)| name.trim().to_owned());
        table().lines().filter_map(named).filter(|name| name != HEADING).collect()
    }

    /// What a property accepts, as librdkafka's own table has it: its words, or its bounds. None where that says nothing.
    pub(crate) fn accepted(name: &str) -> Option<String> {
        let line = table();
        let mut columns = line.lines().map(|line| line.split(" | "));
        let mut found =
            columns.find(|columns| columns.clone().next().is_some_and(|first| first.trim() == name))?;
        found.nth(2).map(|range| range.trim().to_owned()).filter(|range| !range.is_empty())
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_conf_t {
        self.0
    }

    /// Gives the configuration away: `rd_kafka_new` owns it once it succeeds.
    pub(super) fn into_ptr(self) -> *mut sys::rd_kafka_conf_t {
        std::mem::ManuallyDrop::new(self).0
    }
}

/// The first column of librdkafka's table is headed with it.
const HEADING: &str = "Property";

/// librdkafka's table of properties: name, whose it is, what it accepts, its default, and more, a line each.
fn table() -> String {
    let (mut text, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the stream is closed before its text is read, which is ours to free then.
    unsafe {
        let stream = libc::open_memstream(&mut text, &mut size);
        if stream.is_null() {
            return String::new();
        }
        sys::rd_kafka_conf_properties_show(stream);
        libc::fclose(stream);
        let table = super::text(text);
        libc::free(text.cast());
        table
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: owned, and not given away.
        unsafe { sys::rd_kafka_conf_destroy(self.0) };
    }
}
