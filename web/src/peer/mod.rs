//! Who is at the other end: the socket's address, or the address that a trusted proxy in front of this server reports.
//!
//! | what is believed | from whom | where it is read |
//! | --- | --- | --- |
//! | PROXY protocol, versions 1 and 2 | a socket whose address is trusted | [`proxy_protocol`], once for each connection |
//! | `Forwarded` (RFC 7239), `X-Forwarded-For` | an address that is trusted: the socket's, or the one that PROXY protocol gave | [`forwarded`], for each request |
//!
//! Both lists of addresses are walked from their right end, which is what the nearest proxy wrote: each trusted address vouches
//! for the one to its left, and the first that is not trusted is the client. What is left of it was written by the client, and
//! is not even read. Where a trusted proxy does not say an address (`unknown`, a made-up name, garbage), the proxy's own address
//! stands. Nothing in this folder does I/O, and no input makes it panic.

mod forwarded;
mod proxy_protocol;
mod trusted;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::http::{Extensions, HeaderMap};

use self::trusted::canonical;

pub use self::forwarded::{ForwardedHeader, Ignored, Report};
pub(crate) use self::proxy_protocol::begins_with_header;
pub use self::proxy_protocol::{HeaderError, MAX_HEADER, ProxyHeader, Source, read_header};
pub use self::trusted::TrustedProxies;

/// The address at the other end of a request: the client's, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

impl PeerAddress {
    /// The address that the server has put into a request.
    pub(crate) fn of(request: &Extensions) -> SocketAddr {
        let peer = request.get::<PeerAddress>().map(|peer| peer.0);
        peer.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
    }
}

/// Which proxies are believed, and how they report addresses.
#[derive(Clone, Debug, Default)]
pub struct PeerRules {
    /// The proxies that are believed.
    pub trusted: TrustedProxies,
    /// The header that they write.
    pub header: ForwardedHeader,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

impl PeerRules {
    /// The same proxies, whose connections begin without a header of the PROXY protocol.
    pub(crate) fn without_proxy_protocol(&self) -> PeerRules {
        PeerRules { proxy_protocol: false, ..self.clone() }
    }

    /// The address at the other end of a request that came from `nearest`.
    pub fn peer(&self, nearest: SocketAddr, headers: &HeaderMap) -> Report {
        forwarded::peer(&self.trusted, self.header, canonical(nearest), headers)
    }
}

/// The nearest address that is known of a connection, from which its requests may know others.
#[derive(Clone)]
pub(crate) struct Nearest {
    address: SocketAddr,
    /// `None`: no header is read.
    rules: Option<Arc<PeerRules>>,
}

impl Nearest {
    /// The other end of a socket.
    pub(crate) fn socket(address: SocketAddr, rules: Arc<PeerRules>) -> Nearest {
        Nearest { address: canonical(address), rules: Some(rules) }
    }

    /// Whether the connection must begin with a header of the PROXY protocol.
    pub(crate) fn sends_header(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.proxy_protocol && rules.trusted.contains(self.ip()))
    }

    /// What is known after that header.
    pub(crate) fn after(self, source: Source) -> Nearest {
        match source {
            Source::Client(address) => Nearest { address: canonical(address), ..self },
            // The balancer passes bytes on and has not said for whom: it has not written the headers of the requests either.
            Source::Balancer => Nearest { rules: None, ..self },
        }
    }

    /// The address at the other end of a request.
    pub(crate) fn peer(&self, headers: &HeaderMap) -> Report {
        match &self.rules {
            Some(rules) => rules.peer(self.address, headers),
            None => Report { address: self.address, ignored: None },
        }
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(socket: &str) -> Nearest {
        let rules = PeerRules {
            trusted: "10.0.0.0/8".parse().unwrap(),
            proxy_protocol: true,
            ..PeerRules::default()
        };
        Nearest::socket(socket.parse().unwrap(), Arc::new(rules))
    }

    fn peer(nearest: &Nearest) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "1.1.1.1".parse().unwrap());
        nearest.peer(&headers).address.to_string()
    }

    #[test]
    fn only_a_trusted_address_sends_the_header() {
        assert!(nearest("10.0.0.1:1").sends_header() && nearest("[::ffff:10.0.0.1]:1").sends_header());
        assert!(!nearest("203.0.113.9:1").sends_header());
        let rules = PeerRules { proxy_protocol: true, ..PeerRules::default() };
        assert!(!Nearest::socket("10.0.0.1:1".parse().unwrap(), Arc::new(rules)).sends_header());
    }

    #[test]
    fn a_client_that_the_header_names_is_believed_only_if_it_is_a_proxy_itself() {
        let after = |client: &str| nearest("10.0.0.1:1").after(Source::Client(client.parse().unwrap()));
        assert_eq!(peer(&after("203.0.113.9:4711")), "203.0.113.9:4711");
        assert_eq!(peer(&after("[::ffff:203.0.113.9]:4711")), "203.0.113.9:4711");
        assert_eq!(peer(&after("10.0.0.2:4711")), "1.1.1.1:0");
    }

    #[test]
    fn a_balancer_that_does_not_say_for_whom_it_forwards_vouches_for_no_header() {
        assert_eq!(peer(&nearest("10.0.0.1:1").after(Source::Balancer)), "10.0.0.1:1");
    }
}
