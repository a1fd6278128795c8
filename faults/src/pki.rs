//! Two authorities, the files of the certificate that replicas serve with, and what clients trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// The name that clients expect in a certificate.
pub const HOST: &str = "localhost";

/// The certificate that all replicas of a trial serve with.
pub struct Pki {
    /// Clients trust both, so that a certificate can be replaced by one of another authority.
    authorities: [CertifiedIssuer<'static, KeyPair>; 2],
    folder: TempDir,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    pub certificate: CertificateDer<'static>,
    pub pem: String,
    pub key: String,
}

impl Pki {
    /// Writes the files of a first certificate.
    pub fn new() -> Result<Pki> {
        let authorities = [authority("the suite's authority")?, authority("the suite's other authority")?];
        let pki = Pki { authorities, folder: tempfile::tempdir().context("create a folder")? };
        let first = pki.issue(0)?;
        pki.put_certificate(&first.pem)?;
        pki.put_key(&first.key)?;
        Ok(pki)
    }

    /// A new certificate of one of the two authorities, with a key of its own.
    pub fn issue(&self, authority: usize) -> Result<Issued> {
        let params = CertificateParams::new(vec![HOST.to_owned()]).context("name a certificate")?;
        let key = KeyPair::generate().context("generate a key")?;
        let signed = params.signed_by(&key, &self.authorities[authority]).context("sign a certificate")?;
        Ok(Issued { certificate: signed.der().clone(), pem: signed.pem(), key: key.serialize_pem() })
    }

    pub fn put_certificate(&self, pem: &str) -> Result<()> {
        replace(&self.path("certificate.pem"), pem)
    }

    pub fn put_key(&self, pem: &str) -> Result<()> {
        replace(&self.path("key.pem"), pem)
    }

    /// The certificate in the file, whether a replica serves with it or not.
    pub fn certificate(&self) -> Result<CertificateDer<'static>> {
        CertificateDer::from_pem_file(self.path("certificate.pem")).context("read the certificate")
    }

    /// The settings of a replica that serves with the files.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let path = |name| self.path(name).display().to_string();
        vec![("TAILRACE_TLS_CERT_FILE", path("certificate.pem")), ("TAILRACE_TLS_KEY_FILE", path("key.pem"))]
    }

    /// Settings of one client, with a cache of its own for tickets, which it uses to resume. TLS 1.2 or 1.3.
    pub fn client(&self, is_older: bool) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.der().clone()).context("trust an authority")?;
        }
        let version = if is_older { &TLS12 } else { &TLS13 };
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .context("choose a version of TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new()).context("name an authority")?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().context("generate a key")?;
    CertifiedIssuer::self_signed(params, key).context("sign an authority")
}

/// Writes over the old file, as an editor or a copy does: for a moment the file has a part of its content.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
