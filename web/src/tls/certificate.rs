//! The certificate in use, and its replacement: the files are read again when they change, and what cannot be used is refused
//! whole, while the old certificate stays.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use parking_lot::RwLock;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ProducesTickets, ServerConfig};

use super::files::{CERT_FILE, FileError, Fingerprints, TlsFiles};

/// How often the files are read.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What new handshakes use. Handshakes and streams under way keep what they began with.
pub(crate) struct Certificate {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    hasher: RandomState,
}

/// The files as they were last seen; `Err`: a file could not be read.
type Seen = Result<Fingerprints, FileError>;

/// Looks at the files again and again.
struct Watch {
    certificate: Arc<Certificate>,
    /// What was last taken or refused.
    tried: Seen,
    /// What the last look has found.
    seen: Seen,
    /// The authorities for whose clients the tickets are.
    client_ca: u64,
    tickets: Arc<dyn ProducesTickets>,
}

impl Certificate {
    /// Reads the files; the future watches them, and never ends.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub(crate) fn load(
        files: TlsFiles,
    ) -> Result<(Arc<Certificate>, impl Future<Output = ()> + Send + 'static), FileError> {
        let (certificate, mut watch) = Watch::begin(files)?;
        let watching = async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                // Files may be on a disk that does not answer.
                let look = tokio::task::spawn_blocking(move || {
                    watch.look();
                    watch
                });
                watch = match look.await {
                    Ok(watch) => watch,
                    Err(error) => {
                        tracing::error!(%error, "the files of the certificate are not watched any more");
                        return std::future::pending().await;
                    }
                };
            }
        };
        Ok((certificate, watching))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read())
    }
}

impl Watch {
    fn begin(files: TlsFiles) -> Result<(Arc<Certificate>, Watch), FileError> {
        let hasher = RandomState::new();
        let tickets = new_tickets(&files)?;
        let contents = files.read()?;
        let pair = files.parse(&contents)?;
        say_expiry(pair.expires, pair.has_expired());
        let current = pair.config(&files, Arc::clone(&tickets))?;
        let seen = contents.fingerprints(&hasher);
        let certificate = Arc::new(Certificate { files, current: RwLock::new(Arc::new(current)), hasher });
        let watch = Watch {
            certificate: Arc::clone(&certificate),
            tried: Ok(seen),
            seen: Ok(seen),
            client_ca: seen.client_ca,
            tickets,
        };
        Ok((certificate, watch))
    }

    /// Takes changed files, once two looks have found the same: files that are being written are left alone.
    fn look(&mut self) {
        let contents = self.certificate.files.read();
        let found = match &contents {
            Ok(contents) => Ok(contents.fingerprints(&self.certificate.hasher)),
            Err(error) => Err(error.clone()),
        };
        let is_settled = found == self.seen;
        self.seen = found.clone();
        if !is_settled || found == self.tried {
            return;
        }
        self.tried = found.clone();
        let taken = contents.and_then(|contents| {
            let pair = self.certificate.files.parse(&contents)?;
            let (expires, has_expired) = (pair.expires, pair.has_expired());
            self.renew_tickets(&contents.fingerprints(&self.certificate.hasher))?;
            let config = pair.config(&self.certificate.files, Arc::clone(&self.tickets))?;
            *self.certificate.current.write() = Arc::new(config);
            say_expiry(expires, has_expired);
            Ok(())
        });
        say_reload(taken);
    }

    /// A ticket lets its client in without a look at its certificate: tickets end with the authorities that they were given
    /// under. A new certificate of the server leaves them valid.
    fn renew_tickets(&mut self, found: &Fingerprints) -> Result<(), FileError> {
        if found.client_ca != self.client_ca {
            self.tickets = new_tickets(&self.certificate.files)?;
            self.client_ca = found.client_ca;
        }
        Ok(())
    }
}

/// Keys for tickets, which are this process's alone, and are replaced every six hours.
fn new_tickets(files: &TlsFiles) -> Result<Arc<dyn ProducesTickets>, FileError> {
    Ticketer::new().map_err(|error| FileError {
        variable: CERT_FILE,
        path: files.cert.clone(),
        reason: format!("no keys for tickets: {error}"),
    })
}

fn say_expiry(expires: Duration, has_expired: bool) {
    gauge!("tailrace_tls_certificate_expiry_timestamp_seconds").set(expires.as_secs_f64());
    if has_expired {
        tracing::warn!("the certificate of {CERT_FILE} has expired: clients refuse it");
    }
}

fn say_reload(taken: Result<(), FileError>) {
    let result = if taken.is_ok() { "taken" } else { "refused" };
    counter!("tailrace_tls_reloads_total", "result" => result).increment(1);
    match taken {
        Ok(()) => tracing::info!("the certificate's files have changed: new connections get the new one"),
        Err(error) => {
            tracing::warn!(%error, "the certificate's files have changed and cannot be used: the old ones stay");
        }
    }
}
