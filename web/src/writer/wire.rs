//! How a stream's bytes get into its socket: as they are, or over TLS as records.
//!
//! Over TLS each client has its own keys, so the same chunk is encrypted for each, into one buffer of the thread. Only what the
//! socket does not take is kept for the stream; the bytes after it are encrypted once the socket has taken that.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use smallvec::SmallVec;

use super::chunk::Chunks;
use super::incoming::Incoming;
use crate::moment::Moment;
use crate::tls::{Layer, Received, RecordLayer};

/// The most plain bytes of one record (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;
/// Encrypted bytes are written once there are as many as this. It bounds what a client that does not read can hold of its own.
const WRITE_AT: usize = 32 * 1024;

/// A socket, over TLS the state of its connection, and what the socket did not take.
pub(super) struct Wire {
    pub(super) socket: TcpStream,
    /// One pointer for all that a plain stream which waits does not have.
    more: Option<Box<More>>,
}

struct More {
    rest: Option<Rest>,
    tls: Option<Box<Tls<Layer>>>,
    /// What a client has sent over a WebSocket and has not been answered.
    incoming: Option<Box<Incoming>>,
}

impl More {
    fn is_empty(&self) -> bool {
        self.rest.is_none() && self.tls.is_none() && self.incoming.is_none()
    }
}

/// What the socket did not take; empty where only the wire itself has unsent bytes.
pub(super) struct Rest {
    pub(super) bytes: Bytes,
    /// When the socket last took any bytes.
    pub(super) since: Moment,
}

/// What a thread passes to all of its sockets.
pub(super) struct Bench<'a> {
    /// For encrypted bytes. Emptied before each use: one connection's bytes must never get into another.
    pub(super) sealed: &'a mut Vec<u8>,
    /// For bytes that were decrypted.
    pub(super) opened: &'a mut Vec<u8>,
    pub(super) chunks: &'a Chunks,
}

/// The state of a TLS connection.
struct Tls<L> {
    layer: L,
    /// Encrypted bytes that the socket did not take. They precede everything else.
    unsent: Bytes,
    /// Whether the client was told that nothing follows. What it sends then is not looked at.
    is_closed: bool,
}

impl Wire {
    pub(super) fn new(socket: TcpStream, tls: Option<Layer>) -> Wire {
        let tls = tls.map(|layer| Box::new(Tls::new(layer)));
        let more = tls.is_some().then(|| Box::new(More { rest: None, tls, incoming: None }));
        Wire { socket, more }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.tls.is_some())
    }

    pub(super) fn rest(&self) -> Option<&Rest> {
        self.more.as_ref()?.rest.as_ref()
    }

    pub(super) fn rest_mut(&mut self) -> Option<&mut Rest> {
        self.more.as_mut()?.rest.as_mut()
    }

    /// Keeps the bytes until the socket takes more.
    pub(super) fn block(&mut self, bytes: Bytes, since: Moment) {
        self.more_mut().rest = Some(Rest { bytes, since });
    }

    fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_with(|| Box::new(More { rest: None, tls: None, incoming: None }))
    }

    /// Everything was sent.
    fn unblock(&mut self) {
        if let Some(more) = &mut self.more {
            more.rest = None;
        }
        self.shrink();
    }

    /// Drops what is empty.
    fn shrink(&mut self) {
        self.more.take_if(|more| more.is_empty());
    }

    /// Takes what a client has sent over a WebSocket.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.more_mut().incoming.get_or_insert_default().take(bytes);
        self.answered();
    }

    /// What has to be answered over a WebSocket.
    pub(super) fn incoming(&mut self) -> Option<&mut Incoming> {
        self.more.as_mut()?.incoming.as_deref_mut()
    }

    /// To be called once something was answered.
    pub(super) fn answered(&mut self) {
        if let Some(more) = &mut self.more {
            more.incoming.take_if(|incoming| incoming.is_empty());
        }
        self.shrink();
    }

    fn tls(&mut self) -> Option<(&mut Tls<Layer>, &mut TcpStream)> {
        let tls = self.more.as_mut()?.tls.as_mut()?;
        Some((tls, &mut self.socket))
    }

    /// Whether encrypted bytes must be sent before anything else.
    pub(super) fn has_unsent(&self) -> bool {
        let tls = self.more.as_ref().and_then(|more| more.tls.as_ref());
        tls.is_some_and(|tls| !tls.unsent.is_empty())
    }

    /// Writes the pieces in order; returns how many of their bytes need not be given again: the socket took them, or they are
    /// encrypted, and among the unsent bytes.
    pub(super) fn write(&mut self, pieces: &[Bytes], bench: &mut Bench<'_>) -> io::Result<usize> {
        match (self.tls(), pieces) {
            (Some((tls, socket)), _) => tls.write(socket, pieces, bench),
            (None, [piece]) => write(&mut self.socket, piece),
            (None, pieces) => write_all_of(&mut self.socket, pieces),
        }
    }

    /// Sends unsent bytes and the rest. `written` counts what need not be given again, as with [`Wire::write`]. True: everything
    /// was sent.
    pub(super) fn flush(
        &mut self,
        now: Moment,
        written: &mut u64,
        bench: &mut Bench<'_>,
    ) -> io::Result<bool> {
        let Some(rest) = self.rest_mut() else { return Ok(true) };
        let mut bytes = std::mem::take(&mut rest.bytes);
        let mut moved = match self.tls() {
            Some((tls, socket)) => tls.flush(socket)?,
            None => 0,
        };
        if !self.has_unsent() {
            let taken = self.write(std::slice::from_ref(&bytes), bench)?;
            *written += taken as u64;
            bytes.advance(taken);
            moved += taken;
        }
        if bytes.is_empty() && !self.has_unsent() {
            self.unblock();
            return Ok(true);
        }
        if let Some(rest) = self.rest_mut() {
            rest.bytes = bytes;
            rest.since = if moved > 0 { now } else { rest.since };
        }
        Ok(false)
    }

    /// Says that nothing follows. False: the socket did not take everything that precedes.
    pub(super) fn finish(&mut self, bench: &mut Bench<'_>) -> io::Result<bool> {
        if let Some((tls, socket)) = self.tls() {
            bench.sealed.clear();
            tls.is_closed = true;
            tls.layer.close(bench.sealed);
            if !tls.put(socket, bench)? {
                return Ok(false);
            }
        }
        self.socket.shutdown(Shutdown::Write)?;
        self.more = None;
        Ok(true)
    }

    /// Reads once what the client sends after its request. `None`: the connection is over.
    pub(super) fn read<'a>(
        &mut self,
        scratch: &'a mut [u8],
        bench: &'a mut Bench<'_>,
    ) -> io::Result<Option<&'a [u8]>> {
        let bytes = match self.socket.read(scratch)? {
            0 => return Ok(None),
            count => &scratch[..count],
        };
        let Some((tls, socket)) = self.tls() else { return Ok(Some(bytes)) };
        let received = tls.receive(bytes, socket, bench)?;
        Ok((received == Received::Open).then_some(&bench.opened[..]))
    }

    /// Drops what was not sent: the stream is closed.
    pub(super) fn forget_rest(&mut self) {
        self.more = None;
    }
}

impl<L: RecordLayer> Tls<L> {
    fn new(layer: L) -> Tls<L> {
        Tls { layer, unsent: Bytes::new(), is_closed: false }
    }

    fn write(
        &mut self,
        socket: &mut impl Write,
        pieces: &[Bytes],
        bench: &mut Bench<'_>,
    ) -> io::Result<usize> {
        debug_assert!(self.unsent.is_empty(), "records are sent in the order of their numbers");
        bench.sealed.clear();
        let mut taken = 0;
        for part in pieces.iter().flat_map(|piece| piece.chunks(RECORD)) {
            self.layer.seal(part, bench.sealed)?;
            taken += part.len();
            if bench.sealed.len() >= WRITE_AT && !self.put(socket, bench)? {
                return Ok(taken);
            }
        }
        self.put(socket, bench)?;
        Ok(taken)
    }

    /// Writes what was encrypted, and keeps what the socket does not take. True: it took everything.
    fn put(&mut self, socket: &mut impl Write, bench: &mut Bench<'_>) -> io::Result<bool> {
        let taken = write(socket, bench.sealed);
        let rest = taken.as_ref().map(|taken| &bench.sealed[*taken..]).unwrap_or_default();
        if !rest.is_empty() {
            self.unsent = bench.chunks.copy(rest);
        }
        bench.sealed.clear();
        taken.map(|_| self.unsent.is_empty())
    }

    /// Takes what has come, and sends what TLS answers, after what is unsent.
    fn receive(
        &mut self,
        bytes: &[u8],
        socket: &mut impl Write,
        bench: &mut Bench<'_>,
    ) -> io::Result<Received> {
        bench.opened.clear();
        if self.is_closed {
            return Ok(Received::Open);
        }
        bench.sealed.clear();
        let received = self.layer.receive(bytes, bench.sealed, bench.opened);
        if self.unsent.is_empty() {
            self.put(socket, bench)?;
        } else if !bench.sealed.is_empty() {
            self.unsent = bench.chunks.copy(&[&self.unsent[..], &bench.sealed[..]].concat());
        }
        Ok(received)
    }

    fn flush(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        let taken = write(socket, &self.unsent)?;
        self.unsent.advance(taken);
        if self.unsent.is_empty() {
            // An empty part would keep the memory of the whole.
            self.unsent = Bytes::new();
        }
        Ok(taken)
    }
}

/// Writes the pieces in order; returns how many bytes the socket took.
fn write_all_of(socket: &mut TcpStream, pieces: &[Bytes]) -> io::Result<usize> {
    let mut slices: SmallVec<[IoSlice<'_>; 4]> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let (mut left, mut taken) = (&mut slices[..], 0);
    while !left.is_empty() {
        match socket.write_vectored(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                taken += count;
                IoSlice::advance_slices(&mut left, count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// Writes the bytes; returns how many of them the socket took.
fn write(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match socket.write(&bytes[taken..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::version::{TLS12, TLS13};

    use super::*;
    use crate::tls::lab::{pair, read, say};

    /// Takes as many bytes as there is room for.
    #[derive(Default)]
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pattern(from: usize, size: usize) -> Bytes {
        (from..from + size).map(|n| (n * 31 % 251) as u8).collect::<Vec<u8>>().into()
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// The stream writes pieces of these sizes, if it may.
        Write(Vec<usize>),
        /// The socket takes more.
        Room(usize),
        /// The client says something, or replaces its key.
        Hear(usize),
        KeyUpdate,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::collection::vec(1_usize..60_000, 1..4).prop_map(Step::Write),
            prop_oneof![0_usize..40, 0_usize..100_000].prop_map(Step::Room),
            (0_usize..3000).prop_map(Step::Hear),
            Just(Step::KeyUpdate),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// However the socket takes the bytes, and whatever the client does meanwhile: it gets every byte once, in order, and then
        /// the end; and what is kept for it alone is bounded, and charged.
        #[test]
        fn a_client_gets_every_byte_once_however_the_socket_takes_them(
            steps in prop::collection::vec(step(), 1..60), is_new in any::<bool>()
        ) {
            let (layer, mut client) = pair(if is_new { &TLS13 } else { &TLS12 });
            let mut tls = Tls::new(layer);
            let (mut socket, mut sealed, chunks) = (Narrow::default(), Vec::new(), Chunks::default());
            let (mut given, mut got, mut rest, mut updates) = (0, Vec::new(), Vec::new(), 0);
            let mut opened = Vec::new();
            let mut bench = Bench { sealed: &mut sealed, opened: &mut opened, chunks: &chunks };
            for step in steps {
                match step {
                    Step::Write(sizes) if tls.unsent.is_empty() && rest.is_empty() => {
                        for size in sizes {
                            rest.push(pattern(given, size));
                            given += size;
                        }
                    }
                    Step::Write(_) => {}
                    Step::Room(more) => socket.room += more,
                    Step::Hear(size) => {
                        let bytes = say(&mut client, &pattern(0, size));
                        let received = tls.receive(&bytes, &mut socket, &mut bench).unwrap();
                        prop_assert_eq!(received, Received::Open);
                    }
                    Step::KeyUpdate if is_new && updates < 20 => {
                        updates += 1;
                        client.refresh_traffic_keys().unwrap();
                        let bytes = say(&mut client, b"");
                        let received = tls.receive(&bytes, &mut socket, &mut bench).unwrap();
                        prop_assert_eq!(received, Received::Open);
                    }
                    Step::KeyUpdate => {}
                }
                tls.flush(&mut socket).unwrap();
                if tls.unsent.is_empty() {
                    let mut taken = tls.write(&mut socket, &rest, &mut bench).unwrap();
                    while let Some(first) = rest.first_mut() && taken > 0 {
                        let part = taken.min(first.len());
                        first.advance(part);
                        taken -= part;
                        if first.is_empty() {
                            rest.remove(0);
                        }
                    }
                }
                prop_assert!(tls.unsent.len() <= WRITE_AT + RECORD + 1024, "{}", tls.unsent.len());
                prop_assert!(chunks.held() >= tls.unsent.len());
                got.extend(read(&mut client, &std::mem::take(&mut socket.taken)));
            }
            socket.room = usize::MAX;
            tls.flush(&mut socket).unwrap();
            prop_assert_eq!(tls.write(&mut socket, &rest, &mut bench).unwrap(), rest.iter().map(Bytes::len).sum::<usize>());
            bench.sealed.clear();
            tls.layer.close(bench.sealed);
            prop_assert!(tls.put(&mut socket, &mut bench).unwrap());
            got.extend(read(&mut client, &socket.taken));
            prop_assert_eq!(got.len(), given);
            prop_assert!(got == pattern(0, given));
            prop_assert_eq!(client.reader().read(&mut [0; 1]).unwrap(), 0, "the end is not told");
            prop_assert_eq!(chunks.held(), 0, "memory of its own is charged after it was sent");
        }
    }

    /// Marks what goes through it instead of encrypting it.
    struct Marks;

    impl RecordLayer for Marks {
        fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
            out.extend_from_slice(&[b"<", plain, b">"].concat());
            Ok(())
        }

        fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>, _: &mut Vec<u8>) -> Received {
            out.extend_from_slice(&[b"!", bytes].concat());
            Received::Open
        }

        fn close(&mut self, out: &mut Vec<u8>) {
            out.push(b'.');
        }
    }

    #[test]
    fn an_answer_goes_after_what_is_unsent_and_none_is_given_after_the_end() {
        let (mut sealed, chunks) = (Vec::new(), Chunks::default());
        let mut opened = Vec::new();
        let mut bench = Bench { sealed: &mut sealed, opened: &mut opened, chunks: &chunks };
        let (mut socket, mut tls) = (Narrow { room: 4, ..Narrow::default() }, Tls::new(Marks));
        let pieces = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        assert_eq!(tls.write(&mut socket, &pieces, &mut bench).unwrap(), 6);
        for heard in [&b"a"[..], b"b"] {
            assert_eq!(tls.receive(heard, &mut socket, &mut bench).unwrap(), Received::Open);
        }
        assert!(chunks.held() >= tls.unsent.len());
        socket.room = 100;
        tls.flush(&mut socket).unwrap();
        tls.receive(b"c", &mut socket, &mut bench).unwrap();
        tls.is_closed = true;
        tls.receive(b"d", &mut socket, &mut bench).unwrap();
        assert_eq!(String::from_utf8_lossy(&socket.taken), "<one><two>!a!b!c");
        assert_eq!(chunks.held(), 0);
    }

    #[test]
    fn bytes_of_a_connection_that_failed_never_get_into_another() {
        let ((broken, _), (healthy, mut client)) = (pair(&TLS13), pair(&TLS13));
        let (mut sealed, chunks) = (b"left by another connection".to_vec(), Chunks::default());
        let mut opened = Vec::new();
        let mut bench = Bench { sealed: &mut sealed, opened: &mut opened, chunks: &chunks };
        let mut socket = Narrow { room: usize::MAX, ..Narrow::default() };
        let mut tls = Tls::new(broken);
        let _ = tls.layer.receive(b"garbage that is no record", bench.sealed, bench.opened);
        assert!(tls.write(&mut Narrow::default(), &[pattern(0, 50_000)], &mut bench).is_err());
        let mut tls = Tls::new(healthy);
        tls.write(&mut socket, &[pattern(0, 100)], &mut bench).unwrap();
        assert_eq!(read(&mut client, &socket.taken), pattern(0, 100));
    }
}
