//! Certificate, key and trusted authorities, from PEM files to what rustls uses.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ProducesTickets, ServerConfig, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use x509_cert::der::Decode as _;

use crate::whole_file::read_whole;

pub(crate) const CERT_FILE: &str = "TAILRACE_TLS_CERT_FILE";
pub(crate) const KEY_FILE: &str = "TAILRACE_TLS_KEY_FILE";
pub(crate) const CLIENT_CA_FILE: &str = "TAILRACE_TLS_CLIENT_CA_FILE";

/// The protocols that are offered, the preferred one first (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// The largest file, in bytes: a chain has a few KiB, all authorities of the web have a quarter of a MiB.
const MAX_FILE: u64 = 4 << 20;

/// Where certificate and key are, and the authorities of clients' certificates where clients need one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: Option<PathBuf>,
}

/// A file that cannot be used. The message never repeats what is in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={path:?}: {reason}")]
pub(crate) struct FileError {
    pub(crate) variable: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) reason: String,
}

/// The bytes of all files.
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What the files hold, checked: the chain, its key, and who may sign clients' certificates.
pub(super) struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Option<RootCertStore>,
    /// When the first certificate of the chain expires, since 1970.
    pub(super) expires: Duration,
}

/// Recognizes whether files are the same as before, without keeping a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprints {
    pub(super) pair: u64,
    pub(super) client_ca: u64,
}

impl TlsFiles {
    /// Reads and checks all files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub(crate) fn check(&self) -> Result<(), FileError> {
        let tickets = aws_lc_rs::Ticketer::new().map_err(|error| self.wrong_cert(&error))?;
        self.parse(&self.read()?)?.config(self, tickets).map(|_| ())
    }

    pub(super) fn read(&self) -> Result<Contents, FileError> {
        let client_ca = self.client_ca.as_deref().map(|path| read(CLIENT_CA_FILE, path)).transpose()?;
        Ok(Contents { cert: read(CERT_FILE, &self.cert)?, key: read(KEY_FILE, &self.key)?, client_ca })
    }

    pub(super) fn parse(&self, contents: &Contents) -> Result<Pair, FileError> {
        let chain = certificates(CERT_FILE, &self.cert, &contents.cert)?;
        let expires = expiry(&chain[0]).map_err(|error| self.wrong_cert(&error))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| FileError {
            variable: KEY_FILE,
            path: self.key.clone(),
            reason: "it has no private key in PEM (PKCS#8, PKCS#1 or SEC1, without a passphrase)".to_owned(),
        })?;
        let authorities = match (&self.client_ca, &contents.client_ca) {
            (Some(path), Some(bytes)) => Some(authorities(path, bytes)?),
            _ => None,
        };
        Ok(Pair { chain, key, authorities, expires })
    }

    fn wrong_cert(&self, error: &dyn std::fmt::Display) -> FileError {
        FileError { variable: CERT_FILE, path: self.cert.clone(), reason: error.to_string() }
    }
}

impl Contents {
    pub(super) fn fingerprints(&self, hasher: &RandomState) -> Fingerprints {
        Fingerprints {
            pair: hasher.hash_one((&self.cert, &self.key)),
            client_ca: hasher.hash_one(&self.client_ca),
        }
    }
}

impl Pair {
    pub(super) fn has_expired(&self) -> bool {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|now| now > self.expires)
    }

    /// What handshakes use. A key that does not belong to the certificate is an error.
    pub(super) fn config(
        self,
        files: &TlsFiles,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<ServerConfig, FileError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| files.wrong_cert(&error))?;
        let builder = match self.authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| files.wrong_cert(&error))?)
            }
        };
        let mut config = builder.with_single_cert(self.chain, self.key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                files.wrong_cert(&format!("the key of {KEY_FILE} is not its key"))
            }
            error => files.wrong_cert(&format!("with the key of {KEY_FILE}: {error}")),
        })?;
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        // A ticket holds the session, sealed with a key of this process: nothing is kept here for who may come back.
        config.ticketer = tickets;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        // Each is about 200 bytes and a computation; a client that reconnects needs one.
        config.send_tls13_tickets = 1;
        // Streams go on without rustls.
        config.enable_secret_extraction = true;
        // Early data could be sent again by who recorded it.
        config.max_early_data_size = 0;
        Ok(config)
    }
}

fn read(variable: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    let wrong = |reason: String| FileError { variable, path: path.to_owned(), reason };
    read_whole(path, MAX_FILE).map_err(|error| wrong(error.to_string()))
}

fn certificates(
    variable: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let wrong = |reason: String| FileError { variable, path: path.to_owned(), reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong("it is not in PEM".to_owned()))?;
    if chain.is_empty() {
        return Err(wrong("it has no certificate in PEM".to_owned()));
    }
    Ok(chain)
}

fn authorities(path: &Path, pem: &[u8]) -> Result<RootCertStore, FileError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(CLIENT_CA_FILE, path, pem)? {
        store.add(certificate).map_err(|error| FileError {
            variable: CLIENT_CA_FILE,
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(store)
}

fn expiry(certificate: &CertificateDer<'_>) -> Result<Duration, x509_cert::der::Error> {
    let certificate = x509_cert::Certificate::from_der(certificate)?;
    Ok(certificate.tbs_certificate.validity.not_after.to_unix_duration())
}
