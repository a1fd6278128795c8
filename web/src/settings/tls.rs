//! Settings of TLS: the certificate, its key, and who may sign clients' certificates.

use std::path::PathBuf;

use super::SettingError;
use super::value::wrong;
use crate::tls::{CERT_FILE, CLIENT_CA_FILE, KEY_FILE, TlsFiles};

#[derive(Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// PEM file with the server's certificate and its chain: streams are served over TLS. Read again when it changes
    #[arg(long = "tls-cert-file", env = "TAILRACE_TLS_CERT_FILE", default_value = "", value_name = "PATH")]
    tls_cert_file: String,
    /// PEM file with the certificate's private key. Read again when it changes
    #[arg(long = "tls-key-file", env = "TAILRACE_TLS_KEY_FILE", default_value = "", value_name = "PATH")]
    tls_key_file: String,
    /// PEM file with the authorities of clients' certificates: only clients with such a certificate are let in
    #[arg(
        long = "tls-client-ca-file",
        env = "TAILRACE_TLS_CLIENT_CA_FILE",
        default_value = "",
        value_name = "PATH"
    )]
    tls_client_ca_file: String,
}

impl Args {
    /// The files, read once to see that they can be used; `None`: no TLS.
    pub(super) fn files(&self) -> Result<Option<TlsFiles>, SettingError> {
        let path = |value: &str| (!value.is_empty()).then(|| PathBuf::from(value));
        let client_ca = path(&self.tls_client_ca_file);
        let files = match (path(&self.tls_cert_file), path(&self.tls_key_file)) {
            (None, None) if client_ca.is_none() => return Ok(None),
            (None, None) => {
                return Err(wrong(
                    CLIENT_CA_FILE,
                    &self.tls_client_ca_file,
                    format!("a file beside {CERT_FILE} and {KEY_FILE}, which are not set"),
                ));
            }
            (Some(_), None) => {
                return Err(wrong(KEY_FILE, "", format!("the key of {CERT_FILE}, which is set")));
            }
            (None, Some(_)) => {
                return Err(wrong(CERT_FILE, "", format!("the certificate of {KEY_FILE}, which is set")));
            }
            (Some(cert), Some(key)) => TlsFiles { cert, key, client_ca },
        };
        files.check().map_err(|error| SettingError {
            variable: error.variable,
            value: error.path.display().to_string(),
            accepted: format!("a PEM file that can be used; this one cannot: {}", error.reason),
        })?;
        Ok(Some(files))
    }
}
