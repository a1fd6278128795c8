//! Sealed ids: an event id that only the replicas can read. It is encrypted and authenticated with AES-256-GCM-SIV (RFC 8452)
//! and bound to its tenant.
//!
//! The bytes, before they become base64url without padding:
//!
//! | bytes | |
//! | --- | --- |
//! | 1 | version, 2 |
//! | 32, 48, 64 … | encrypted: the bytes of an unsealed id without its checksum, then zeros |
//! | 16 | the tag |
//!
//! The associated data is the tenant's name. The nonce is the same for all ids: equal positions give equal ids, as they do
//! unsealed. RFC 8452 allows that: two equal ids of one tenant tell that they are equal, and nothing else. The zeros hide how
//! many bytes the offsets take, up to the next of these lengths.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::base::key::{ACCEPTED_KEY, key_lines, parse_key};

/// The version byte of a sealed id.
pub(crate) const SEALED: u8 = 2;
/// The encrypted part is a multiple of so many bytes, and not shorter than [`LEAST`]: an id of one partition or two has always
/// the same length.
const PAD: usize = 16;
const LEAST: usize = 32;
/// Twelve bytes that name this format: another one under the same keys would have others.
const NONCE: &[u8; 12] = b"tailrace-id2";
/// An id that cannot be read is tried with each of the keys.
const MAX_KEYS: usize = 8;
/// The line that stands for ids without a seal.
const UNSEALED: &str = "unsealed";

/// The content of the file `TAILRACE_ID_KEY_FILE`: how ids are written and which ids are read.
///
/// Each line is a key, or the word `unsealed` for ids in the clear. Ids are written as the first line says, and read as any
/// of the lines says.
pub struct IdKeys {
    entries: Vec<Entry>,
}

enum Entry {
    Unsealed,
    Key(LessSafeKey),
}

/// How the ids of one tenant are sealed.
#[derive(Clone, Copy)]
pub struct Seal<'a> {
    key: &'a LessSafeKey,
    tenant: &'a str,
}

impl IdKeys {
    /// Parses the content of a key file.
    ///
    /// # Errors
    /// Which line is wrong, and what is accepted. Never the line itself.
    pub fn parse(text: &str) -> Result<IdKeys, String> {
        let (mut entries, mut known) = (Vec::new(), Vec::new());
        for (number, line) in key_lines(text) {
            let key = if line == UNSEALED { None } else { Some(parse_key(line).map_err(at(number))?) };
            if known.contains(&key) {
                return Err(at(number)("is there twice"));
            }
            if known.len() == MAX_KEYS {
                return Err(format!("at most {MAX_KEYS} lines are accepted"));
            }
            entries.push(key.as_ref().map_or(Entry::Unsealed, |key| Entry::Key(cipher(key))));
            known.push(key);
        }
        match known.iter().any(Option::is_some) {
            true => Ok(IdKeys { entries }),
            false => Err(format!("there is no key in it; {}", accepted())),
        }
    }

    /// The seal of new ids of this tenant; `None`: they are written unsealed.
    pub fn seal<'a>(&'a self, tenant: &'a str) -> Option<Seal<'a>> {
        match self.entries.first()? {
            Entry::Unsealed => None,
            Entry::Key(key) => Some(Seal { key, tenant }),
        }
    }

    /// Whether ids without a seal are read.
    pub fn takes_unsealed(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Unsealed))
    }

    /// The content of a sealed id of this tenant; `None` if none of the keys opens it.
    pub(crate) fn open(&self, tenant: &str, id: &[u8]) -> Option<Vec<u8>> {
        let encrypted = id.strip_prefix(&[SEALED])?;
        self.entries.iter().find_map(|entry| match entry {
            Entry::Unsealed => None,
            Entry::Key(key) => opened(key, tenant, encrypted),
        })
    }
}

fn opened(key: &LessSafeKey, tenant: &str, encrypted: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = encrypted.to_vec();
    let length = key.open_in_place(nonce(), Aad::from(tenant.as_bytes()), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

/// The one nonce of this format. AES-GCM-SIV does not need another one for each message.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key(*NONCE)
}

/// How long the encrypted part is for so many bytes of an unsealed id.
pub(crate) fn padded(len: usize) -> usize {
    len.next_multiple_of(PAD).max(LEAST)
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).expect("the key has 32 bytes"))
}

fn at(number: usize) -> impl Fn(&'static str) -> String {
    move |why| format!("line {number} {why}; {}", accepted())
}

fn accepted() -> String {
    format!("accepted: one key a line, {ACCEPTED_KEY}; or the word {UNSEALED}")
}

impl fmt::Debug for IdKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines =
            self.entries.iter().map(|entry| if matches!(entry, Entry::Unsealed) { UNSEALED } else { "key" });
        f.debug_list().entries(lines).finish()
    }
}

impl Seal<'_> {
    /// Writes to `out`, in place of its content, the bytes of a sealed id; `body`: those of an unsealed one, without its
    /// checksum.
    pub(crate) fn write(self, body: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.push(SEALED);
        out.extend_from_slice(body);
        out.resize(1 + padded(body.len()), 0);
        let tenant = Aad::from(self.tenant.as_bytes());
        let tag = self.key.seal_in_place_separate_tag(nonce(), tenant, &mut out[1..]);
        let tag = tag.expect("an id is shorter than the 64 GiB that can be encrypted");
        out.extend_from_slice(tag.as_ref());
    }
}

impl fmt::Debug for Seal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::position::event_id::{EventId, EventIdError, RunningId};
    use crate::position::{Fingerprint, Part, Position, TopicId, Vector};

    const A: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const B: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
    const MINUTES: u32 = 29_000_000;

    fn keys(lines: &[&str]) -> IdKeys {
        IdKeys::parse(&lines.join("\n")).unwrap()
    }

    fn id(offsets: impl IntoIterator<Item = u64>) -> EventId {
        let positions = offsets.into_iter().map(|offset| Position { offset, epoch: 3 }).collect();
        let fingerprint = Fingerprint::new("orders", TopicId([9; 16]));
        EventId { minutes: MINUTES, vector: Vector { parts: vec![Part { fingerprint, positions }] } }
    }

    fn written(id: &EventId, tenant: &str, keys: &IdKeys) -> String {
        let mut text = String::new();
        EventId::encode(&mut text, id.minutes, &id.vector, keys.seal(tenant));
        text
    }

    fn read(text: &str, tenant: &str, keys: &IdKeys) -> Result<EventId, EventIdError> {
        EventId::read(text, tenant, Some(keys))
    }

    /// A sealed id of any bytes.
    fn sealed(body: &[u8], keys: &IdKeys) -> String {
        let mut bytes = Vec::new();
        keys.seal("acme").unwrap().write(body, &mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn a_sealed_id_comes_back_for_its_tenant_alone() {
        let keys = keys(&[A]);
        let text = written(&id(0..12), "acme", &keys);
        assert!(
            text.starts_with('A')
                && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        );
        assert_eq!(read(&text, "acme", &keys), Ok(id(0..12)));
        for other in ["globex", "acm", "acme ", "Acme", ""] {
            assert_eq!(read(&text, other, &keys), Err(EventIdError::Sealed), "{other:?}");
        }
    }

    #[test]
    fn an_attack_by_a_key_of_ones_own_opens_nothing() {
        let (ours, theirs) = (keys(&[A]), keys(&[B]));
        let forged = written(&id([7]), "acme", &theirs);
        assert_eq!(read(&forged, "acme", &ours), Err(EventIdError::Sealed));
        assert_eq!(EventId::read(&forged, "acme", None), Err(EventIdError::Sealed));
        assert_eq!(forged.parse::<EventId>(), Err(EventIdError::Sealed));
    }

    #[test]
    fn an_attack_by_any_other_byte_or_bit_opens_nothing() {
        let keys = keys(&[A, B]);
        let bytes =
            URL_SAFE_NO_PAD.decode(written(&id(1_000_000_000..1_000_000_012), "acme", &keys)).unwrap();
        for at in 0..bytes.len() {
            for other in (0..=255).filter(|other| *other != bytes[at]) {
                let mut damaged = bytes.clone();
                damaged[at] = other;
                assert!(read(&URL_SAFE_NO_PAD.encode(damaged), "acme", &keys).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn an_attack_by_cutting_or_lengthening_opens_nothing() {
        let keys = keys(&[A]);
        let text = written(&id(0..5), "acme", &keys);
        for end in 0..text.len() {
            assert!(read(&text[..end], "acme", &keys).is_err(), "{end}");
        }
        for more in ["A", "AAAA", "="] {
            assert!(read(&format!("{text}{more}"), "acme", &keys).is_err(), "{more}");
        }
    }

    #[test]
    fn an_attack_by_halves_of_two_ids_opens_nothing() {
        let keys = keys(&[A]);
        let decoded = |offset| URL_SAFE_NO_PAD.decode(written(&id([offset; 12]), "acme", &keys)).unwrap();
        let (one, other) = (decoded(1 << 20), decoded(1 << 19));
        assert_eq!(one.len(), other.len());
        for at in 1..one.len() {
            let mixed = [&one[..at], &other[at..]].concat();
            if mixed != one && mixed != other {
                assert!(read(&URL_SAFE_NO_PAD.encode(mixed), "acme", &keys).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn nothing_of_the_offsets_is_seen_but_a_step_of_sixteen_bytes() {
        let keys = keys(&[A]);
        let text = |offset| written(&id([offset]), "acme", &keys);
        assert_eq!(text(0).len(), text(1_000_000_000).len());
        let bytes = |offset| URL_SAFE_NO_PAD.decode(text(offset)).unwrap();
        let alike = bytes(41).iter().zip(bytes(42)).filter(|(a, b)| **a == *b).count();
        // The version, and by chance one byte in 256.
        assert!(alike <= 4, "{alike}");
        assert_ne!(text(41), written(&id([41]), "globex", &keys));
        assert_eq!(text(41), text(41));
    }

    #[test]
    fn zeros_of_another_number_are_no_second_encoding() {
        let keys = keys(&[A]);
        let text = id([7]).to_string();
        let unsealed = URL_SAFE_NO_PAD.decode(&text).unwrap();
        let body = &unsealed[..unsealed.len() - 2];
        assert_eq!(read(&sealed(body, &keys), "acme", &keys), Ok(id([7])));
        let block = |zeros: usize| [body, &vec![0; zeros]].concat();
        let full = padded(body.len()) - body.len();
        assert_eq!(sealed(&block(full), &keys), sealed(body, &keys));
        for wrong in [block(full + PAD), [body, &[1]].concat(), vec![SEALED; 16], Vec::new()] {
            assert!(read(&sealed(&wrong, &keys), "acme", &keys).is_err(), "{wrong:?}");
        }
    }

    /// Python's `cryptography` opens it, too: nonce `tailrace-id2`, associated data `acme`.
    #[test]
    fn a_known_sealed_id_is_read_for_good() {
        assert_eq!(
            written(&id([41, 42]), "acme", &keys(&[A])),
            "Ahtv8kUxp2shXBiAv79fBsl07IjhB4NOKKhHAgzPmKnq3aJTx6ZVYue-0TGQB55ZWg"
        );
    }

    #[test]
    fn sealed_ids_are_short_enough_for_a_header() {
        let keys = keys(&[A]);
        let length = |count: u64| written(&id(1_000_000_000..1_000_000_000 + count), "acme", &keys).len();
        assert!(length(1) <= 66, "{}", length(1));
        assert!(length(12) <= 152, "{}", length(12));
        assert!(length(1000) <= 7 * 1024, "{}", length(1000));
    }

    /// Who writes with these lines is read by whom, and whether it is sealed.
    #[test]
    fn the_first_line_writes_and_every_line_reads() {
        for (writer, reader, is_read) in [
            (&[A][..], &[A][..], true),
            (&[A], &[B, A], true),
            (&[B, A], &[A], false),
            (&["unsealed", A], &[A], false),
            (&["unsealed", A], &[A, "unsealed"], true),
            (&[A, "unsealed"], &["unsealed", A], true),
            (&[A, "unsealed"], &[B, "unsealed"], false),
        ] {
            let text = written(&id([7]), "acme", &keys(writer));
            assert_eq!(read(&text, "acme", &keys(reader)).is_ok(), is_read, "{writer:?} {reader:?}");
            assert_eq!(text == id([7]).to_string(), writer[0] == "unsealed");
        }
        let unsealed = id([7]).to_string();
        assert_eq!(read(&unsealed, "acme", &keys(&[A])), Err(EventIdError::Unsealed));
        assert_eq!(EventId::read(&unsealed, "acme", None), Ok(id([7])));
    }

    #[test]
    fn a_bad_key_file_is_refused_by_its_line_and_never_repeated() {
        let secret = "hunter2hunter2";
        let short = "ab".repeat(20);
        for (text, why) in [
            ("", "no key in it"),
            ("# nothing\n\n", "no key in it"),
            ("unsealed\n", "no key in it"),
            (&format!("{A}\n{secret}\n"), "line 2 is neither hexadecimal nor base64"),
            (&format!("# keys\n{short}"), "line 2 is not 32 bytes long"),
            (&format!("{A}\n{B}\n{A}"), "line 3 is there twice"),
            (&format!("unsealed\n{A}\nunsealed"), "line 3 is there twice"),
            (&format!("{A} {B}"), "line 1 is neither"),
        ] {
            let said = IdKeys::parse(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
            for hidden in [secret, &short, A, B] {
                assert!(!said.contains(hidden), "{said}");
            }
        }
        let many: Vec<String> = (1..=9).map(|n| format!("{n}{}", &A[1..])).collect();
        assert!(IdKeys::parse(&many.join("\n")).unwrap_err().contains("at most 8"));
        assert_eq!(format!("{:?}", keys(&[A, "unsealed"])), "[\"key\", \"unsealed\"]");
    }

    proptest! {
        #[test]
        fn a_running_id_is_sealed_as_its_vector_is(
            start in vec(0..u64::from(u32::MAX), 1..20),
            moves in vec((any::<usize>(), 0..300u64, 0..3i32), 0..20),
        ) {
            let (keys, mut id) = (keys(&[B]), id(start));
            let mut running = RunningId::default();
            // What an earlier batch of another tenant has left behind.
            running.begin(MINUTES, &Vector { parts: vec![id.vector.parts[0].clone(), id.vector.parts[0].clone()] }, None);
            running.begin(MINUTES, &id.vector, keys.seal("acme"));
            prop_assert_eq!(running.as_str(), written(&id, "acme", &keys));
            for (partition, more, epoch) in moves {
                let positions = &mut id.vector.parts[0].positions;
                let partition = partition % positions.len().min(2);
                positions[partition].offset += more;
                positions[partition].epoch += i32::from(epoch == 0);
                running.advance(0, partition, positions[partition], keys.seal("acme"));
                let text = written(&id, "acme", &keys);
                prop_assert_eq!(running.as_str(), &text);
                prop_assert_eq!(read(&text, "acme", &keys), Ok(id.clone()));
            }
        }

        #[test]
        fn foreign_text_never_panics(text in "A[A-Za-z0-9_-]{0,90}") {
            let _ = read(&text, "acme", &keys(&[A]));
        }
    }
}
