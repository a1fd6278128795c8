//! An authority, and the certificates that it signs.
// Each test is a program of its own and uses a part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// The files of a server in a folder of their own.
pub(crate) struct Files {
    folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server on this machine, or one of its clients.
    pub(crate) fn issue(&self) -> Issued {
        self.issue_until(4000)
    }

    /// Valid until the first of January of that year.
    pub(crate) fn issue_until(&self, year: i32) -> Issued {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Issued { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// What a client needs that trusts this authority.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_auth_cert(vec![own.cert_der()], own.key_der()).unwrap(),
        }
    }
}

impl Issued {
    pub(crate) fn cert_der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

impl Files {
    pub(crate) fn of(issued: &Issued) -> Files {
        let files = Files { folder: tempfile::tempdir().unwrap() };
        files.put_cert(&issued.cert);
        files.put_key(&issued.key);
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn put_cert(&self, pem: &str) {
        replace(&self.path("cert.pem"), pem);
    }

    pub(crate) fn put_key(&self, pem: &str) {
        replace(&self.path("key.pem"), pem);
    }

    pub(crate) fn put_ca(&self, pem: &str) {
        replace(&self.path("ca.pem"), pem);
    }

    pub(crate) fn flags(&self) -> Vec<String> {
        let path = |name| self.path(name).display().to_string();
        vec!["--tls-cert-file".into(), path("cert.pem"), "--tls-key-file".into(), path("key.pem")]
    }
}

fn replace(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
