//! The client for requests to the cluster, and its replacement once it gets no answers any more.
//!
//! A client of librdkafka can lose the cluster for good: where an answer names no broker, as that of a broker which is fenced
//! for a moment does, it forgets all brokers that it knew and does not go back to the bootstrap servers (its issue 5301). Nor
//! does it resolve the bootstrap names again while brokers that it knew merely do not answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::error::KafkaError;
use crate::native::{Client, Role};
use crate::properties;
use crate::settings::KafkaSettings;

/// A client that gets no answer for the first of these is replaced; each next one is given twice as long, up to the second. The
/// first is shorter than the timeout of a request: one that is not answered is enough.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(32));

/// Holds the client, and makes the next one.
pub(crate) struct Admin {
    settings: Arc<KafkaSettings>,
    client: RwLock<Arc<Client>>,
    silence: Mutex<Option<Silence>>,
}

/// Requests that have failed, and none has succeeded since.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// When the first was sent, or the client was made.
    since: Instant,
    patience: Duration,
}

impl Silence {
    /// Whether the client is to be given up.
    fn is_over(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) < self.patience {
            return false;
        }
        (self.since, self.patience) = (now, (self.patience * 2).min(PATIENCE.1));
        true
    }
}

impl Admin {
    /// # Errors
    /// Properties that make no client.
    pub(crate) fn new(settings: Arc<KafkaSettings>) -> Result<Admin, KafkaError> {
        let client = RwLock::new(Arc::new(make(&settings)?));
        Ok(Admin { settings, client, silence: Mutex::new(None) })
    }

    /// The client for one request. It is not to be kept: the next request may need its replacement.
    pub(crate) fn client(&self) -> Arc<Client> {
        self.client.read().clone()
    }

    /// Kafka has answered. True where requests had failed before.
    pub(crate) fn answered(&self) -> bool {
        self.silence.lock().take().is_some()
    }

    /// A request failed that was sent at `asked`. Makes a new client where requests have failed for long.
    pub(crate) fn failed(&self, asked: Instant, now: Instant) {
        let mut silence = self.silence.lock();
        let silence = silence.get_or_insert(Silence { since: asked, patience: PATIENCE.0 });
        if !silence.is_over(now) {
            return;
        }
        match make(&self.settings) {
            Ok(new) => {
                tracing::debug!("a new client sends the requests to Kafka");
                let old = std::mem::replace(&mut *self.client.write(), Arc::new(new));
                // Closing a client without a connection may take long.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => tracing::warn!(%error, "no new client could be made for requests to Kafka"),
        }
    }
}

fn make(settings: &KafkaSettings) -> Result<Client, KafkaError> {
    Client::new(&properties::admin(settings), Role::Admin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_given_up_ever_less_often() {
        let start = Instant::now();
        let mut silence = Silence { since: start, patience: PATIENCE.0 };
        let given_up = (0..140).filter(|second| silence.is_over(start + Duration::from_secs(*second)));
        assert_eq!(given_up.collect::<Vec<_>>(), [2, 6, 14, 30, 62, 94, 126]);
    }
}
