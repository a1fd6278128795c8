//! The networks of the proxies that are believed.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// The prefix of IPv4 addresses that are mapped to IPv6 (RFC 4291, section 2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

/// Networks whose addresses are trusted; empty: nobody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Whether what this address reports is believed. A mapped IPv4 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A network in the list that has every address of its family, if there is one.
    pub(crate) fn everybody(&self) -> Option<IpNet> {
        self.0.iter().find(|network| network.prefix_len() == 0).copied()
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<TrustedProxies, String> {
        let networks = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        networks.map(network).collect::<Result<_, _>>().map(TrustedProxies)
    }
}

/// A network such as `10.0.0.0/8`, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse::<IpNet>().ok().or_else(address).ok_or_else(|| {
        format!("networks or addresses, comma-separated, such as 10.0.0.0/8, 192.168.1.7 or fd00::/8; {text:?} is neither")
    })?;
    // Someone who writes 10.1.2.3/8 may mean one address or sixteen million.
    if network.addr() != network.network() {
        let (one, all) = (network.addr(), network.trunc());
        return Err(format!("networks without bits behind their prefix; for {text:?} write {one} or {all}"));
    }
    Ok(unmapped(network))
}

/// A network of mapped IPv4 addresses as one of IPv4, since addresses are compared so.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.network().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_PREFIX));
    let v4 = mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    v4.map_or(network, IpNet::V4)
}

/// An IPv4 address that is mapped to IPv6, as sockets that accept both have it, is shown and compared as IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(networks: &str, address: &str) -> bool {
        networks.parse::<TrustedProxies>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        let networks = " 10.0.0.0/8, 192.168.1.7,fd00::/8 ,2001:db8::1,";
        for inside in
            ["10.0.0.0", "10.255.255.255", "192.168.1.7", "fdff::1", "2001:db8::1", "::ffff:10.1.2.3"]
        {
            assert!(has(networks, inside), "{inside}");
        }
        for outside in [
            "11.0.0.0",
            "9.255.255.255",
            "192.168.1.8",
            "fe00::1",
            "2001:db8::2",
            "::ffff:11.0.0.1",
            "::10.0.0.1",
        ] {
            assert!(!has(networks, outside), "{outside}");
        }
        assert!(!has("", "127.0.0.1"));
    }

    #[test]
    fn every_ipv6_address_is_no_ipv4_address_and_the_other_way_round() {
        assert!(has("::/0", "2001:db8::1") && !has("::/0", "10.0.0.1") && !has("::/0", "::ffff:10.0.0.1"));
        assert!(has("0.0.0.0/0", "::ffff:10.0.0.1") && !has("0.0.0.0/0", "::1"));
    }

    #[test]
    fn a_network_of_mapped_addresses_is_one_of_ipv4() {
        assert!(has("::ffff:10.0.0.0/104", "10.9.9.9") && !has("::ffff:10.0.0.0/104", "11.0.0.1"));
        assert!(has("::ffff:10.0.0.1", "10.0.0.1") && !has("::ffff:10.0.0.1", "10.0.0.2"));
    }

    #[test]
    fn what_is_no_network_is_named_and_a_doubtful_one_gets_both_readings() {
        let error = |text: &str| text.parse::<TrustedProxies>().unwrap_err();
        for wrong in [
            "proxy",
            "10.0.0.0/33",
            "10.0.0",
            "10.0.0.0/",
            "fd00::/129",
            "10.0.0.0/8;127.0.0.1",
            "010.0.0.1",
            "[::1]",
        ] {
            assert!(error(wrong).contains(&format!("{wrong:?}")), "{wrong}");
        }
        let doubtful = error("127.0.0.1,10.1.2.3/8");
        assert!(
            doubtful.contains("10.1.2.3/32 or 10.0.0.0/8") || doubtful.contains("10.1.2.3 or 10.0.0.0/8"),
            "{doubtful}"
        );
    }

    #[test]
    fn a_network_of_everybody_is_found() {
        let everybody =
            |text: &str| text.parse::<TrustedProxies>().unwrap().everybody().map(|net| net.to_string());
        assert_eq!(everybody("10.0.0.0/8,::/0").as_deref(), Some("::/0"));
        assert_eq!(everybody("::ffff:0:0/96").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(everybody("10.0.0.0/8"), None);
    }
}
