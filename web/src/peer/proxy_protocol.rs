//! The header of the PROXY protocol, versions 1 and 2 (haproxy.org, `doc/proxy-protocol.txt`): the address of the client, sent
//! by a balancer before the client's first byte.
//!
//! Strict where the specification is: numbers without signs or leading zeros, one space between words, only known commands and
//! families. Of what it has a receiver ignore, nothing is read: the line of `UNKNOWN`, the block of `LOCAL`, type-length-values.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest header that is read, in bytes. Version 2 could have 64 KiB: that room is for type-length-values, which balancers
/// fill with less than a KiB.
pub const MAX_HEADER: usize = 4096;
/// The longest header of version 1, line end included.
const MAX_LINE: usize = 107;
const LINE_BEGIN: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const FIXED: usize = 16;
/// Two addresses and two ports.
const IPV4_BLOCK: usize = 12;
const IPV6_BLOCK: usize = 36;

/// A header that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Whose connection it is.
    pub source: Source,
    /// How many bytes the header has; what follows it is the client's.
    pub length: usize,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The balancer forwards for this client.
    Client(SocketAddr),
    /// The balancer speaks for itself, as in a health check, or does not say who the client is: the socket's address stands.
    Balancer,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The first bytes are those of something else.
    #[error("it does not begin with a header of the PROXY protocol")]
    Missing,
    /// Some part of it is not as specified.
    #[error("its header of the PROXY protocol is wrong: {0}")]
    Malformed(&'static str),
    /// Longer than [`MAX_HEADER`].
    #[error("its header of the PROXY protocol is longer than {MAX_HEADER} bytes")]
    TooLong,
}

/// The header at the beginning of `bytes`; `None` while it is not whole.
///
/// A header that is whole is the same whatever follows it, and an error stays with any more bytes.
///
/// # Errors
/// If no more bytes can make it a header.
pub fn read_header(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    if bytes.starts_with(LINE_BEGIN) {
        read_line(bytes)
    } else if bytes.starts_with(SIGNATURE) {
        read_binary(bytes)
    } else if LINE_BEGIN.starts_with(bytes) || SIGNATURE.starts_with(bytes) {
        Ok(None)
    } else {
        Err(HeaderError::Missing)
    }
}

/// Whether the bytes begin as nothing but such a header does.
pub(crate) fn begins_with_header(bytes: &[u8]) -> bool {
    bytes.starts_with(LINE_BEGIN) || bytes.starts_with(SIGNATURE)
}

/// Version 1: a line of text.
fn read_line(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    let within = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        let is_over = within.len() == MAX_LINE;
        return if is_over { Err(HeaderError::Malformed("its line has no end")) } else { Ok(None) };
    };
    let source = line_source(&within[LINE_BEGIN.len()..end])?;
    Ok(Some(ProxyHeader { source, length: end + 2 }))
}

/// `TCP4 192.0.2.1 192.0.2.2 4711 443`, `TCP6 …`, or `UNKNOWN` with anything behind it.
fn line_source(line: &[u8]) -> Result<Source, HeaderError> {
    let mut words = line.split(|byte| *byte == b' ');
    let source = match words.next() {
        Some(b"UNKNOWN") => return Ok(Source::Balancer),
        Some(b"TCP4") => line_addresses::<Ipv4Addr>(&mut words),
        Some(b"TCP6") => line_addresses::<Ipv6Addr>(&mut words),
        _ => return Err(HeaderError::Malformed("its protocol is none of TCP4, TCP6 and UNKNOWN")),
    };
    let source = source.filter(|_| words.next().is_none());
    source.map(Source::Client).ok_or(HeaderError::Malformed("its line is not two addresses and two ports"))
}

/// The source, if source and destination are valid.
fn line_addresses<'a, A>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<SocketAddr>
where
    A: FromStr,
    SocketAddr: From<(A, u16)>,
{
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let (source, _destination): (A, A) = (word()?.parse().ok()?, word()?.parse().ok()?);
    let (source_port, _destination_port) = (line_port(word()?)?, line_port(word()?)?);
    Some((source, source_port).into())
}

fn line_port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_number)
}

/// Version 2: a fixed part, addresses, and type-length-values.
fn read_binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, HeaderError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let block = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + block > MAX_HEADER {
        return Err(HeaderError::TooLong);
    }
    let kind = Kind::of(command, family)?;
    if block < kind.least() {
        return Err(HeaderError::Malformed("it is too short for its addresses"));
    }
    let Some(block) = rest.get(..block) else { return Ok(None) };
    Ok(Some(ProxyHeader { source: kind.source(block), length: FIXED + block.len() }))
}

/// What the addresses of a header of version 2 are.
enum Kind {
    Ipv4,
    Ipv6,
    /// `LOCAL`, or a family that has no address of a network.
    None,
}

impl Kind {
    fn of(command: u8, family: u8) -> Result<Kind, HeaderError> {
        match (command, family) {
            (0x20, _) => Ok(Kind::None),
            (0x21, 0x11) => Ok(Kind::Ipv4),
            (0x21, 0x21) => Ok(Kind::Ipv6),
            // Unspecified, Unix sockets, and datagrams, which no connection of TCP is.
            (0x21, 0x00..=0x02 | 0x10 | 0x12 | 0x20 | 0x22 | 0x30..=0x32) => Ok(Kind::None),
            (0x21, _) => Err(HeaderError::Malformed("its family of addresses is unknown")),
            (0x22..=0x2F, _) => Err(HeaderError::Malformed("its command is neither LOCAL nor PROXY")),
            _ => Err(HeaderError::Malformed("its version is not 2")),
        }
    }

    /// The length of its addresses.
    fn least(&self) -> usize {
        match self {
            Kind::Ipv4 => IPV4_BLOCK,
            Kind::Ipv6 => IPV6_BLOCK,
            Kind::None => 0,
        }
    }

    /// The source, from a block that is not shorter than [`Kind::least`].
    fn source(&self, block: &[u8]) -> Source {
        let client = match self {
            Kind::Ipv4 => block_source::<4, Ipv4Addr>(block),
            Kind::Ipv6 => block_source::<16, Ipv6Addr>(block),
            Kind::None => None,
        };
        client.map_or(Source::Balancer, Source::Client)
    }
}

/// Source, destination, the source's port, the destination's port.
fn block_source<const N: usize, A: From<[u8; N]>>(block: &[u8]) -> Option<SocketAddr>
where
    SocketAddr: From<(A, u16)>,
{
    let address = A::from(*block.first_chunk::<N>()?);
    let port = u16::from_be_bytes(*block.get(2 * N..)?.first_chunk::<2>()?);
    Some((address, port).into())
}

#[cfg(test)]
mod tests;
