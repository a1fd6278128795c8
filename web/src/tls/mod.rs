//! TLS: the certificate's files, and what a connection needs after its handshake.
//!
//! [`files`] reads certificate and key from their files; [`certificate`] holds what handshakes use, and reads the files again
//! when they change; [`connection`] is what handshakes and requests use, and gives its keys to [`record_layer`], which
//! encrypts for a stream: by [`traffic`], or, where that cannot be, by rustls. The handshakes themselves are the server's.

mod certificate;
mod connection;
mod files;
#[cfg(test)]
pub(crate) mod lab;
#[cfg(test)]
#[path = "../../tests/support/pki.rs"]
pub(crate) mod pki;
mod record_layer;
mod traffic;

pub(crate) use certificate::Certificate;
pub(crate) use connection::Connection;
pub(crate) use files::{CERT_FILE, CLIENT_CA_FILE, KEY_FILE, TlsFiles};
pub(crate) use record_layer::{Layer, Received, RecordLayer};
