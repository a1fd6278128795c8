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
use crate::audit;
use crate::reload::{Looks, Settling};

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
    seen: Settling<Seen>,
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
        mut looks: Looks,
    ) -> Result<(Arc<Certificate>, impl Future<Output = ()> + Send + 'static), FileError> {
        let (certificate, mut watch) = Watch::begin(files)?;
        let watching = async move {
            loop {
                let was_asked = looks.next().await;
                // Files may be on a disk that does not answer.
                let look = tokio::task::spawn_blocking(move || {
                    watch.look(was_asked);
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

    /// Whether clients need a certificate, too.
    pub(crate) fn asks_clients(&self) -> bool {
        self.files.client_ca.is_some()
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
            seen: Settling::new(Ok(seen)),
            client_ca: seen.client_ca,
            tickets,
        };
        Ok((certificate, watch))
    }

    /// Takes or refuses changed files. Returns whether there were any.
    fn look(&mut self, was_asked: bool) -> bool {
        let contents = self.certificate.files.read();
        let found = match &contents {
            Ok(contents) => Ok(contents.fingerprints(&self.certificate.hasher)),
            Err(error) => Err(error.clone()),
        };
        if !self.seen.is_new(found, was_asked) {
            return false;
        }
        let taken = contents.and_then(|contents| {
            let pair = self.certificate.files.parse(&contents)?;
            let (expires, has_expired) = (pair.expires, pair.has_expired());
            self.renew_tickets(&contents.fingerprints(&self.certificate.hasher))?;
            let config = pair.config(&self.certificate.files, Arc::clone(&self.tickets))?;
            *self.certificate.current.write() = Arc::new(config);
            say_expiry(expires, has_expired);
            Ok(())
        });
        say_reload(taken, was_asked);
        true
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

fn say_reload(taken: Result<(), FileError>, was_asked: bool) {
    let result = if taken.is_ok() { "taken" } else { "refused" };
    counter!("tailrace_tls_reloads_total", "result" => result).increment(1);
    let taken = taken.map_err(|error| format!("the old certificate stays: {error}"));
    audit::reloaded(CERT_FILE, was_asked, taken.as_ref().map_err(String::as_str).copied());
}

#[cfg(test)]
mod tests {
    use rustls::ClientConnection;
    use rustls::server::ServerConnection;

    use super::super::files::KEY_FILE;
    use super::*;
    use crate::tls::lab::shake;
    use crate::tls::pki::{Authority, Files, Issued};

    /// A server's files under watch.
    struct Lab {
        authority: Authority,
        files: Files,
        certificate: Arc<Certificate>,
        watch: Watch,
    }

    impl Lab {
        fn new(client_ca: Option<&Authority>) -> Lab {
            let authority = Authority::new();
            let files = Files::of(&authority.issue());
            if let Some(ca) = client_ca {
                files.put_ca(&ca.pem());
            }
            let path = |name| files.path(name);
            let paths = TlsFiles {
                cert: path("cert.pem"),
                key: path("key.pem"),
                client_ca: client_ca.map(|_| path("ca.pem")),
            };
            let (certificate, watch) = Watch::begin(paths).unwrap();
            Lab { authority, files, certificate, watch }
        }

        /// What comes of two looks; how often the certificate in use was replaced.
        fn looks(&mut self) -> usize {
            let mut replaced = 0;
            for _ in 0..2 {
                let before = self.certificate.config();
                self.watch.look(false);
                replaced += usize::from(!Arc::ptr_eq(&before, &self.certificate.config()));
            }
            replaced
        }

        fn serves(&self, issued: &Issued) -> bool {
            let client = Arc::new(self.authority.client(rustls::ALL_VERSIONS, None));
            let (_, client) = connect(&self.certificate, client).unwrap();
            client.peer_certificates().unwrap() == [issued.cert_der()]
        }
    }

    fn connect(
        certificate: &Certificate,
        client: Arc<rustls::ClientConfig>,
    ) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
        let mut server = ServerConnection::new(certificate.config()).unwrap();
        let mut client = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
        shake(&mut server, &mut client).map(|()| (server, client))
    }

    #[test]
    fn a_new_pair_is_taken_once_and_what_is_the_same_is_not() {
        let mut lab = Lab::new(None);
        assert_eq!(lab.looks(), 0);
        let new = lab.authority.issue();
        lab.files.put_cert(&new.cert);
        lab.files.put_key(&new.key);
        assert_eq!(lab.looks(), 1);
        assert!(lab.serves(&new));
        assert_eq!(lab.looks(), 0);
        // Written again, with the same content.
        lab.files.put_cert(&new.cert);
        assert_eq!(lab.looks(), 0);
    }

    /// Whatever is wrong with the files: the old certificate stays, and a right pair is taken afterwards.
    #[test]
    fn what_cannot_be_used_is_refused_whole_and_the_old_pair_stays() {
        let mut lab = Lab::new(None);
        let old = Issued {
            cert: std::fs::read_to_string(lab.files.path("cert.pem")).unwrap(),
            key: std::fs::read_to_string(lab.files.path("key.pem")).unwrap(),
        };
        let other = lab.authority.issue();
        let half = |text: &str| text[..text.len() / 2].to_owned();
        let wrong: [(&str, String, String); 8] = [
            ("a certificate with the old key", other.cert.clone(), old.key.clone()),
            ("the old certificate with a key", old.cert.clone(), other.key.clone()),
            ("half a certificate", half(&other.cert), other.key.clone()),
            ("half a key", other.cert.clone(), half(&other.key)),
            ("nothing", String::new(), String::new()),
            ("a key for a certificate", other.key.clone(), other.key.clone()),
            ("a certificate for a key", other.cert.clone(), other.cert.clone()),
            ("garbage", "\0\u{1f600}".repeat(1000), other.key.clone()),
        ];
        for (what, cert, key) in wrong {
            lab.files.put_cert(&cert);
            lab.files.put_key(&key);
            assert_eq!((lab.looks(), lab.looks()), (0, 0), "{what}");
            assert!(lab.serves(&old), "{what}");
        }
        std::fs::remove_file(lab.files.path("key.pem")).unwrap();
        assert_eq!(lab.looks(), 0);
        assert!(lab.serves(&old));
        lab.files.put_cert(&other.cert);
        lab.files.put_key(&other.key);
        assert_eq!(lab.looks(), 1);
        assert!(lab.serves(&other));
    }

    /// The two files are not replaced at the same moment.
    #[test]
    fn files_that_are_being_written_are_left_alone() {
        let mut lab = Lab::new(None);
        let new = lab.authority.issue();
        lab.files.put_cert(&new.cert);
        assert!(!lab.watch.look(false), "half of a change was tried");
        lab.files.put_key(&new.key);
        assert!(!lab.watch.look(false), "half of a change was tried");
        assert!(lab.watch.look(false));
        assert!(lab.serves(&new));
    }

    #[test]
    fn a_message_never_repeats_a_key() {
        let authority = Authority::new();
        let (one, other) = (authority.issue(), authority.issue());
        let files = Files::of(&Issued { cert: one.cert, key: other.key.clone() });
        let paths = TlsFiles { cert: files.path("cert.pem"), key: files.path("key.pem"), client_ca: None };
        let said = paths.check().unwrap_err().to_string();
        assert!(said.contains(KEY_FILE) && said.contains("cert.pem"), "{said}");
        assert!(other.key.lines().all(|line| !said.contains(line)), "{said}");
    }

    #[test]
    fn a_client_that_comes_back_resumes_although_the_certificate_was_replaced() {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut lab = Lab::new(None);
            let client = Arc::new(lab.authority.client(&[version], None));
            connect(&lab.certificate, client.clone()).unwrap();
            let (server, _) = connect(&lab.certificate, client.clone()).unwrap();
            assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
            let new = lab.authority.issue();
            lab.files.put_cert(&new.cert);
            lab.files.put_key(&new.key);
            assert_eq!(lab.looks(), 1);
            let (server, _) = connect(&lab.certificate, client).unwrap();
            assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
        }
    }

    /// A ticket would let its holder in without a look at its certificate.
    #[test]
    fn a_ticket_is_worth_nothing_once_its_holders_authority_is_no_longer_trusted() {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let (trusted, next) = (Authority::new(), Authority::new());
            let mut lab = Lab::new(Some(&trusted));
            let client = Arc::new(lab.authority.client(&[version], Some(&trusted.issue())));
            connect(&lab.certificate, client.clone()).unwrap();
            let (server, _) = connect(&lab.certificate, client.clone()).unwrap();
            assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
            lab.files.put_ca(&next.pem());
            assert_eq!(lab.looks(), 1);
            assert!(connect(&lab.certificate, client).is_err(), "it is let in");
            let client = Arc::new(lab.authority.client(&[version], Some(&next.issue())));
            connect(&lab.certificate, client).unwrap();
        }
    }

    #[test]
    fn early_data_is_neither_offered_nor_taken() {
        let lab = Lab::new(None);
        let mut client = lab.authority.client(&[&rustls::version::TLS13], None);
        client.enable_early_data = true;
        let client = Arc::new(client);
        connect(&lab.certificate, client.clone()).unwrap();
        let mut again = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
        assert!(again.early_data().is_none());
        assert_eq!(lab.certificate.config().max_early_data_size, 0);
    }

    #[test]
    fn the_expiry_of_the_first_certificate_is_known() {
        let authority = Authority::new();
        for (year, has_expired) in [(2001, true), (3001, false)] {
            let issued = authority.issue_until(year);
            let files = Files::of(&Issued { cert: issued.cert.clone() + &authority.pem(), key: issued.key });
            let paths =
                TlsFiles { cert: files.path("cert.pem"), key: files.path("key.pem"), client_ca: None };
            let pair = paths.parse(&paths.read().unwrap()).unwrap();
            assert_eq!(pair.has_expired(), has_expired);
            let years = pair.expires.as_secs_f64() / (365.2425 * 86_400.0) + 1970.0;
            assert!((years - f64::from(year)).abs() < 0.1, "{years}");
        }
    }
}
