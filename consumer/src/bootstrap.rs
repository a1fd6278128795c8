//! The brokers to begin with: librdkafka tries one after another and says nothing of a name that it did not need.

use std::io;
use std::net::ToSocketAddrs;

/// Kafka's own.
const PORT: u16 = 9092;
/// Protocols that librdkafka takes before a host.
const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

pub(crate) const ACCEPTED: &str = "hosts with their ports, comma-separated: broker-1:9092,broker-2:9092 (encryption by \
     TAILRACE_KAFKA_SECURITY_PROTOCOL)";

/// Whether this is a list of hosts that librdkafka would take in the same way.
pub(crate) fn is_list(servers: &str) -> bool {
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '@', ' ', '?', '=', ';']);
    let mut count = 0;
    let all = servers.split(',').map(str::trim).filter(|server| !server.is_empty()).all(|server| {
        count += 1;
        let (protocol, rest) =
            server.split_once("://").map_or((None, server), |(name, rest)| (Some(name), rest));
        let is_known = protocol.is_none_or(|name| PROTOCOLS.contains(&name.to_ascii_lowercase().as_str()));
        let has_port = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                port.parse::<u16>().is_ok_and(|port| port > 0)
            }
            _ => true,
        };
        is_known && has_port && names(server).all(|(host, _)| is_host(host))
    });
    all && count > 0
}

/// Says which of the names have no address. May take as long as the system's resolver does.
pub(crate) fn say_unknown_names(servers: &str) {
    let all: Vec<_> = names(servers).map(|(host, port)| (host, resolve(host, port))).collect();
    let is_lost = all.iter().all(|(_, found)| found.is_err());
    for (host, error) in all.iter().filter_map(|(host, found)| Some((host, found.as_ref().err()?))) {
        let rest = if is_lost { "" } else { "; going on with the others" };
        tracing::warn!(
            host,
            %error,
            "a broker of TAILRACE_KAFKA_BOOTSTRAP_SERVERS has no address by its name{rest}"
        );
    }
}

fn resolve(host: &str, port: u16) -> io::Result<()> {
    let mut found = (host, port).to_socket_addrs()?;
    found.next().map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Hosts and ports of `[PROTOCOL://]host[:port],…`.
fn names(servers: &str) -> impl Iterator<Item = (&str, u16)> {
    servers.split(',').map(str::trim).filter(|server| !server.is_empty()).map(|server| {
        let server = server.split_once("://").map_or(server, |(_, rest)| rest);
        let (host, port) = match server.rsplit_once(':') {
            // An IPv6 address without a port has colons, too.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().unwrap_or(PORT))
            }
            _ => (server, PORT),
        };
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        let all: Vec<_> = names("a:1, SSL://b.c:9094,d,,[::1]:19092,[::1],fe80::1").collect();
        assert_eq!(
            all,
            [("a", 1), ("b.c", 9094), ("d", PORT), ("::1", 19092), ("::1", PORT), ("fe80::1", PORT)]
        );
    }

    #[test]
    fn what_is_no_list_of_hosts_is_refused() {
        for good in ["a", "a:1", "a:9092, b:9092", "SASL_SSL://b.c:9094", "[::1]:19092", "::1", "a:1,"] {
            assert!(is_list(good), "{good}");
        }
        for bad in [
            "kafka://b:9092",
            "http://b",
            "a:port",
            "a:0",
            "a:99999",
            "a:9092/topic",
            ":9092",
            ",",
            "a b",
            "u@h:1",
        ] {
            assert!(!is_list(bad), "{bad}");
        }
    }

    #[test]
    fn an_address_needs_no_resolver_and_an_invalid_name_has_none() {
        assert!(resolve("127.0.0.1", 1).is_ok());
        assert!(resolve("no-such-host.invalid", 1).is_err());
    }
}
