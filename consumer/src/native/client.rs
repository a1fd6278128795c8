//! One librdkafka client: one that reads what is assigned to it, a member of a group that reads nothing, or one that only
//! asks.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka_sys as sys;

use super::conf::ERROR_TEXT;
use super::{Code, Conf, List, Message, SetError};
use crate::error::KafkaError;

/// How long to wait until an assignment is in force, and how often to look.
const CONFIRM: Duration = Duration::from_secs(5);
const CONFIRM_AGAIN: Duration = Duration::from_millis(5);

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has a `group.id` and reads what is assigned to it; the queue of its records is polled.
    Consumer,
    /// It is a member of its group, and reads nothing of what the group assigns to it.
    Member,
    /// It only asks the cluster.
    Admin,
}

/// What callbacks can reach through librdkafka's opaque pointer.
struct Context {
    last_error: Mutex<Option<String>>,
    /// Partitions that the group has assigned to this member.
    assigned: AtomicUsize,
}

/// A client handle. Every method may be called from any thread.
pub(crate) struct Client {
    rk: *mut sys::rd_kafka_t,
    queue: *mut sys::rd_kafka_queue_t,
    context: Box<Context>,
}

// SAFETY: librdkafka's handles are thread-safe; the context is only changed under its locks.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// Makes a client of these properties, later ones replacing earlier ones. Connects in the background.
    ///
    /// # Errors
    /// A property that librdkafka does not take, alone or beside the others.
    pub(crate) fn new(properties: &[(String, String)], role: Role) -> Result<Client, KafkaError> {
        let mut conf = Conf::new();
        for (name, value) in properties {
            conf.set(name, value).map_err(|error| match error {
                SetError::Unknown => KafkaError::Config(format!("librdkafka has no property `{name}`")),
                SetError::Invalid(message) => KafkaError::Config(message),
            })?;
        }
        let context = Box::new(Context { last_error: Mutex::new(None), assigned: AtomicUsize::new(0) });
        // SAFETY: the conf is valid; the context is boxed, so it does not move, and outlives the handle.
        unsafe {
            sys::rd_kafka_conf_set_opaque(conf.ptr(), (&raw const *context).cast_mut().cast());
            sys::rd_kafka_conf_set_log_cb(conf.ptr(), Some(on_log));
            sys::rd_kafka_conf_set_error_cb(conf.ptr(), Some(on_error));
            if role == Role::Member {
                sys::rd_kafka_conf_set_rebalance_cb(conf.ptr(), Some(on_rebalance));
            }
        }
        let rk = new_handle(conf)?;
        // SAFETY: the handle is valid; the queue is destroyed before it.
        let queue = unsafe {
            match role {
                Role::Consumer | Role::Member => {
                    sys::rd_kafka_poll_set_consumer(rk);
                    sys::rd_kafka_queue_get_consumer(rk)
                }
                Role::Admin => sys::rd_kafka_queue_get_main(rk),
            }
        };
        Ok(Client { rk, queue, context })
    }

    pub(super) fn rk(&self) -> *mut sys::rd_kafka_t {
        self.rk
    }

    /// Waits for a message, then takes what else is there, up to `cap` in all, in order per partition.
    /// Callbacks run in here, and only in here.
    pub(crate) fn poll(&self, timeout: Duration, cap: usize, out: &mut Vec<Message>) {
        // SAFETY: the handle is valid; a message is owned by who takes it.
        let first = unsafe { Message::from_ptr(sys::rd_kafka_consumer_poll(self.rk, millis(timeout))) };
        let Some(first) = first else { return };
        out.reserve(cap.max(1));
        out.push(first);
        let room = cap.saturating_sub(1);
        // SAFETY: there is room for `cap` messages, one of which is used; a message is such a pointer, and none that is given
        // is null. With no time to wait it takes only what is there. The first `taken` are written then, and ours.
        unsafe {
            let spare = out.spare_capacity_mut().as_mut_ptr().cast();
            let taken = sys::rd_kafka_consume_batch_queue(self.queue, 0, spare, room);
            out.set_len(out.len() + usize::try_from(taken).unwrap_or(0));
        }
    }

    /// Serves callbacks of a client that only asks.
    pub(crate) fn serve(&self) {
        // SAFETY: the handle is valid.
        unsafe { sys::rd_kafka_poll(self.rk, 0) };
    }

    /// The last error that no request of ours brought back, such as a broker that refuses the connection.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.context.last_error.lock().clone()
    }

    /// Forgets that error: Kafka has answered since.
    pub(crate) fn clear_error(&self) {
        *self.context.last_error.lock() = None;
    }

    /// # Errors
    /// The one that ended this client for good: it could not do `what` any more.
    pub(crate) fn check_fatal(&self, what: &'static str) -> Result<(), KafkaError> {
        let mut message = [0 as c_char; ERROR_TEXT];
        // SAFETY: the handle is valid, the buffer's length is given.
        let code = unsafe { sys::rd_kafka_fatal_error(self.rk, message.as_mut_ptr(), message.len()) };
        if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        // SAFETY: librdkafka terminates what it writes.
        Err(KafkaError::Request { what, code, message: unsafe { super::text(message.as_ptr()) } })
    }

    pub(crate) fn subscribe(&self, topics: &[String]) -> Result<(), KafkaError> {
        let mut list = List::new(topics.len());
        topics.iter().for_each(|topic| list.add(topic, -1, 0));
        // SAFETY: handle and list are valid; the list is copied.
        check("subscribe", unsafe { sys::rd_kafka_subscribe(self.rk, list.ptr()) })
    }

    pub(crate) fn unsubscribe(&self) {
        // SAFETY: the handle is valid.
        unsafe { sys::rd_kafka_unsubscribe(self.rk) };
    }

    /// Reads exactly these partitions from now on.
    pub(crate) fn assign(&self, list: &List) -> Result<(), KafkaError> {
        // SAFETY: handle and list are valid; the list is copied.
        check("assign", unsafe { sys::rd_kafka_assign(self.rk, list.ptr()) })
    }

    /// Reads nothing from now on.
    pub(crate) fn unassign(&self) {
        // SAFETY: null is allowed.
        unsafe { sys::rd_kafka_assign(self.rk, ptr::null()) };
    }

    /// Reads these partitions too from now on (cooperative rebalancing).
    pub(crate) fn incremental_assign(&self, list: &List) -> Result<(), KafkaError> {
        // SAFETY: handle and list are valid.
        unsafe { check_error("assign", sys::rd_kafka_incremental_assign(self.rk, list.ptr())) }
    }

    /// Reads these partitions no more (cooperative rebalancing).
    pub(crate) fn incremental_unassign(&self, list: &List) -> Result<(), KafkaError> {
        // SAFETY: handle and list are valid.
        unsafe { check_error("unassign", sys::rd_kafka_incremental_unassign(self.rk, list.ptr())) }
    }

    /// Has the leaders confirm the positions of these partitions, which were just assigned (KIP-320). Where librdkafka knows
    /// the leader's epoch already, an assignment alone does not ask: the offset would be read on in another log. Where it does
    /// not know the partition yet, it asks once it does. Waits for the assignment to be in force, which takes no broker.
    pub(crate) fn confirm(&self, list: &List) -> Result<(), KafkaError> {
        let until = Instant::now() + CONFIRM;
        loop {
            // SAFETY: handle and list are valid; the list's entries get their errors before it returns.
            let error = unsafe {
                check_error("seek", sys::rd_kafka_seek_partitions(self.rk, list.ptr(), millis(CONFIRM)))
            };
            let is_done = |code| {
                code == Code::RD_KAFKA_RESP_ERR_NO_ERROR || code == Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
            };
            let failed = list.entries().find(|entry| !is_done(entry.error));
            match (error, failed) {
                (Ok(()), None) => return Ok(()),
                (Err(error), _) if Instant::now() >= until => return Err(error),
                (Ok(()), Some(entry)) if Instant::now() >= until => return check("seek", entry.error),
                // A partition whose fetching is being stopped or started cannot be sought yet.
                _ => std::thread::sleep(CONFIRM_AGAIN),
            }
        }
    }

    /// Whether there is a connection to some broker within this time. A broker that is connected and answers late, after
    /// earlier requests, counts.
    pub(crate) fn reaches_a_broker(&self, timeout: Duration) -> bool {
        let mut found = ptr::null();
        // SAFETY: the handle is valid; no topic is named; what is found is destroyed, once.
        unsafe {
            let code = sys::rd_kafka_metadata(self.rk, 0, ptr::null_mut(), &mut found, millis(timeout));
            if !found.is_null() {
                sys::rd_kafka_metadata_destroy(found);
            }
            code != Code::RD_KAFKA_RESP_ERR__TRANSPORT
        }
    }

    /// Fills in the offsets that this client's group has committed; negative where there is none.
    pub(crate) fn committed(&self, list: &List, timeout: Duration) -> Result<(), KafkaError> {
        // SAFETY: handle and list are valid.
        check("ask for committed offsets", unsafe {
            sys::rd_kafka_committed(self.rk, list.ptr(), millis(timeout))
        })
    }

    /// How many partitions the group has assigned to this member, which reads none of them.
    pub(crate) fn assigned(&self) -> usize {
        self.context.assigned.load(Ordering::Relaxed)
    }

    /// Leaves the group. False where that took longer than `timeout`.
    pub(crate) fn close_within(&self, timeout: Duration) -> bool {
        // SAFETY: handle and queue are valid; what closing brings is served from the queue, below.
        let error = unsafe {
            check_error("leave the group", sys::rd_kafka_consumer_close_queue(self.rk, self.queue))
        };
        if error.is_err() {
            return false;
        }
        let until = Instant::now() + timeout;
        let mut rest = Vec::new();
        // SAFETY: the handle is valid.
        while unsafe { sys::rd_kafka_consumer_closed(self.rk) } == 0 {
            if Instant::now() >= until {
                return false;
            }
            self.poll(CONFIRM_AGAIN, 64, &mut rest);
            rest.clear();
        }
        true
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: queue and handle are owned; the flag keeps it from waiting for a group.
        unsafe {
            sys::rd_kafka_queue_destroy(self.queue);
            sys::rd_kafka_destroy_flags(self.rk, sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        }
    }
}

fn new_handle(conf: Conf) -> Result<*mut sys::rd_kafka_t, KafkaError> {
    let mut message = [0 as c_char; ERROR_TEXT];
    // SAFETY: on success the handle owns the conf, on failure it stays ours.
    let rk = unsafe {
        sys::rd_kafka_new(
            sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            conf.ptr(),
            message.as_mut_ptr(),
            message.len(),
        )
    };
    if rk.is_null() {
        // SAFETY: librdkafka terminates what it writes.
        return Err(KafkaError::Config(unsafe { super::text(message.as_ptr()) }));
    }
    conf.into_ptr();
    Ok(rk)
}

pub(super) fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

pub(super) fn check(what: &'static str, code: Code) -> Result<(), KafkaError> {
    match code {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(KafkaError::Request { what, code, message: super::describe(code) }),
    }
}

/// # Safety
/// `error` is null or an error object that nobody else will destroy.
unsafe fn check_error(what: &'static str, error: *mut sys::rd_kafka_error_t) -> Result<(), KafkaError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: by this function's own contract.
    unsafe {
        let code = sys::rd_kafka_error_code(error);
        let message = super::text(sys::rd_kafka_error_string(error));
        sys::rd_kafka_error_destroy(error);
        Err(KafkaError::Request { what, code, message })
    }
}

/// librdkafka's own log lines. Broken connections go to `debug`: the state of the cluster is said once a minute, by us.
unsafe extern "C" fn on_log(
    _: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: librdkafka gives two NUL-terminated strings.
    let (facility, line) = unsafe { (super::text(facility), super::text(line)) };
    let routine = matches!(
        facility.as_str(),
        "FAIL" | "ERROR" | "CONFWARN" | "REQTMOUT" | "COMMITFAIL" | "SESSTMOUT" | "FATAL"
    );
    if level <= 4 && !routine {
        tracing::warn!(target: "librdkafka", facility, "{line}");
    } else {
        tracing::debug!(target: "librdkafka", facility, "{line}");
    }
}

unsafe extern "C" fn on_error(
    _: *mut sys::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque pointer is the client's context, which outlives the handle.
    let (context, reason) = unsafe { (&*opaque.cast::<Context>(), super::text(reason)) };
    let mut last = context.last_error.lock();
    // That all brokers are down says less than why the last one is.
    if last.is_none() || code != Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as c_int {
        *last = Some(reason);
    }
}

/// Takes note of what the group assigns and revokes, as it must for the group to go on, and reads nothing of it.
unsafe extern "C" fn on_rebalance(
    rk: *mut sys::rd_kafka_t,
    code: Code,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    let nothing = List::new(0);
    // SAFETY: handle and lists are valid; the opaque pointer is the client's context.
    let error = unsafe {
        let assigned = &(*opaque.cast::<Context>()).assigned;
        let count = usize::try_from((*partitions).cnt).unwrap_or(0);
        let is_cooperative = super::text(sys::rd_kafka_rebalance_protocol(rk)) == "COOPERATIVE";
        match (is_cooperative, code) {
            (true, Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) => {
                assigned.fetch_add(count, Ordering::Relaxed);
                check_error("assign", sys::rd_kafka_incremental_assign(rk, nothing.ptr()))
            }
            (true, _) => {
                let left = assigned.load(Ordering::Relaxed).saturating_sub(count);
                assigned.store(left, Ordering::Relaxed);
                check_error("unassign", sys::rd_kafka_incremental_unassign(rk, nothing.ptr()))
            }
            (false, Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) => {
                assigned.store(count, Ordering::Relaxed);
                check("assign", sys::rd_kafka_assign(rk, nothing.ptr()))
            }
            (false, _) => {
                assigned.store(0, Ordering::Relaxed);
                check("unassign", sys::rd_kafka_assign(rk, ptr::null()))
            }
        }
    };
    if let Err(error) = error {
        tracing::debug!(%error, "the group's assignment was not acknowledged");
    }
}

/// A C string of a name; names with NUL exist nowhere in Kafka.
pub(super) fn c_string(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}
