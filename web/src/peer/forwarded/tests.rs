//! Trouble: no header; a header from elsewhere than a trusted proxy; a client that writes the header before the proxy does, in the
//! same line or in a line of its own, with quotes, separators and bytes that break a parser; both headers; a proxy that says
//! nothing, something that is no address, or an address in any of the forms that are allowed; proxies behind proxies, too many
//! of them, and nothing but proxies.

use axum::http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::peer::PeerRules;

/// The proxy that the request comes from, in the trusted network.
const PROXY: &str = "10.0.0.1:5000";
const CLIENT: &str = "203.0.113.9";

fn rules(header: ForwardedHeader) -> PeerRules {
    PeerRules { trusted: "10.0.0.0/8,fd00::/8".parse().unwrap(), header, proxy_protocol: false }
}

fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn report(nearest: &str, lines: &[(&'static str, &[u8])]) -> (String, Option<Ignored>) {
    let report = rules(ForwardedHeader::Any).peer(nearest.parse().unwrap(), &headers(lines));
    (report.address.to_string(), report.ignored)
}

/// What a request from the proxy with these lines of `Forwarded` is taken for.
fn forwarded(lines: &[&str]) -> (String, Option<Ignored>) {
    let lines: Vec<(&str, &[u8])> = lines.iter().map(|line| ("forwarded", line.as_bytes())).collect();
    report(PROXY, &lines)
}

fn x_forwarded_for(lines: &[&str]) -> (String, Option<Ignored>) {
    let lines: Vec<(&str, &[u8])> = lines.iter().map(|line| ("x-forwarded-for", line.as_bytes())).collect();
    report(PROXY, &lines)
}

fn client(address: &str) -> (String, Option<Ignored>) {
    (address.to_owned(), None)
}

fn proxy(ignored: Ignored) -> (String, Option<Ignored>) {
    (PROXY.to_owned(), Some(ignored))
}

#[test]
fn without_a_header_the_sockets_address_stands() {
    assert_eq!(report(PROXY, &[]), client(PROXY));
    assert_eq!(report("203.0.113.9:80", &[("x-real-ip", b"1.1.1.1")]), client("203.0.113.9:80"));
}

#[test]
fn an_address_that_a_stranger_writes_is_not_believed() {
    for line in [
        ("forwarded", &b"for=1.1.1.1"[..]),
        ("x-forwarded-for", b"1.1.1.1"),
        ("x-forwarded-for", b"10.0.0.2"),
    ] {
        let expected = ("203.0.113.9:80".to_owned(), Some(Ignored::Untrusted));
        assert_eq!(report("203.0.113.9:80", &[line]), expected);
    }
}

#[test]
fn a_mapped_address_is_its_ipv4_address() {
    assert_eq!(
        report("[::ffff:10.0.0.1]:5000", &[("x-forwarded-for", b"::ffff:203.0.113.9")]),
        client("203.0.113.9:0")
    );
    assert_eq!(report("[::ffff:203.0.113.9]:80", &[]), client("203.0.113.9:80"));
    // Trusted as IPv4, so that the one before it counts.
    assert_eq!(x_forwarded_for(&["203.0.113.9, ::ffff:10.0.0.2"]), client("203.0.113.9:0"));
}

#[test]
fn every_form_of_an_address_is_read() {
    for (line, address) in [
        ("for=203.0.113.9", "203.0.113.9:0"),
        ("FOR=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9:0"),
        ("by=10.0.0.1; For=203.0.113.9 ;host=a", "203.0.113.9:0"),
        (r#"for="203.0.113.9:4711""#, "203.0.113.9:4711"),
        (r#"for="203.0.113.9:_hidden""#, "203.0.113.9:0"),
        (r#"for="[2001:db8:cafe::17]:4711""#, "[2001:db8:cafe::17]:4711"),
        (r#"for="[2001:db8:cafe::17]""#, "[2001:db8:cafe::17]:0"),
        (r#"host="a,b;for=1.1.1.1";for=203.0.113.9"#, "203.0.113.9:0"),
        (r#"for=203.0.113.9;host="a\",for=1.1.1.1""#, "203.0.113.9:0"),
        (r#"for=203.0.113.9;host="a\\""#, "203.0.113.9:0"),
    ] {
        assert_eq!(forwarded(&[line]), client(address), "{line}");
    }
    for (line, address) in [
        ("203.0.113.9", "203.0.113.9:0"),
        ("\t203.0.113.9 ", "203.0.113.9:0"),
        ("203.0.113.9:4711", "203.0.113.9:4711"),
        ("2001:db8::17", "[2001:db8::17]:0"),
        ("[2001:db8::17]", "[2001:db8::17]:0"),
        ("[2001:db8::17]:4711", "[2001:db8::17]:4711"),
    ] {
        assert_eq!(x_forwarded_for(&[line]), client(address), "{line}");
    }
}

#[test]
fn the_rightmost_address_that_is_not_trusted_is_the_client() {
    assert_eq!(x_forwarded_for(&["1.1.1.1, 203.0.113.9, 10.0.0.3, 10.0.0.2"]), client("203.0.113.9:0"));
    assert_eq!(
        forwarded(&[r#"for=1.1.1.1, for=203.0.113.9,for="[fd00::3]:1",for=10.0.0.2"#]),
        client("203.0.113.9:0")
    );
    // Several lines are one list, in their order.
    assert_eq!(x_forwarded_for(&["1.1.1.1", "203.0.113.9, 10.0.0.3", "10.0.0.2"]), client("203.0.113.9:0"));
    assert_eq!(forwarded(&["for=1.1.1.1", "for=203.0.113.9"]), client("203.0.113.9:0"));
}

#[test]
fn of_nothing_but_proxies_the_first_is_the_client() {
    assert_eq!(x_forwarded_for(&["10.0.0.9, 10.0.0.2"]), client("10.0.0.9:0"));
}

#[test]
fn what_is_no_address_ends_the_walk_at_the_proxy_that_says_it() {
    for line in [
        "for=unknown",
        "for=_hidden",
        "for=",
        "for=\"\"",
        "for",
        "proto=https",
        "=",
        ";",
        "",
        ",",
        "for=1.1.1.1,",
        "for=1.1.1.1;for=2.2.2.2",
        "for=1.1.1.1 2.2.2.2",
        "for =1.1.1.1",
        "for= 1.1.1.1",
        "for=1.1.1",
        "for=01.1.1.1",
        "for=1.1.1.1:",
        "for=1.1.1.1:65536",
        "for=1.1.1.1:-1",
        "for=1.1.1.1:_",
        "for=\"[::1\"",
        "for=\"[::1]x\"",
        "for=\"[1.1.1.1]\"",
        "for=\"1.1.1.1",
        "for=1.1.1.1\"",
        "for=\"1.1.1.1\\\"",
        "for=[fe80::1%eth0]",
        "for='1.1.1.1'",
    ] {
        assert_eq!(forwarded(&[line]), proxy(Ignored::NoAddress), "{line}");
    }
    for line in [
        "unknown",
        "",
        ",",
        "1.1.1.1,",
        "1.1.1.1, unknown",
        "unix:",
        "\"1.1.1.1\"",
        "1.1.1.1;2.2.2.2",
        "localhost",
    ] {
        assert_eq!(x_forwarded_for(&[line]), proxy(Ignored::NoAddress), "{line}");
    }
    // The nearest that is known is the proxy in front of that.
    let expected = ("10.0.0.2:0".to_owned(), Some(Ignored::NoAddress));
    assert_eq!(x_forwarded_for(&["1.1.1.1, unknown, 10.0.0.2"]), expected);
    assert_eq!(forwarded(&["for=1.1.1.1,for=_a,for=10.0.0.2"]), expected);
}

#[test]
fn a_name_of_64_kib_is_no_address() {
    let long = format!("for={}", "1".repeat(64 * 1024));
    assert_eq!(forwarded(&[&long]), proxy(Ignored::NoAddress));
}

#[test]
fn a_chain_of_more_than_32_trusted_proxies_ends_at_the_32nd() {
    let chain: Vec<String> = (1..=40).rev().map(|number| format!("10.1.0.{number}")).collect();
    assert_eq!(x_forwarded_for(&[&format!("203.0.113.9,{}", chain.join(","))]), client("10.1.0.32:0"));
    assert_eq!(x_forwarded_for(&[&format!("203.0.113.9,{}", chain[9..].join(","))]), client("203.0.113.9:0"));
}

#[test]
fn two_headers_that_disagree_are_both_not_believed() {
    let both = |forwarded: &'static str, other: &'static str| {
        report(PROXY, &[("forwarded", forwarded.as_bytes()), ("x-forwarded-for", other.as_bytes())])
    };
    assert_eq!(both("for=\"203.0.113.9:1\"", "1.1.1.1, 203.0.113.9"), client("203.0.113.9:1"));
    // A proxy that writes one of them passes on what the client wrote into the other.
    assert_eq!(both("for=1.1.1.1", "203.0.113.9"), proxy(Ignored::Conflict));
    assert_eq!(both("for=203.0.113.9", "1.1.1.1"), proxy(Ignored::Conflict));
    assert_eq!(both("for=unknown", "203.0.113.9"), proxy(Ignored::Conflict));
}

#[test]
fn where_one_header_is_chosen_the_other_is_not_read() {
    let both = headers(&[("forwarded", b"for=203.0.113.9"), ("x-forwarded-for", b"198.51.100.7")]);
    let with = |header| rules(header).peer(PROXY.parse().unwrap(), &both).address.ip().to_string();
    assert_eq!(with(ForwardedHeader::Forwarded), "203.0.113.9");
    assert_eq!(with(ForwardedHeader::XForwardedFor), "198.51.100.7");
    let other = headers(&[("x-forwarded-for", b"198.51.100.7")]);
    let none = rules(ForwardedHeader::Forwarded).peer(PROXY.parse().unwrap(), &other);
    assert_eq!(none, Report { address: PROXY.parse().unwrap(), ignored: None });
}

/// What a client may have in a header: anything that HTTP allows there, often with what matters to a parser.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "for=",
        "\"",
        "\\",
        ",",
        ";",
        "=",
        "[",
        "]",
        ":",
        " ",
        "10.0.0.2",
        "1.1.1.1",
        "unknown",
        "_x",
        "for=\"",
        "::1",
        "\\\"",
        "FOR",
        "host=\"a,b\"",
    ];
    let piece = prop_oneof![
        4 => proptest::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop_oneof![Just(b'\t'), 32..=126_u8, 128..=255_u8].prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// The one property that the rest is for: a client cannot choose the address that it is taken for.
    #[test]
    fn whatever_a_client_writes_before_the_proxy_does_the_proxys_word_stands(
        before in proptest::collection::vec(anything(), 1..4), same_line in any::<bool>(), hops in 0_usize..4,
    ) {
        for (name, written, inner) in [
            ("forwarded", format!("for={CLIENT};host=\"a\\\",for=1.1.1.1;b\""), "for=\"[fd00::7]:80\""),
            ("forwarded", format!("proto=https;for=\"{CLIENT}:80\""), "for=10.0.0.2;by=10.0.0.1"),
            ("x-forwarded-for", CLIENT.to_owned(), "fd00::7"),
        ] {
            let mut lines = before.clone();
            let written = [vec![written], vec![inner.to_owned(); hops]].concat().join(", ").into_bytes();
            match lines.last_mut().filter(|_| same_line) {
                Some(line) => line.extend([b", ", &written[..]].concat()),
                None => lines.push(written),
            }
            let lines: Vec<(&str, &[u8])> = lines.iter().map(|line| (name, &line[..])).collect();
            let report = rules(ForwardedHeader::Any).peer(PROXY.parse().unwrap(), &headers(&lines));
            prop_assert_eq!((report.address.ip().to_string(), report.ignored), (CLIENT.to_owned(), None));
        }
    }

    #[test]
    fn a_stranger_is_taken_for_nothing_but_its_socket(lines in proptest::collection::vec(anything(), 1..4)) {
        for name in ["forwarded", "x-forwarded-for"] {
            let lines: Vec<(&str, &[u8])> = lines.iter().map(|line| (name, &line[..])).collect();
            prop_assert_eq!(report("203.0.113.9:80", &lines), ("203.0.113.9:80".to_owned(), Some(Ignored::Untrusted)));
        }
    }

    #[test]
    fn an_address_is_read_as_it_was_written(address in any::<IpAddr>(), port in any::<u16>()) {
        let address = SocketAddr::new(address, port);
        prop_assert_eq!(node(address.to_string().as_bytes()), Some(address));
        prop_assert_eq!(forwarded_for(format!("for=\"{address}\"").as_bytes()), Some(address));
        prop_assert_eq!(node(address.ip().to_string().as_bytes()), Some(SocketAddr::new(address.ip(), 0)));
    }
}
