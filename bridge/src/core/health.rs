//! What the process reports about itself: readiness, notes for its operator, and the status that clients see.

use tokio::sync::watch;

use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicBool, Ordering};

/// The state of reading from Kafka. Clients see a change as `tailrace.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Kafka answers, and the tail is near Kafka's end.
    Ok,
    /// The tail is behind Kafka's end.
    Lagging,
    /// No broker answers.
    KafkaUnavailable,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 3] = [Status::Ok, Status::Lagging, Status::KafkaUnavailable];

    /// The stable code that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Lagging => "lagging",
            Status::KafkaUnavailable => "kafka_unavailable",
        }
    }
}

/// The content of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether streams may begin.
    pub ready: bool,
    /// Why it is not ready, in words for an operator; empty if it is ready.
    pub reasons: Vec<String>,
    /// What else an operator should know: missing topics, lag, the broker's state.
    pub notes: Vec<String>,
}

/// The shared state behind readiness and status.
#[derive(Debug)]
pub struct Health {
    warm: AtomicBool,
    draining: AtomicBool,
    reasons: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
    /// Why this process cannot read, although other replicas can.
    blocked: Mutex<Option<String>>,
    status: watch::Sender<Status>,
}

impl Health {
    pub(crate) fn new() -> Health {
        Health {
            warm: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            reasons: Mutex::new(vec!["not connected to Kafka yet".to_owned()]),
            notes: Mutex::new(Vec::new()),
            blocked: Mutex::new(None),
            status: watch::Sender::new(Status::Ok),
        }
    }

    /// Whether streams may begin, and why not.
    pub fn readiness(&self) -> Readiness {
        let draining = self.is_draining();
        let blocked = self.blocked.lock().clone();
        let ready = self.is_warm() && !draining && blocked.is_none();
        let reasons = match (ready, draining, blocked) {
            (true, _, _) => Vec::new(),
            (false, true, _) => vec!["draining: this process is about to stop".to_owned()],
            (false, false, Some(blocked)) if self.is_warm() => vec![blocked],
            (false, false, _) => self.reasons.lock().clone(),
        };
        Readiness { ready, reasons, notes: self.notes.lock().clone() }
    }

    /// The tail is warm. Latched: a lost broker must not take every replica out of a load balancer. Only draining undoes it,
    /// and, for a time, [`Health::set_blocked`].
    pub fn set_ready(&self) {
        self.warm.store(true, Ordering::Release);
    }

    /// Whether [`Health::set_ready`] was called.
    pub fn is_warm(&self) -> bool {
        self.warm.load(Ordering::Acquire)
    }

    /// Sets why the process is not ready yet.
    pub fn set_reasons(&self, reasons: Vec<String>) {
        *self.reasons.lock() = reasons;
    }

    /// Sets why this process cannot read, although Kafka answers it and another replica reads: a load balancer should choose
    /// that replica. Open streams stay open, and new ones are still accepted. `None`: this process reads.
    pub fn set_blocked(&self, blocked: Option<String>) {
        *self.blocked.lock() = blocked;
    }

    /// Sets what else an operator should know.
    pub fn set_notes(&self, notes: Vec<String>) {
        *self.notes.lock() = notes;
    }

    /// The process is about to stop: not ready from now on.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether [`Health::set_draining`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Sets the status, and notifies every stream if it has changed.
    pub fn set_status(&self, status: Status) {
        self.status.send_if_modified(|known| std::mem::replace(known, status) != status);
    }

    /// The status now.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// A receiver of changes of the status.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }
}
