//! A connection as rustls has it: during the handshake, and for as long as requests are answered on it.

use std::io::{self, Read};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::server::{ServerConfig, ServerConnection};
use rustls::{KeyLog, ProtocolVersion};

use super::record_layer::Layer;
use super::traffic::{Secret, Traffic};

/// A rustls connection, and what it does not tell later.
pub(crate) struct Connection {
    rustls: ServerConnection,
    secrets: Arc<Secrets>,
    boundary: Boundary,
}

/// The traffic secrets of one connection (RFC 8446, section 7.1), from which the keys after a key update are derived. rustls
/// gives them to a key log alone.
#[derive(Default)]
struct Secrets(Mutex<[Option<Secret>; 2]>);

/// Where in a record the bytes end that have come so far.
#[derive(Default)]
struct Boundary {
    /// As much as there is of the next header.
    header: [u8; 5],
    filled: usize,
    /// What is missing of the record whose header is there.
    left: usize,
}

impl Connection {
    pub(crate) fn new(config: &ServerConfig) -> Result<Connection, rustls::Error> {
        let secrets = Arc::new(Secrets::default());
        // A copy of pointers: the log is this connection's own.
        let mut config = config.clone();
        config.key_log = Arc::clone(&secrets) as _;
        let rustls = ServerConnection::new(Arc::new(config))?;
        Ok(Connection { rustls, secrets, boundary: Boundary::default() })
    }

    /// As the one of rustls, which knows nothing of the boundary.
    pub(crate) fn read_tls(&mut self, from: &mut dyn Read) -> io::Result<usize> {
        self.rustls.read_tls(&mut Watched { from, boundary: &mut self.boundary })
    }

    /// The connection without rustls, if nothing waits in it: neither records to be sent nor a part of one that has come. What
    /// was decrypted and not read is dropped.
    ///
    /// # Errors
    /// If rustls does not give its keys away.
    pub(crate) fn into_layer(self) -> io::Result<Layer> {
        let suite = self.rustls.negotiated_cipher_suite();
        let is_new = self.rustls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let Some(suite) = suite.filter(|_| is_new && !self.rustls.wants_write() && self.boundary.is_clean())
        else {
            return Ok(Layer::of_rustls(self.rustls));
        };
        let [ours, theirs] = std::mem::take(&mut *self.secrets.0.lock());
        let keys = self.rustls.dangerous_extract_secrets().map_err(io::Error::other)?;
        Ok(Layer::Own(Traffic::new(suite.suite(), keys, ours, theirs)?))
    }
}

impl Deref for Connection {
    type Target = ServerConnection;

    fn deref(&self) -> &ServerConnection {
        &self.rustls
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut ServerConnection {
        &mut self.rustls
    }
}

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        let at = match label {
            "SERVER_TRAFFIC_SECRET_0" => 0,
            "CLIENT_TRAFFIC_SECRET_0" => 1,
            _ => return,
        };
        self.0.lock()[at] = Secret::new(secret);
    }

    fn will_log(&self, label: &str) -> bool {
        label.ends_with("_TRAFFIC_SECRET_0")
    }
}

impl std::fmt::Debug for Secrets {
    /// Without what it has.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Boundary {
    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let count = self.left.min(bytes.len());
                self.left -= count;
                bytes = &bytes[count..];
                continue;
            }
            self.header[self.filled] = *first;
            self.filled += 1;
            bytes = rest;
            if self.filled == self.header.len() {
                self.filled = 0;
                self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
            }
        }
    }

    fn is_clean(&self) -> bool {
        self.filled == 0 && self.left == 0
    }
}

struct Watched<'a> {
    from: &'a mut dyn Read,
    boundary: &'a mut Boundary,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.boundary.pass(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_boundary_is_clean_exactly_between_records(
            sizes in prop::collection::vec(0_usize..400, 0..6), cuts in prop::collection::vec(1_usize..50, 1..200)
        ) {
            let (mut stream, mut ends) = (Vec::new(), vec![0]);
            for size in sizes {
                stream.extend([23, 3, 3, (size >> 8) as u8, size as u8]);
                stream.resize(stream.len() + size, 7);
                ends.push(stream.len());
            }
            let (mut boundary, mut at) = (Boundary::default(), 0);
            for cut in cuts {
                prop_assert_eq!(boundary.is_clean(), ends.contains(&at), "after {} bytes", at);
                let next = (at + cut).min(stream.len());
                boundary.pass(&stream[at..next]);
                at = next;
            }
        }
    }
}
