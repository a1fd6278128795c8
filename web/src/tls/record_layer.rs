//! A TLS connection after its handshake, as a stream uses it: bytes become records, and records that come are dealt with.

use std::io::{self, BufRead as _, Write as _};

use rustls::server::ServerConnection;

use super::traffic::Traffic;

/// What a stream needs of TLS. Both directions write into the caller's buffer, so that nothing need be kept for an idle
/// stream. This is the shape of the split connection of rustls 0.24, too, which may stand behind it.
pub(crate) trait RecordLayer {
    /// Appends the records of the bytes to `out`, and before them what TLS itself has to send.
    ///
    /// # Errors
    /// If the keys may not be used any more (TLS 1.2): nothing can be sent on this connection.
    fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()>;

    /// Takes bytes that have come; appends what TLS answers to `out`, and the application data to `plain`.
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>, plain: &mut Vec<u8>) -> Received;

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

/// What encrypts for a stream.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and is boxed as a part of its wire"
)]
pub(crate) enum Layer {
    Own(Traffic),
    /// TLS 1.2, or a connection in which something waited when it was taken over.
    Rustls(Box<ServerConnection>),
}

impl Layer {
    /// The bytes of the client that are kept.
    #[cfg(test)]
    pub(super) fn kept(&mut self) -> usize {
        match self {
            Layer::Own(own) => own.kept(),
            Layer::Rustls(rustls) => rustls.reader().fill_buf().map_or(0, <[u8]>::len),
        }
    }

    pub(super) fn of_rustls(mut connection: ServerConnection) -> Layer {
        take_plaintext(&mut connection, |_| {});
        Layer::Rustls(Box::new(connection))
    }
}

impl RecordLayer for Layer {
    fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Layer::Own(own) => own.seal(plain, out),
            Layer::Rustls(rustls) => rustls.seal(plain, out),
        }
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>, plain: &mut Vec<u8>) -> Received {
        match self {
            Layer::Own(own) => own.receive(bytes, out, plain),
            Layer::Rustls(rustls) => rustls.receive(bytes, out, plain),
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        match self {
            Layer::Own(own) => own.close(out),
            Layer::Rustls(rustls) => rustls.close(out),
        }
    }
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

    fn receive(&mut self, mut bytes: &[u8], out: &mut Vec<u8>, plain: &mut Vec<u8>) -> Received {
        let mut is_over = false;
        while !bytes.is_empty() && !is_over {
            is_over = match self.read_tls(&mut bytes) {
                Ok(0) | Err(_) => true,
                Ok(_) => self.process_new_packets().map_or(true, |state| state.peer_has_closed()),
            };
            take_plaintext(self, |part| plain.extend_from_slice(part));
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

/// Takes what was received and decrypted.
fn take_plaintext(connection: &mut ServerConnection, mut take: impl FnMut(&[u8])) {
    let mut reader = connection.reader();
    while let Ok(chunk @ [_, ..]) = reader.fill_buf() {
        let size = chunk.len();
        take(chunk);
        reader.consume(size);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use rustls::version::{TLS12, TLS13};
    use rustls::{AlertDescription, ClientConnection, Error};

    use super::*;
    use crate::tls::lab::{pair, read, rustls_pair, say};

    /// Both ways of TLS 1.3.
    fn new_pairs() -> [(Layer, ClientConnection); 2] {
        let own = pair(&TLS13);
        assert!(matches!(own.0, Layer::Own(_)));
        [own, rustls_pair(&TLS13)]
    }

    fn pairs() -> impl Iterator<Item = (Layer, ClientConnection)> {
        new_pairs().into_iter().chain([pair(&TLS12)])
    }

    #[test]
    fn records_are_what_was_sealed_and_the_end_is_told() {
        for (mut server, mut client) in pairs() {
            let mut out = Vec::new();
            let plain = vec![b'x'; 200_000];
            server.seal(&plain, &mut out).unwrap();
            assert!(out.len() < plain.len() + 1000, "{}", out.len());
            assert_eq!(read(&mut client, &out), plain);
            out.clear();
            server.close(&mut out);
            read(&mut client, &out);
            assert_eq!(client.reader().read(&mut [0; 1]).unwrap(), 0, "the end is not told");
        }
    }

    #[test]
    fn what_comes_after_the_request_is_dropped_however_much_it_is() {
        for (mut server, mut client) in pairs() {
            let mut out = Vec::new();
            for _ in 0..100 {
                let bytes = say(&mut client, &[b'x'; 20_000]);
                for part in bytes.chunks(777) {
                    assert_eq!(server.receive(part, &mut out, &mut Vec::new()), Received::Open);
                }
            }
            assert!(out.is_empty(), "it is answered");
            assert!(server.kept() < 1000, "{} bytes of it are kept", server.kept());
        }
    }

    #[test]
    fn a_key_that_the_client_replaces_is_replaced_here_too_before_the_next_record() {
        for (mut server, mut client) in new_pairs() {
            let mut out = Vec::new();
            for round in 0..20 {
                client.refresh_traffic_keys().unwrap();
                let asks = say(&mut client, b"");
                assert!(!asks.is_empty());
                for part in asks.chunks(3) {
                    assert_eq!(
                        server.receive(part, &mut out, &mut Vec::new()),
                        Received::Open,
                        "round {round}"
                    );
                }
                server.seal(b"goes on", &mut out).unwrap();
                assert!(out.len() > 40, "the client has asked for new keys of this direction, too");
                assert_eq!(read(&mut client, &out), b"goes on");
                out.clear();
                // Were the keys of this direction not the new ones, it could not be read.
                let more = say(&mut client, b"more");
                assert_eq!(server.receive(&more, &mut out, &mut Vec::new()), Received::Open);
            }
        }
    }

    #[test]
    fn a_flood_of_key_updates_ends_the_connection() {
        for (mut server, mut client) in new_pairs() {
            let mut out = Vec::new();
            let ended = (0..1000).any(|_| {
                client.refresh_traffic_keys().unwrap();
                server.receive(&say(&mut client, b""), &mut out, &mut Vec::new()) == Received::End
            });
            assert!(ended && out.len() < 1000, "{} bytes of answers", out.len());
        }
    }

    #[test]
    fn a_wrong_byte_ends_the_connection_and_is_told() {
        for (mut server, mut client) in new_pairs() {
            let mut bytes = say(&mut client, b"hello");
            *bytes.last_mut().unwrap() ^= 1;
            let mut out = Vec::new();
            assert_eq!(server.receive(&bytes, &mut out, &mut Vec::new()), Received::End);
            client.read_tls(&mut &out[..]).unwrap();
            let alert = Error::AlertReceived(AlertDescription::BadRecordMac);
            assert_eq!(client.process_new_packets().unwrap_err(), alert);
            out.clear();
            assert_eq!(server.receive(b"more", &mut out, &mut Vec::new()), Received::End);
            assert!(server.seal(b"more", &mut out).is_err());
            assert!(out.is_empty());
        }
    }

    #[test]
    fn close_notify_is_the_end() {
        for (mut server, mut client) in pairs() {
            client.send_close_notify();
            let bytes = say(&mut client, b"");
            assert_eq!(server.receive(&bytes, &mut Vec::new(), &mut Vec::new()), Received::End);
        }
    }
}
