//! A TLS connection after its handshake, as a stream uses it: bytes become records, and records that come are dealt with.

use std::io::{self, BufRead as _, Write as _};

use rustls::server::ServerConnection;

/// What a stream needs of TLS. Both directions write into the caller's buffer, so that nothing need be kept for an idle
/// stream. This is the shape of the split connection of rustls 0.24, which will stand behind it.
pub(crate) trait RecordLayer {
    /// Appends the records of the bytes to `out`, and before them what TLS itself has to send.
    ///
    /// # Errors
    /// If the keys may not be used any more (TLS 1.2): nothing can be sent on this connection.
    fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()>;

    /// Takes bytes that have come, of which the application data is dropped; appends what TLS answers to `out`.
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Received;

    /// Appends `close_notify`, which says that nothing is missing at the end.
    fn close(&mut self, out: &mut Vec<u8>);
}

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The connection goes on.
    Open,
    /// The peer has ended the connection, or must not be listened to any more.
    End,
}

impl RecordLayer for ServerConnection {
    fn seal(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        drain(self, out)?;
        while !plain.is_empty() {
            let (before, taken) = (out.len(), self.writer().write(plain)?);
            drain(self, out)?;
            // Keys that are used up make rustls close the connection, and drop what it is given.
            if taken == 0 || out.len() - before <= taken {
                return Err(io::Error::other("the keys of the connection are used up"));
            }
            plain = &plain[taken..];
        }
        Ok(())
    }

    fn receive(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Received {
        let mut is_over = false;
        while !bytes.is_empty() && !is_over {
            is_over = match self.read_tls(&mut bytes) {
                Ok(0) | Err(_) => true,
                Ok(_) => self.process_new_packets().map_or(true, |state| state.peer_has_closed()),
            };
            drop_plaintext(self);
        }
        // Alerts, and the answer to an attempt at renegotiation. A new key is announced before the next record.
        let drained = drain(self, out);
        if is_over || drained.is_err() { Received::End } else { Received::Open }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.send_close_notify();
        // Writing to memory does not fail.
        let _ = drain(self, out);
    }
}

fn drain(connection: &mut ServerConnection, out: &mut Vec<u8>) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(out)?;
    }
    Ok(())
}

/// Drops what was received and decrypted.
pub(crate) fn drop_plaintext(connection: &mut ServerConnection) {
    let mut reader = connection.reader();
    while let Ok(chunk @ [_, ..]) = reader.fill_buf() {
        let size = chunk.len();
        reader.consume(size);
    }
}
