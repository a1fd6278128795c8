//! The records of a TLS 1.3 connection after its handshake (RFC 8446, sections 4.6.3, 5 and 6), for streams alone.
//!
//! rustls does the handshake, and answers requests; a stream needs little of it afterwards, many times, and for as long as a
//! page is open. So its keys are taken out of rustls: what an idle stream keeps is a key for each direction and the secrets of
//! the next ones, and a record is encrypted where it is written. The ciphers are those of AWS-LC.

use std::io;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey,
};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use rustls::{CipherSuite, ConnectionTrafficSecrets, ExtractedSecrets};

use super::record_layer::{Received, RecordLayer};

/// The most plain bytes of a record (section 5.1).
const MAX_PLAIN: usize = 1 << 14;
/// The most bytes of a record after its header (section 5.2).
const MAX_RECORD: usize = MAX_PLAIN + 256;
const HEADER: usize = 5;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

const WARNING: u8 = 1;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const USER_CANCELED: u8 = 90;

/// A handshake message of one byte (section 4.6.3), which says whether the peer is asked for new keys, too.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
const NOT_REQUESTED: u8 = 0;
const REQUESTED: u8 = 1;

/// The most key updates without application data between them, as rustls has it.
const MAX_UPDATES: u8 = 32;
/// The most records of one key: AES-GCM is safe for 2^24.5 full ones (section 5.5).
const MAX_RECORDS: u64 = 1 << 24;

/// Both directions of a connection.
pub(crate) struct Traffic {
    algorithm: &'static Algorithm,
    hash: hkdf::Algorithm,
    sealer: Sealer,
    opener: Opener,
    /// The beginning of a record whose end has not come.
    partial: Vec<u8>,
    /// Key updates of the peer since its last application data.
    updates: u8,
    /// Whether the peer has asked for new keys: they are announced before the next record.
    is_asked: bool,
    /// Whether the peer has broken the protocol: nothing more is said, and nothing is listened to.
    is_broken: bool,
}

struct Sealer {
    key: LessSafeKey,
    iv: [u8; 12],
    number: u64,
    secret: Option<Secret>,
}

/// A client says nothing on a stream, so that its key is only made when something comes.
struct Opener {
    key: Key,
    iv: [u8; 12],
    number: u64,
    secret: Option<Secret>,
}

/// A traffic secret, as long as the hash of the cipher suite.
pub(super) struct Secret(Short<48>);

/// The bytes of a key.
struct Key(Short<32>);

/// At most `N` bytes.
struct Short<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

/// The length of what is derived.
struct Length(usize);

/// What the peer is told, because it has broken the protocol; nothing if it has ended the connection.
enum Break {
    Alert(u8),
    End,
}

impl<const N: usize> Short<N> {
    fn new(bytes: &[u8]) -> Option<Short<N>> {
        let mut short = Short { bytes: [0; N], length: bytes.len().try_into().ok()? };
        short.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(short)
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Secret {
    /// `None`: no hash of TLS 1.3 is so long.
    pub(super) fn new(bytes: &[u8]) -> Option<Secret> {
        Short::new(bytes).map(Secret)
    }

    /// HKDF-Expand-Label without a context (section 7.1).
    fn expand(&self, hash: hkdf::Algorithm, label: &str, out: &mut [u8]) -> io::Result<()> {
        let label = format!("tls13 {label}");
        let length = (out.len() as u16).to_be_bytes();
        let info = [&length[..], &[label.len() as u8], label.as_bytes(), &[0]];
        let prk = Prk::new_less_safe(hash, self.0.get());
        let derived = prk.expand(&info, Length(out.len())).and_then(|okm| okm.fill(out));
        derived.map_err(|_| io::Error::other("no key can be derived"))
    }

    /// Key and initialization vector (section 7.3).
    fn keys(&self, hash: hkdf::Algorithm, algorithm: &'static Algorithm) -> io::Result<(Key, [u8; 12])> {
        let (mut key, mut iv) = ([0; 32], [0; 12]);
        let key = &mut key[..algorithm.key_len()];
        self.expand(hash, "key", key)?;
        self.expand(hash, "iv", &mut iv)?;
        Ok((Key::new(key)?, iv))
    }

    /// That of the keys after an update (section 7.2).
    fn next(&self, hash: hkdf::Algorithm) -> io::Result<Secret> {
        let mut next = [0; 48];
        let next = &mut next[..self.0.get().len()];
        self.expand(hash, "traffic upd", next)?;
        Secret::new(next).ok_or_else(|| io::Error::other("no secret is so long"))
    }
}

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Key {
    fn new(bytes: &[u8]) -> io::Result<Key> {
        Short::new(bytes).map(Key).ok_or_else(|| io::Error::other("no key is so long"))
    }

    fn usable(&self, algorithm: &'static Algorithm) -> io::Result<LessSafeKey> {
        let key = UnboundKey::new(algorithm, self.0.get());
        key.map(LessSafeKey::new).map_err(|_| io::Error::other("the key is not of its algorithm"))
    }
}

/// The nonce of a record (section 5.3).
fn nonce(iv: &[u8; 12], number: u64) -> Nonce {
    let mut nonce = *iv;
    nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, other)| *byte ^= other);
    Nonce::assume_unique_for_key(nonce)
}

fn split(secrets: &ConnectionTrafficSecrets) -> io::Result<(Key, [u8; 12])> {
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => return Err(io::Error::other("the keys are of another cipher")),
    };
    let iv = iv.as_ref().try_into().map_err(|_| io::Error::other("the nonces are of another cipher"))?;
    Ok((Key::new(key.as_ref())?, iv))
}

impl Traffic {
    /// Goes on with the keys of a connection. `ours` and `theirs` are the secrets of its first keys: if a key was replaced
    /// since, the next one cannot be derived, and the connection ends where it would be needed.
    ///
    /// # Errors
    /// If the cipher is none of TLS 1.3.
    pub(super) fn new(
        suite: CipherSuite,
        keys: ExtractedSecrets,
        ours: Option<Secret>,
        theirs: Option<Secret>,
    ) -> io::Result<Traffic> {
        let (algorithm, hash) = match suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => (&AES_128_GCM, HKDF_SHA256),
            CipherSuite::TLS13_AES_256_GCM_SHA384 => (&AES_256_GCM, HKDF_SHA384),
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => (&CHACHA20_POLY1305, HKDF_SHA256),
            _ => return Err(io::Error::other("the cipher suite is none of TLS 1.3")),
        };
        let of_these = |secret: Option<Secret>, iv: &[u8; 12]| {
            secret.filter(|secret| secret.keys(hash, algorithm).is_ok_and(|(_, first)| first == *iv))
        };
        let (key, iv) = split(&keys.tx.1)?;
        let secret = of_these(ours, &iv);
        let sealer = Sealer { key: key.usable(algorithm)?, iv, number: keys.tx.0, secret };
        let (key, iv) = split(&keys.rx.1)?;
        let secret = of_these(theirs, &iv);
        let opener = Opener { key, iv, number: keys.rx.0, secret };
        let (partial, updates, is_asked, is_broken) = (Vec::new(), 0, false, false);
        Ok(Traffic { algorithm, hash, sealer, opener, partial, updates, is_asked, is_broken })
    }

    /// The bytes of the peer that are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.partial.len()
    }

    /// Appends one record.
    fn put(&mut self, kind: u8, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        debug_assert!(plain.len() <= MAX_PLAIN, "callers split");
        let sealer = &mut self.sealer;
        let length = plain.len() + 1 + MAX_TAG_LEN;
        let [high, low] = (length as u16).to_be_bytes();
        let header = [DATA, 3, 3, high, low];
        out.reserve(HEADER + length);
        out.extend_from_slice(&header);
        let begin = out.len();
        out.extend_from_slice(plain);
        out.push(kind);
        let nonce = nonce(&sealer.iv, sealer.number);
        match sealer.key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[begin..]) {
            Ok(tag) => out.extend_from_slice(tag.as_ref()),
            Err(_) => {
                // Nothing that is not encrypted may get out.
                out.truncate(begin - HEADER);
                return Err(io::Error::other("a record could not be encrypted"));
            }
        }
        sealer.number += 1;
        Ok(())
    }

    /// Announces new keys of this direction, and takes them.
    fn update_sealer(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let secret = self.sealer.secret.as_ref();
        let next = secret
            .ok_or_else(|| io::Error::other("the keys of the connection are used up"))?
            .next(self.hash)?;
        let (key, iv) = next.keys(self.hash, self.algorithm)?;
        let mut message = KEY_UPDATE.to_vec();
        message.push(NOT_REQUESTED);
        self.put(HANDSHAKE, &message, out)?;
        self.sealer = Sealer { key: key.usable(self.algorithm)?, iv, number: 0, secret: Some(next) };
        self.is_asked = false;
        Ok(())
    }

    /// Takes the keys that the peer has announced.
    fn update_opener(&mut self) -> io::Result<()> {
        let secret = self.opener.secret.as_ref();
        let next = secret.ok_or_else(|| io::Error::other("the next key is not known"))?.next(self.hash)?;
        let (key, iv) = next.keys(self.hash, self.algorithm)?;
        self.opener = Opener { key, iv, number: 0, secret: Some(next) };
        Ok(())
    }

    /// Takes whole records off the beginning of the bytes; returns how many bytes they were.
    fn take(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, Break> {
        let mut taken = 0;
        let mut key = self.opener_key()?;
        loop {
            let rest = &mut bytes[taken..];
            let Some(header) = rest.first_chunk::<HEADER>().copied() else { return Ok(taken) };
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if header[0] != DATA {
                return Err(Break::Alert(UNEXPECTED_MESSAGE));
            }
            if length > MAX_RECORD {
                return Err(Break::Alert(RECORD_OVERFLOW));
            }
            let Some(record) = rest.get_mut(HEADER..HEADER + length) else { return Ok(taken) };
            let nonce = nonce(&self.opener.iv, self.opener.number);
            let inner = key.open_in_place(nonce, Aad::from(header), record);
            let inner = inner.map_err(|_| Break::Alert(BAD_RECORD_MAC))?;
            self.opener.number += 1;
            taken += HEADER + length;
            if self.hear(inner, plain)? {
                key = self.opener_key()?;
            }
        }
    }

    fn opener_key(&self) -> Result<LessSafeKey, Break> {
        self.opener.key.usable(self.algorithm).map_err(|_| Break::End)
    }

    /// Takes the content of a record, which its type and any number of zeros follow (section 5.2). True: the next record has
    /// another key.
    fn hear(&mut self, inner: &[u8], plain: &mut Vec<u8>) -> Result<bool, Break> {
        let end = inner.iter().rposition(|byte| *byte != 0).ok_or(Break::Alert(UNEXPECTED_MESSAGE))?;
        if end > MAX_PLAIN {
            return Err(Break::Alert(RECORD_OVERFLOW));
        }
        match (inner[end], &inner[..end]) {
            (DATA, data) => {
                plain.extend_from_slice(data);
                self.updates = 0;
                Ok(false)
            }
            (ALERT, [_, USER_CANCELED]) => Ok(false),
            (ALERT, _) => Err(Break::End),
            // It is alone in its record, as the key of the next one is another (section 5.1).
            (HANDSHAKE, [message @ .., request @ (NOT_REQUESTED | REQUESTED)]) if message == KEY_UPDATE => {
                self.updates += 1;
                if self.updates > MAX_UPDATES {
                    return Err(Break::Alert(UNEXPECTED_MESSAGE));
                }
                self.is_asked |= *request == REQUESTED;
                self.update_opener().map_err(|_| Break::End)?;
                Ok(true)
            }
            _ => Err(Break::Alert(UNEXPECTED_MESSAGE)),
        }
    }
}

impl RecordLayer for Traffic {
    fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other("the connection is over"));
        }
        for part in plain.chunks(MAX_PLAIN) {
            if self.is_asked || self.sealer.number >= MAX_RECORDS {
                self.update_sealer(out)?;
            }
            self.put(DATA, part, out)?;
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>, plain: &mut Vec<u8>) -> Received {
        if self.is_broken {
            return Received::End;
        }
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        match self.take(&mut all, plain) {
            Ok(taken) => {
                self.partial = all[taken..].to_vec();
                Received::Open
            }
            Err(broken) => {
                self.is_broken = true;
                if let Break::Alert(description) = broken {
                    // If it cannot be encrypted, the peer does without.
                    let _ = self.put(ALERT, &[FATAL, description], out);
                }
                Received::End
            }
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if !self.is_broken {
            // The peer then sees an end without it.
            let _ = self.put(ALERT, &[WARNING, CLOSE_NOTIFY], out);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::version::TLS13;
    use rustls::{AlertDescription, ClientConnection, Error};

    use super::*;
    use crate::tls::Layer;
    use crate::tls::lab::{pair, read};

    fn traffic() -> (Traffic, ClientConnection) {
        match pair(&TLS13) {
            (Layer::Own(traffic), client) => (traffic, client),
            _ => panic!("nothing waits"),
        }
    }

    /// Another server's records, with whatever content, as the client would send them.
    fn mirrored(traffic: &Traffic) -> Traffic {
        let again = |secret: &Option<Secret>| secret.as_ref().and_then(|secret| Secret::new(secret.0.get()));
        let secret = again(&traffic.opener.secret).unwrap();
        let (key, iv) = secret.keys(traffic.hash, traffic.algorithm).unwrap();
        let key = key.usable(traffic.algorithm).unwrap();
        let sealer = Sealer { key, iv, number: traffic.opener.number, secret: Some(secret) };
        let opener = Opener { key: Key::new(&[0; 32]).unwrap(), iv, number: 0, secret: None };
        let (partial, updates, is_asked, is_broken) = (Vec::new(), 0, false, false);
        let (algorithm, hash) = (traffic.algorithm, traffic.hash);
        Traffic { algorithm, hash, sealer, opener, partial, updates, is_asked, is_broken }
    }

    /// What the server makes of one record: whether it goes on, and the alert that its client gets.
    fn hears(kind: u8, plain: &[u8]) -> (Received, Option<AlertDescription>) {
        let (mut server, mut client) = traffic();
        let (mut record, mut out) = (Vec::new(), Vec::new());
        mirrored(&server).put(kind, plain, &mut record).unwrap();
        let received = server.receive(&record, &mut out, &mut Vec::new());
        let alert = (!out.is_empty()).then(|| {
            client.read_tls(&mut &out[..]).unwrap();
            match client.process_new_packets().unwrap_err() {
                Error::AlertReceived(description) => description,
                error => panic!("{error}"),
            }
        });
        (received, alert)
    }

    #[test]
    fn only_what_tls_allows_after_a_handshake_is_heard() {
        let unexpected = (Received::End, Some(AlertDescription::UnexpectedMessage));
        assert_eq!(hears(DATA, b"text"), (Received::Open, None));
        assert_eq!(hears(DATA, b""), (Received::Open, None));
        assert_eq!(hears(ALERT, &[WARNING, USER_CANCELED]), (Received::Open, None));
        assert_eq!(hears(ALERT, &[WARNING, CLOSE_NOTIFY]), (Received::End, None));
        assert_eq!(hears(ALERT, &[FATAL, BAD_RECORD_MAC]), (Received::End, None));
        assert_eq!(hears(ALERT, &[]), (Received::End, None));
        assert_eq!(hears(HANDSHAKE, &[24, 0, 0, 1, 0]), (Received::Open, None));
        for message in
            [&[24, 0, 0, 1, 2][..], &[24, 0, 0, 1], &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0], &[1, 0, 0, 0], &[]]
        {
            assert_eq!(hears(HANDSHAKE, message), unexpected, "{message:?}");
        }
        // Zeros alone have no type, and the change of ciphers belongs to the handshake.
        assert_eq!(hears(0, b""), unexpected);
        assert_eq!(hears(20, &[1]), unexpected);
    }

    #[test]
    fn a_record_that_is_too_long_or_not_encrypted_ends_the_connection() {
        for (header, alert) in [
            ([DATA, 3, 3, 0x41, 1], AlertDescription::RecordOverflow),
            ([ALERT, 3, 3, 0, 2], AlertDescription::UnexpectedMessage),
            ([b'G', b'E', b'T', b' ', b'/'], AlertDescription::UnexpectedMessage),
        ] {
            let ((mut server, mut client), mut out) = (traffic(), Vec::new());
            assert_eq!(server.receive(&header, &mut out, &mut Vec::new()), Received::End);
            client.read_tls(&mut &out[..]).unwrap();
            assert_eq!(client.process_new_packets().unwrap_err(), Error::AlertReceived(alert));
        }
    }

    #[test]
    fn a_key_is_replaced_before_it_has_encrypted_too_much() {
        let ((mut server, mut client), mut out) = (traffic(), Vec::new());
        for round in 0..3 {
            let before = server.sealer.iv;
            server.update_sealer(&mut out).unwrap();
            assert_ne!(server.sealer.iv, before);
            server.seal(b"goes on", &mut out).unwrap();
            assert_eq!(read(&mut client, &std::mem::take(&mut out)), b"goes on", "round {round}");
        }
        let before = server.sealer.iv;
        server.sealer.number = MAX_RECORDS - 1;
        server.seal(b"the last", &mut out).unwrap();
        assert_eq!((server.sealer.iv, server.sealer.number), (before, MAX_RECORDS));
        server.seal(b"the first", &mut out).unwrap();
        assert_eq!(server.sealer.number, 1);
        assert_ne!(server.sealer.iv, before);
    }

    #[test]
    fn a_key_without_a_next_one_ends_with_its_last_record() {
        let ((mut server, _), mut out) = (traffic(), Vec::new());
        server.sealer.secret = None;
        server.sealer.number = MAX_RECORDS;
        assert!(server.seal(b"more", &mut out).is_err());
        assert!(out.is_empty());
    }

    /// The example of RFC 8448, section 3: the server's keys for application data.
    #[test]
    fn keys_are_derived_as_in_the_example_of_the_specification() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let secret = hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
        let (key, iv) = Secret::new(&secret).unwrap().keys(HKDF_SHA256, &AES_128_GCM).unwrap();
        assert_eq!(key.0.get(), hex("9f02283b6c9c07efc26bb9f2ac92e356"));
        assert_eq!(iv.to_vec(), hex("cf782b88dd83549aadf1e984"));
    }

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Traffic>() <= 320, "{}", size_of::<Traffic>());
    }
}
