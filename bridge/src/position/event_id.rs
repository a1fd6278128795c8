//! Event ids: a whole vector as text, so that any replica can continue from an id, and no server keeps state of its clients.
//!
//! The bytes, before they become base64url without padding:
//!
//! | bytes | |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 3 | minutes since 2024-01-01T00:00Z, big-endian |
//! | varint | number of parts |
//! | per part: 3 + 3 | fingerprint of the topic's name, and of its id |
//! | varint | number of partitions |
//! | varint each | offset + 1; 0: not known |
//! | runs | leader epochs over all positions in order: varint `(epoch + 1) << 1 \| last`, then, unless last, varint length |
//! | 2 | CRC-16/IBM-SDLC of all before it, big-endian |
//!
//! Each id has exactly one encoding: varints are as short as possible, runs are as long as possible, and nothing trails.
//! [`seal`](super::seal) has the form of an id that only the replicas can read.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crc::{CRC_16_IBM_SDLC, Crc, Digest, Table};

use crate::base::varint::{patch_varint, put_varint, take_varint, varint_len};
use crate::position::seal::{IdKeys, SEALED, Seal, padded};
use crate::position::{Fingerprint, Part, Position, Vector};

/// The longest id that is parsed; request headers are accepted up to this size.
const MAX_TEXT: usize = 16 * 1024;
const VERSION: u8 = 1;
/// 2024-01-01T00:00Z in minutes since the Unix epoch.
const EPOCH_MINUTES: u32 = 28_401_120;
const MAX_MINUTES: u32 = (1 << 24) - 1;
/// Bytes of a part's fingerprint.
const FINGERPRINT: usize = 6;
/// A fingerprint and a count.
const MIN_PART: usize = FINGERPRINT + 1;
/// Bytes of the checksum.
const CHECKSUM: usize = 2;
/// Kafka's offsets are signed. Those of ids stay below the maximum, so that arithmetic on them cannot overflow.
const MAX_OFFSET: u64 = i64::MAX as u64 - 1;

static CRC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_IBM_SDLC);

thread_local!(static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) });

/// A parsed event id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// When the replica that wrote it had last refreshed its list of topics, in whole minutes since the Unix epoch.
    pub minutes: u32,
    /// The next offsets to deliver.
    pub vector: Vector,
}

/// Why an event id cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventIdError {
    /// The text is empty.
    #[error("the id is empty")]
    Empty,
    /// The text is longer than that of any request.
    #[error("the id is longer than {MAX_TEXT} characters")]
    TooLong,
    /// It is not from Tailrace, or was cut off.
    #[error("the id is not base64url without padding")]
    NotBase64,
    /// It was written by a later release.
    #[error("the id is of version {0}, this release reads version {VERSION}")]
    Version(u8),
    /// It was cut off or changed.
    #[error("the id's checksum does not match")]
    Checksum,
    /// It is sealed, and there is no key for it here: it was changed, or is another tenant's, or was sealed with another key.
    #[error(
        "the id is sealed, and cannot be opened: it was changed, or is another tenant's, or of another key"
    )]
    Sealed,
    /// Only sealed ids are taken here.
    #[error("the id is not sealed, and only sealed ids are taken")]
    Unsealed,
    /// Its checksum is right, but its content is not valid.
    #[error("the id is not well-formed: {0}")]
    Malformed(&'static str),
}

impl EventId {
    /// The version of the layout that this release writes and reads (docs/protocol.md).
    pub const VERSION: u8 = VERSION;
    /// The version of ids that are sealed.
    pub const SEALED_VERSION: u8 = crate::position::seal::SEALED;

    /// Appends the id of `vector` to `out`. `minutes` is the time of the last refresh of the list of topics, since the Unix
    /// epoch; times before 2024 or after 2055 become the nearest that an id can hold. `seal`: whether and how it is sealed.
    pub fn encode(out: &mut String, minutes: u32, vector: &Vector, seal: Option<Seal<'_>>) {
        SCRATCH.with_borrow_mut(|(bytes, sealed)| {
            bytes.clear();
            put_id(bytes, minutes, vector);
            match seal {
                None => URL_SAFE_NO_PAD.encode_string(bytes, out),
                Some(seal) => {
                    seal.write(without_checksum(bytes), sealed);
                    URL_SAFE_NO_PAD.encode_string(sealed, out);
                }
            }
        });
    }

    /// Reads an id of this tenant, sealed or not, as the keys say. Without keys, only ids without a seal are read.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(text: &str, tenant: &str, keys: Option<&IdKeys>) -> Result<EventId, EventIdError> {
        let bytes = decode(text)?;
        if bytes.first() != Some(&SEALED) {
            let id = take_id(&bytes)?;
            return if keys.is_none_or(IdKeys::takes_unsealed) {
                Ok(id)
            } else {
                Err(EventIdError::Unsealed)
            };
        }
        let opened = keys.and_then(|keys| keys.open(tenant, &bytes)).ok_or(EventIdError::Sealed)?;
        take_padded(&opened)
    }
}

/// An event id that follows a vector as its positions move: only what has changed is encoded again.
#[derive(Default)]
pub struct RunningId {
    minutes: u32,
    vector: Vector,
    /// Those of the unsealed id.
    bytes: Vec<u8>,
    /// Those of the sealed one, where ids are sealed.
    sealed: Vec<u8>,
    /// Base64, so ASCII.
    text: Vec<u8>,
    /// The position that moved last: the next move is most often of the same partition.
    last: Option<Spot>,
}

/// The bytes of a position within an id, and the state of the checksum before them.
struct Spot {
    part: usize,
    partition: usize,
    bytes: Range<usize>,
    before: Digest<'static, u16, Table<16>>,
}

impl RunningId {
    /// Begins with the id of `vector`; `minutes` and `seal` as in [`EventId::encode`].
    pub fn begin(&mut self, minutes: u32, vector: &Vector, seal: Option<Seal<'_>>) {
        self.minutes = minutes;
        self.vector.clone_from(vector);
        self.encode(seal);
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).expect("base64 is ASCII")
    }

    /// Moves one position: that of partition number `partition` in the vector's part number `part`, both from 0. `seal`: that
    /// with which the id began.
    ///
    /// # Panics
    /// If there is no such part or partition.
    pub fn advance(&mut self, part: usize, partition: usize, to: Position, seal: Option<Seal<'_>>) {
        let before = std::mem::replace(&mut self.vector.parts[part].positions[partition], to);
        let same = |spot: &Spot| (spot.part, spot.partition) == (part, partition);
        let spot = match self.last.take().filter(same) {
            Some(spot) => spot,
            None => self.find(part, partition, before),
        };
        if before.epoch == to.epoch
            && patch_varint(&mut self.bytes[spot.bytes.clone()], to.offset.wrapping_add(1))
        {
            match seal {
                None => self.close(&spot),
                Some(seal) => self.write_sealed(seal),
            }
            self.last = Some(spot);
        } else {
            self.encode(seal);
        }
    }

    fn encode(&mut self, seal: Option<Seal<'_>>) {
        self.last = None;
        self.bytes.clear();
        put_id(&mut self.bytes, self.minutes, &self.vector);
        if let Some(seal) = seal {
            return self.write_sealed(seal);
        }
        let len = base64::encoded_len(self.bytes.len(), false).expect("bytes in memory fit as base64");
        self.text.resize(len, 0);
        self.write_text(0);
    }

    /// Encrypts the whole id again: the tag, and with it each byte, depends on all of it. The checksum is not a part of it.
    fn write_sealed(&mut self, seal: Seal<'_>) {
        seal.write(without_checksum(&self.bytes), &mut self.sealed);
        let len = base64::encoded_len(self.sealed.len(), false).expect("bytes in memory fit as base64");
        self.text.resize(len, 0);
        let written = URL_SAFE_NO_PAD.encode_slice(&self.sealed, &mut self.text);
        debug_assert_eq!(written, Ok(len));
    }

    /// Writes the text from a group on: three bytes are four characters, and each group is encoded by itself.
    fn write_text(&mut self, group: usize) {
        let (bytes, text) = (&self.bytes[group * 3..], &mut self.text[group * 4..]);
        let len = URL_SAFE_NO_PAD.encode_slice(bytes, text).expect("there is just enough room");
        debug_assert_eq!(len, text.len());
    }

    /// Finds the bytes of a position that was `before` when they were written.
    fn find(&self, part: usize, partition: usize, before: Position) -> Spot {
        let length = |position: &Position| varint_len(position.offset.wrapping_add(1));
        let mut at = 4 + varint_len(self.vector.parts.len() as u64);
        for (index, known) in self.vector.parts[..=part].iter().enumerate() {
            let count = if index < part { known.positions.len() } else { partition };
            at += FINGERPRINT + varint_len(known.positions.len() as u64);
            at += known.positions[..count].iter().map(length).sum::<usize>();
        }
        let mut digest = CRC.digest();
        digest.update(&self.bytes[..at]);
        Spot { part, partition, bytes: at..at + length(&before), before: digest }
    }

    /// Updates the checksum and the text after a position's bytes have changed.
    fn close(&mut self, spot: &Spot) {
        let body = self.bytes.len() - 2;
        let mut digest = spot.before.clone();
        digest.update(&self.bytes[spot.bytes.start..body]);
        self.bytes[body..].copy_from_slice(&digest.finalize().to_be_bytes());
        self.write_text(spot.bytes.start / 3);
    }
}

fn put_id(out: &mut Vec<u8>, minutes: u32, vector: &Vector) {
    out.push(VERSION);
    let minutes = minutes.saturating_sub(EPOCH_MINUTES).min(MAX_MINUTES);
    out.extend_from_slice(&minutes.to_be_bytes()[1..]);
    put_varint(out, vector.parts.len() as u64);
    for part in &vector.parts {
        out.extend_from_slice(&part.fingerprint.name);
        out.extend_from_slice(&part.fingerprint.id);
        put_varint(out, part.positions.len() as u64);
        // The offset of an unknown position is the highest number: one more is zero.
        part.positions.iter().for_each(|position| put_varint(out, position.offset.wrapping_add(1)));
    }
    put_epochs(out, vector.parts.iter().flat_map(|part| &part.positions).map(|position| position.epoch));
    let checksum = CRC.checksum(out);
    out.extend_from_slice(&checksum.to_be_bytes());
}

fn put_epochs(out: &mut Vec<u8>, mut epochs: impl Iterator<Item = i32>) {
    let Some(mut current) = epochs.next() else { return };
    let mut length = 1;
    for epoch in epochs {
        if epoch != current {
            put_varint(out, epoch_code(current));
            put_varint(out, length);
            (current, length) = (epoch, 0);
        }
        length += 1;
    }
    put_varint(out, epoch_code(current) | 1);
}

fn epoch_code(epoch: i32) -> u64 {
    ((i64::from(epoch.max(-1)) + 1) as u64) << 1
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        EventId::encode(&mut text, self.minutes, &self.vector, None);
        f.write_str(&text)
    }
}

impl FromStr for EventId {
    type Err = EventIdError;

    /// Reads an id without a seal.
    fn from_str(text: &str) -> Result<EventId, EventIdError> {
        EventId::read(text, "", None)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, EventIdError> {
    if text.is_empty() {
        return Err(EventIdError::Empty);
    }
    if text.len() > MAX_TEXT {
        return Err(EventIdError::TooLong);
    }
    URL_SAFE_NO_PAD.decode(text).map_err(|_| EventIdError::NotBase64)
}

/// Whether the text has the form of a sealed id, whatever its content.
pub(crate) fn is_sealed(text: &str) -> bool {
    decode(text).is_ok_and(|bytes| bytes.first() == Some(&SEALED))
}

fn without_checksum(id: &[u8]) -> &[u8] {
    id.split_last_chunk::<CHECKSUM>().map_or(id, |(body, _)| body)
}

fn take_id(bytes: &[u8]) -> Result<EventId, EventIdError> {
    let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM>() else {
        return Err(EventIdError::Checksum);
    };
    if CRC.checksum(body) != u16::from_be_bytes(*checksum) {
        return Err(EventIdError::Checksum);
    }
    match take_body(body)? {
        (id, []) => Ok(id),
        _ => Err(EventIdError::Malformed("trailing bytes")),
    }
}

/// The content of a sealed id: there is one encoding of it, so just so many zeros follow it.
fn take_padded(opened: &[u8]) -> Result<EventId, EventIdError> {
    match take_body(opened)? {
        (id, rest) if is_padding(opened.len(), rest) => Ok(id),
        _ => Err(EventIdError::Malformed("trailing bytes")),
    }
}

fn is_padding(whole: usize, rest: &[u8]) -> bool {
    whole == padded(whole - rest.len()) && rest.iter().all(|byte| *byte == 0)
}

/// An id without its checksum, and the bytes after it.
fn take_body(body: &[u8]) -> Result<(EventId, &[u8]), EventIdError> {
    let Some((&version, mut rest)) = body.split_first() else {
        return Err(EventIdError::Malformed("no version"));
    };
    if version != VERSION {
        return Err(EventIdError::Version(version));
    }
    let id = take_content(&mut rest).map_err(EventIdError::Malformed)?;
    Ok((id, rest))
}

fn take_content(rest: &mut &[u8]) -> Result<EventId, &'static str> {
    let [a, b, c] = take_array(rest).ok_or("no time")?;
    let minutes = EPOCH_MINUTES + u32::from_be_bytes([0, a, b, c]);
    let count = take_count(rest, MIN_PART).ok_or("number of parts")?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        parts.push(take_part(rest)?);
    }
    let mut vector = Vector { parts };
    take_epochs(rest, &mut vector)?;
    Ok(EventId { minutes, vector })
}

fn take_part(rest: &mut &[u8]) -> Result<Part, &'static str> {
    let name = take_array(rest).ok_or("no fingerprint")?;
    let id = take_array(rest).ok_or("no fingerprint")?;
    let count = take_count(rest, 1).ok_or("number of partitions")?;
    let mut positions = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = take_varint(rest).ok_or("offset")?.wrapping_sub(1);
        if offset != Position::UNKNOWN.offset && offset > MAX_OFFSET {
            return Err("an offset above Kafka's");
        }
        positions.push(Position { offset, epoch: -1 });
    }
    Ok(Part { fingerprint: Fingerprint { name, id }, positions })
}

fn take_epochs(rest: &mut &[u8], vector: &mut Vector) -> Result<(), &'static str> {
    let mut positions = vector.parts.iter_mut().flat_map(|part| &mut part.positions).peekable();
    let mut before = None;
    while positions.peek().is_some() {
        let code = take_varint(rest).ok_or("leader epoch")?;
        let epoch = i32::try_from((code >> 1) as i64 - 1).map_err(|_| "leader epoch")?;
        if before == Some(epoch) {
            return Err("a run of leader epochs in two");
        }
        before = Some(epoch);
        if code & 1 == 1 {
            positions.by_ref().for_each(|position| position.epoch = epoch);
            return Ok(());
        }
        let length = take_varint(rest).filter(|&length| length > 0).ok_or("run of leader epochs")?;
        for _ in 0..length {
            positions.next().ok_or("more leader epochs than positions")?.epoch = epoch;
        }
        if positions.peek().is_none() {
            return Err("no last run of leader epochs");
        }
    }
    Ok(())
}

/// Reads the number of items that take at least `size` bytes each; `None` if there are too few bytes for them.
fn take_count(rest: &mut &[u8], size: usize) -> Option<usize> {
    let count = usize::try_from(take_varint(rest)?).ok()?;
    (count <= rest.len() / size).then_some(count)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::TopicId;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The id of one topic, `orders`, with two partitions. It is pinned, since ids outlive releases.
    const PINNED: &str = "ARPWIAEPT5ULOZcCKgAHwK4";
    const NOW: u32 = EPOCH_MINUTES + 1_300_000;

    fn part(name: &str, offsets: impl IntoIterator<Item = u64>, epoch: i32) -> Part {
        let positions = offsets.into_iter().map(|offset| Position { offset, epoch }).collect();
        Part { fingerprint: Fingerprint::new(name, TopicId([9; 16])), positions }
    }

    fn text(parts: Vec<Part>) -> String {
        EventId { minutes: NOW, vector: Vector { parts } }.to_string()
    }

    /// These bytes as an id with a valid checksum, even if their content is not valid.
    fn checked(body: &[u8]) -> String {
        let mut bytes = body.to_vec();
        bytes.extend_from_slice(&CRC.checksum(body).to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn some_position() -> impl Strategy<Value = Position> {
        let known = (0..=MAX_OFFSET, prop_oneof![Just(-1), 0..5i32, Just(i32::MAX)])
            .prop_map(|(offset, epoch)| Position { offset, epoch });
        prop_oneof![3 => known, 1 => Just(Position::UNKNOWN)]
    }

    fn some_id() -> impl Strategy<Value = EventId> {
        let part = (any::<[u8; 3]>(), any::<[u8; 3]>(), vec(some_position(), 0..20))
            .prop_map(|(name, id, positions)| Part { fingerprint: Fingerprint { name, id }, positions });
        (EPOCH_MINUTES..=EPOCH_MINUTES + MAX_MINUTES, vec(part, 0..6))
            .prop_map(|(minutes, parts)| EventId { minutes, vector: Vector { parts } })
    }

    proptest! {
        #[test]
        fn an_id_comes_back_as_it_was(id in some_id()) {
            let text = id.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            prop_assert_eq!(text.parse::<EventId>(), Ok(id));
        }

        #[test]
        fn whatever_can_be_read_is_written_the_same(body in vec(any::<u8>(), 0..60)) {
            let mut versioned = vec![VERSION];
            versioned.extend(body);
            let text = checked(&versioned);
            if let Ok(id) = text.parse::<EventId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,80}") {
            let _ = text.parse::<EventId>();
        }
    }

    proptest! {
        #[test]
        fn a_running_id_is_that_of_its_vector(
            id in some_id(),
            moves in vec((any::<usize>(), any::<usize>(), 0..3usize, 0..300u64, some_position()), 0..20),
        ) {
            let EventId { minutes, mut vector } = id;
            let mut running = RunningId::default();
            running.begin(minutes, &vector, None);
            for (part, partition, how, more, anywhere) in moves {
                if vector.parts.is_empty() {
                    break;
                }
                let part = part % vector.parts.len();
                let positions = &mut vector.parts[part].positions;
                if positions.is_empty() {
                    continue;
                }
                let partition = partition % positions.len().min(2);
                let position = &mut positions[partition];
                *position = match how {
                    0 => anywhere,
                    _ => Position { offset: position.offset.wrapping_add(more).min(MAX_OFFSET), ..*position },
                };
                running.advance(part, partition, *position, None);
                let expected = EventId { minutes, vector: vector.clone() }.to_string();
                prop_assert_eq!(running.as_str(), expected);
            }
        }
    }

    /// The characters of ids, and some others.
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=\n +";

    #[test]
    fn any_one_character_that_differs_is_detected() {
        for parts in [
            vec![],
            vec![part("orders", [1_000_000_000], 3)],
            vec![part("orders", 0..12, 3), part("metrics", [7, u64::MAX], 0)],
        ] {
            let id = text(parts);
            for at in 0..id.len() {
                for &other in ALPHABET.iter().filter(|&&other| other != id.as_bytes()[at]) {
                    let mut damaged = id.clone().into_bytes();
                    damaged[at] = other;
                    let damaged = String::from_utf8(damaged).unwrap();
                    assert!(damaged.parse::<EventId>().is_err(), "{damaged} instead of {id}");
                }
            }
        }
    }

    #[test]
    fn any_one_byte_that_differs_is_detected() {
        let id = text(vec![part("orders", 1_000_000_000..1_000_000_012, 3)]);
        let bytes = URL_SAFE_NO_PAD.decode(id).unwrap();
        for at in 0..bytes.len() {
            for other in (0..=255).filter(|&other| other != bytes[at]) {
                let mut damaged = bytes.clone();
                damaged[at] = other;
                assert!(take_id(&damaged).is_err());
            }
        }
    }

    /// Ids with other shapes and offsets than above, each damaged in one character.
    #[test]
    fn of_a_million_damaged_ids_none_is_taken_for_another() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        for _ in 0..1_000 {
            let start = next(1 << 40) as u64;
            let count = 1 + next(16) as u64;
            let id =
                text(vec![part("orders", start..start + count, next(200) as i32), part("calm", [7, 9], 0)]);
            for _ in 0..1_000 {
                let (at, other) = (next(id.len()), ALPHABET[next(ALPHABET.len())]);
                if other == id.as_bytes()[at] {
                    continue;
                }
                let mut damaged = id.clone().into_bytes();
                damaged[at] = other;
                let damaged = String::from_utf8(damaged).unwrap();
                assert!(damaged.parse::<EventId>().is_err(), "{damaged} instead of {id}");
            }
        }
    }

    #[test]
    fn an_id_that_was_cut_is_detected() {
        let id = text(vec![part("orders", 0..5, 0)]);
        for end in 0..id.len() {
            assert!(id[..end].parse::<EventId>().is_err());
        }
    }

    #[test]
    fn ids_are_short_enough_for_a_header() {
        let at = 1_000_000_000;
        assert!(text(vec![part("orders", [at], 5)]).len() <= 28);
        assert!(text(vec![part("orders", at..at + 12, 5)]).len() <= 120);
        assert!(text(vec![part("orders", at..at + 1000, 5)]).len() <= 7 * 1024);
    }

    #[test]
    fn two_incarnations_of_a_topic_stay_two_parts() {
        let old = part("orders", [5, u64::MAX], 1);
        let new =
            Part { fingerprint: Fingerprint::new("orders", TopicId([1; 16])), ..part("", [u64::MAX, 0], 0) };
        let id: EventId = text(vec![old.clone(), new.clone()]).parse().unwrap();
        assert_eq!(id.vector.parts, [old, new]);
    }

    #[test]
    fn a_known_id_is_read_for_good() {
        let id = EventId { minutes: NOW, vector: Vector { parts: vec![part("orders", [41, u64::MAX], 2)] } };
        assert_eq!(id.to_string(), PINNED);
        assert_eq!(PINNED.parse(), Ok(id));
    }
    #[test]
    fn nonsense_with_a_good_checksum_is_refused() {
        let fingerprint = [1, 2, 3, 4, 5, 6];
        let with = |rest: &[u8]| [&[VERSION, 0, 0, 0][..], rest].concat();
        let one = |rest: &[u8]| with(&[&[1][..], &fingerprint, rest].concat());
        for (body, why) in [
            (vec![], "no version"),
            (vec![VERSION, 0, 0], "no time"),
            (with(&[]), "number of parts"),
            (with(&[0x80, 0x00]), "number of parts"),
            (with(&[0xff, 0xff, 0x03]), "number of parts"),
            (with(&[0, 9]), "trailing bytes"),
            (one(&[]), "number of parts"),
            (one(&[0xff, 0xff, 0x03]), "number of partitions"),
            (one(&[1, 0x80]), "offset"),
            (
                one(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
                "an offset above Kafka's",
            ),
            (one(&[1, 5]), "leader epoch"),
            (one(&[1, 5, 2]), "run of leader epochs"),
            (one(&[1, 5, 2, 0]), "run of leader epochs"),
            (one(&[1, 5, 2, 1]), "no last run of leader epochs"),
            (one(&[2, 5, 5, 2, 1, 3]), "a run of leader epochs in two"),
            (one(&[2, 5, 5, 2, 9]), "more leader epochs than positions"),
            (one(&[1, 5, 3, 3]), "trailing bytes"),
            (one(&[1, 5, 0xff, 0xff, 0xff, 0xff, 0x7f]), "leader epoch"),
        ] {
            assert_eq!(checked(&body).parse::<EventId>(), Err(EventIdError::Malformed(why)), "{body:?}");
        }
        assert_eq!(checked(&[3, 0, 0, 0, 0]).parse::<EventId>(), Err(EventIdError::Version(3)));
        assert_eq!(checked(&[2, 0, 0, 0, 0]).parse::<EventId>(), Err(EventIdError::Sealed));
        assert_eq!("".parse::<EventId>(), Err(EventIdError::Empty));
        assert_eq!("A".repeat(MAX_TEXT + 1).parse::<EventId>(), Err(EventIdError::TooLong));
        assert!("A".repeat(MAX_TEXT).parse::<EventId>().is_err());
    }
}
