//! What the process says of itself: readiness, notes for its operator, and the state that clients are told.

use tokio::sync::watch;

use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicBool, Ordering};

/// How the way from Kafka fares. Clients see a change as `tailrace.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Kafka answers and the tail is near its end.
    Ok,
    /// The tail is behind Kafka's end.
    Lagging,
    /// No broker answers.
    KafkaUnavailable,
}

impl Status {
    /// The stable code that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Lagging => "lagging",
            Status::KafkaUnavailable => "kafka_unavailable",
        }
    }
}

/// What `/readyz` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether streams may begin.
    pub ready: bool,
    /// Why it is not ready, in words for an operator; empty when it is.
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
    /// Why this process, and not its like, cannot read.
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

    /// Whether streams may begin, and the words for it.
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

    /// The tail is warm. Latched: a lost broker must not take every replica out of a balancer, so only draining undoes it, and
    /// [`Health::set_blocked`] for a time.
    pub fn set_ready(&self) {
        self.warm.store(true, Ordering::Release);
    }

    /// Whether [`Health::set_ready`] was called.
    pub fn is_warm(&self) -> bool {
        self.warm.load(Ordering::Acquire)
    }

    /// Says why the process is not ready yet.
    pub fn set_reasons(&self, reasons: Vec<String>) {
        *self.reasons.lock() = reasons;
    }

    /// Says why this process cannot read though Kafka answers it and another replica reads: a balancer should choose that one.
    /// Streams that are open stay open, and new ones are still taken. None: it reads.
    pub fn set_blocked(&self, blocked: Option<String>) {
        *self.blocked.lock() = blocked;
    }

    /// Says what else an operator should know.
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

    /// Tells every stream how the way from Kafka fares. No change, no news.
    pub fn set_status(&self, status: Status) {
        self.status.send_if_modified(|known| std::mem::replace(known, status) != status);
    }

    /// The state now.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// A receiver of changes.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }
}
