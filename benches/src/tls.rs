//! A certificate for a server on this machine, and clients that trust it.

use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{
    self, cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, NamedGroup, RootCertStore};
use tempfile::TempDir;

use crate::server::Setting;

/// The files of a server, and the tickets that its clients have got.
pub(crate) struct Tls {
    folder: TempDir,
    config: Arc<ClientConfig>,
    tickets: Arc<Tickets>,
}

/// The tickets of all clients, each to be used once, as a browser does.
#[derive(Debug, Default)]
struct Tickets {
    got: Mutex<Vec<Tls13ClientSessionValue>>,
    /// For connections from now on.
    usable: Mutex<Vec<Tls13ClientSessionValue>>,
}

impl Tls {
    pub(crate) fn new() -> Result<Tls> {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).context("name a certificate")?;
        let key = KeyPair::generate().context("generate a key")?;
        let certificate = params.self_signed(&key).context("sign a certificate")?;
        let folder = tempfile::tempdir().context("create a folder")?;
        fs::write(folder.path().join("cert.pem"), certificate.pem()).context("write a certificate")?;
        fs::write(folder.path().join("key.pem"), key.serialize_pem()).context("write a key")?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).context("trust a certificate")?;
        let config = ClientConfig::builder_with_provider(Arc::new(as_browsers()));
        let config = config.with_protocol_versions(&[&TLS13]).context("speak TLS 1.3")?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        let tickets = Arc::new(Tickets::default());
        config.resumption = Resumption::store(Arc::clone(&tickets) as _);
        Ok(Tls { folder, config: Arc::new(config), tickets })
    }

    /// Of a client, which uses a ticket if there is one that [`Tls::use_tickets`] has allowed.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// New connections may use the tickets of all connections until now.
    pub(crate) fn use_tickets(&self) {
        lock(&self.tickets.usable).append(&mut lock(&self.tickets.got));
    }

    pub(crate) fn certificate(&self) -> Result<String> {
        self.path("cert.pem")
    }

    pub(crate) fn key(&self) -> Result<String> {
        self.path("key.pem")
    }

    fn path(&self, name: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        path.into_os_string().into_string().ok().context("the temporary folder's name is not UTF-8")
    }
}

/// The cipher suites in the order of Chrome and Firefox, which the server follows.
fn as_browsers() -> CryptoProvider {
    let suites =
        [TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_256_GCM_SHA384].to_vec();
    CryptoProvider { cipher_suites: suites, ..aws_lc_rs::default_provider() }
}

/// The settings of a server that has both files.
pub(crate) fn settings<'a>(certificate: &'a str, key: &'a str) -> [Setting<'a>; 2] {
    [("TAILRACE_TLS_CERT_FILE", certificate), ("TAILRACE_TLS_KEY_FILE", key)]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientSessionStore for Tickets {
    /// No group is preferred: a client always offers what it would offer at first.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        lock(&self.got).push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        lock(&self.usable).pop()
    }
}
