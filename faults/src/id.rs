//! Parses and builds event ids by their description in the protocol's documentation, to make ids that no server has written.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The parts of an id that the suite changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    pub version: u8,
    /// Minutes since the beginning of 2024.
    pub minutes: u32,
    pub topics: Vec<TopicPart>,
    /// Runs of leader epochs, not decoded.
    pub epochs: Vec<u8>,
}

/// The part of an id about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPart {
    pub fingerprint: [u8; 6],
    /// By partition, the offset plus one; 0: not known.
    pub offsets: Vec<u64>,
}

impl Id {
    /// Reads an id that a server wrote.
    pub fn parse(text: &str) -> Option<Id> {
        let bytes = from_base64(text)?;
        // The unused bits of the last character must be zero.
        if to_base64(&bytes) != text {
            return None;
        }
        let (body, sum) = bytes.split_last_chunk::<2>()?;
        if checksum(body).to_be_bytes() != *sum {
            return None;
        }
        let (head, mut rest) = body.split_first_chunk::<4>()?;
        let minutes = u32::from_be_bytes([0, head[1], head[2], head[3]]);
        let mut topics = Vec::new();
        for _ in 0..take_number(&mut rest)? {
            let (fingerprint, after) = rest.split_first_chunk::<6>()?;
            rest = after;
            let count = take_number(&mut rest)?;
            let offsets = (0..count).map(|_| take_number(&mut rest)).collect::<Option<Vec<u64>>>()?;
            topics.push(TopicPart { fingerprint: *fingerprint, offsets });
        }
        Some(Id { version: head[0], minutes, topics, epochs: rest.to_vec() })
    }

    /// Builds the text, with a valid checksum.
    pub fn text(&self) -> String {
        let mut bytes = vec![self.version];
        bytes.extend_from_slice(&self.minutes.to_be_bytes()[1..]);
        put_number(&mut bytes, self.topics.len() as u64);
        for topic in &self.topics {
            bytes.extend_from_slice(&topic.fingerprint);
            put_number(&mut bytes, topic.offsets.len() as u64);
            topic.offsets.iter().for_each(|offset| put_number(&mut bytes, *offset));
        }
        bytes.extend_from_slice(&self.epochs);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        to_base64(&bytes)
    }

    /// The same id with one epoch for all partitions: -1, which means that none is known.
    pub fn without_epochs(mut self) -> Id {
        self.epochs = vec![1];
        self
    }
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// CRC-16/IBM-SDLC (X.25), bit by bit.
fn checksum(bytes: &[u8]) -> u16 {
    let shift = |sum: u16| if sum & 1 == 1 { (sum >> 1) ^ 0x8408 } else { sum >> 1 };
    let step = |sum: u16, byte: &u8| (0..8).fold(sum ^ u16::from(*byte), |sum, _| shift(sum));
    !bytes.iter().fold(0xffff, step)
}

fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        let characters = (0..=group.len()).map(|at| ALPHABET[(bits >> (18 - 6 * at)) as usize & 63]);
        text.extend(characters.map(char::from));
    }
    text
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            let digit = group.get(at).map(|one| ALPHABET.iter().position(|known| known == one));
            bits = (bits << 6) | digit.unwrap_or(Some(0))? as u32;
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len().max(1)]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the protocol's documentation is parsed, and built again with the same result.
    #[test]
    fn a_known_id_comes_back_as_it_was() {
        const KNOWN: &str = "ARPWIAEPT5ULOZcCKgAHwK4";
        let id = Id::parse(KNOWN).unwrap();
        assert_eq!((id.version, id.topics.len(), &id.topics[0].offsets[..]), (1, 1, &[42, 0][..]));
        assert_eq!(id.text(), KNOWN);
        assert_eq!(Id::parse("ARPWIAEPT5ULOZcCKgAHwK5"), None);
    }
}
