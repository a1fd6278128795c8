//! The address that proxies report in `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! A list is read from its right end, byte by byte, and only as far as trusted proxies wrote it. Whatever a client put on the
//! left of that, an open quote or bytes that are no text included, does not change how the rest is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::HeaderMap;
use axum::http::header::FORWARDED;

use super::trusted::{TrustedProxies, canonical};

const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// The most trusted proxies in a row; the address that the last of them reports stands.
const MAX_HOPS: usize = 32;
/// The longest name of a node, in bytes: an IPv6 address in brackets with a port, quoted, and some room.
const MAX_NODE: usize = 64;

/// The header that trusted proxies write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// Either. If a request has both and they do not say the same address, one of them may be the client's, which a proxy has
    /// passed on: neither is believed.
    #[default]
    Any,
    /// Only `Forwarded`.
    Forwarded,
    /// Only `X-Forwarded-For`.
    XForwardedFor,
}

/// The address at the other end of a request, and what was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The client's address; port 0 where the proxy did not say it.
    pub address: SocketAddr,
    /// Why a header does not count, or not all of it; `None` also where there is no header.
    pub ignored: Option<Ignored>,
}

/// Why a header that reports an address does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The request does not come from a trusted proxy.
    Untrusted,
    /// Two headers say different addresses.
    Conflict,
    /// A trusted proxy reports something that is no address.
    NoAddress,
}

impl Ignored {
    pub(crate) const ALL: [Ignored; 3] = [Ignored::Untrusted, Ignored::Conflict, Ignored::NoAddress];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Ignored::Untrusted => "untrusted",
            Ignored::Conflict => "conflict",
            Ignored::NoAddress => "no_address",
        }
    }
}

impl FromStr for ForwardedHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<ForwardedHeader, String> {
        match text.to_ascii_lowercase().as_str() {
            "any" => Ok(ForwardedHeader::Any),
            "forwarded" => Ok(ForwardedHeader::Forwarded),
            X_FORWARDED_FOR => Ok(ForwardedHeader::XForwardedFor),
            _ => Err("any, forwarded or x-forwarded-for".to_owned()),
        }
    }
}

/// The address at the other end of a request that came from `nearest`, by the header that the trusted proxies write.
pub(super) fn peer(
    trusted: &TrustedProxies,
    header: ForwardedHeader,
    nearest: SocketAddr,
    headers: &HeaderMap,
) -> Report {
    let none = Report { address: nearest, ignored: None };
    let has = |name: &str| headers.contains_key(name);
    let (forwarded, x_forwarded_for) = match header {
        ForwardedHeader::Any => (has(FORWARDED.as_str()), has(X_FORWARDED_FOR)),
        ForwardedHeader::Forwarded => (has(FORWARDED.as_str()), false),
        ForwardedHeader::XForwardedFor => (false, has(X_FORWARDED_FOR)),
    };
    if !forwarded && !x_forwarded_for {
        return none;
    }
    if !trusted.contains(nearest.ip()) {
        return Report { ignored: Some(Ignored::Untrusted), ..none };
    }
    let first = || walk(trusted, nearest, elements(headers, FORWARDED.as_str()).map(forwarded_for));
    let second = || walk(trusted, nearest, elements(headers, X_FORWARDED_FOR).map(node));
    match (forwarded, x_forwarded_for) {
        (true, false) => first(),
        (false, _) => second(),
        (true, true) => agreed(nearest, first(), second()),
    }
}

/// What both headers say, if they say the same address; else neither counts.
fn agreed(nearest: SocketAddr, forwarded: Report, x_forwarded_for: Report) -> Report {
    if forwarded.address.ip() == x_forwarded_for.address.ip() {
        return forwarded;
    }
    Report { address: nearest, ignored: Some(Ignored::Conflict) }
}

/// From one trusted address to the next, up to the first that is not trusted. `hops` begin at the right end of the list.
fn walk(
    trusted: &TrustedProxies,
    nearest: SocketAddr,
    hops: impl Iterator<Item = Option<SocketAddr>>,
) -> Report {
    let mut address = nearest;
    for hop in hops.take(MAX_HOPS) {
        let Some(hop) = hop.map(canonical) else {
            return Report { address, ignored: Some(Ignored::NoAddress) };
        };
        address = hop;
        if !trusted.contains(address.ip()) {
            break;
        }
    }
    Report { address, ignored: None }
}

/// The elements of a list from its right end; several lines are one list (RFC 9110, section 5.3). An empty element is not
/// skipped: a proxy that knows no address has written it.
fn elements<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
    lines.into_iter().rev().flat_map(|line| parts(line, b','))
}

/// The parts of a text between separators, from its right end; a separator within a quoted string is none.
fn parts(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = last_outside_quotes(text, separator);
        rest = at.map(|at| &text[..at]);
        Some(text[at.map_or(0, |at| at + 1)..].trim_ascii())
    })
}

/// Read from the right, the first quote ends a quoted string, and the next one that no backslash escapes begins it.
fn last_outside_quotes(text: &[u8], separator: u8) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in text.iter().enumerate().rev() {
        match byte {
            b'"' if quoted => quoted = is_escaped(&text[..at]),
            b'"' => quoted = true,
            byte if *byte == separator && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether an odd number of backslashes stands before.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The address of `for=` in an element of `Forwarded`; a parameter that is given twice is none.
fn forwarded_for(element: &[u8]) -> Option<SocketAddr> {
    let mut found = None;
    for pair in parts(element, b';') {
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
        if pair[..equals].eq_ignore_ascii_case(b"for") && found.replace(&pair[equals + 1..]).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix(b"\"") {
        None => node(value),
        // No address has a character that must be escaped.
        Some(quoted) => node(quoted.strip_suffix(b"\"")?),
    }
}

/// The address of a node (RFC 7239, section 6): an IPv4 address, or an IPv6 address in brackets, each with a port or without.
/// In `X-Forwarded-For`, brackets may be missing.
fn node(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= MAX_NODE)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let colon = text.find(':')?;
            (IpAddr::V4(text[..colon].parse::<Ipv4Addr>().ok()?), &text[colon..])
        }
    };
    Some(SocketAddr::new(address, node_port(port)?))
}

/// `:4711`, a made-up `:_name`, or nothing: port 0.
fn node_port(text: &str) -> Option<u16> {
    let is_made_up = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    match text.strip_prefix(':') {
        None => text.is_empty().then_some(0),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok(),
        Some(port) => port.strip_prefix('_').is_some_and(is_made_up).then_some(0),
    }
}

#[cfg(test)]
mod tests;
