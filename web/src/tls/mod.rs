//! TLS: the certificate's files, and what a connection needs after its handshake.
//!
//! [`files`] reads certificate and key from their files; [`certificate`] holds what handshakes use, and reads the files again
//! when they change; [`record_layer`] encrypts and decrypts for a connection whose handshake is over. The handshakes themselves
//! are the server's.

mod certificate;
mod files;
#[cfg(test)]
pub(crate) mod lab;
#[cfg(test)]
#[path = "../../tests/support/pki.rs"]
pub(crate) mod pki;
mod record_layer;

pub(crate) use certificate::Certificate;
pub(crate) use files::{CERT_FILE, CLIENT_CA_FILE, KEY_FILE, TlsFiles};
pub(crate) use record_layer::{Received, RecordLayer, drop_plaintext};
