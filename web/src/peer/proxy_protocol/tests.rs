//! Trouble: no header, half of one, one in many pieces, one too long; each field wrong in turn; a balancer that speaks for itself;
//! addresses of a kind that no client has; what comes behind the header; bytes that mean nothing.

use proptest::prelude::*;

use super::*;

/// A header of version 2.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

const IPV4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 1, 0xBB];

/// The source of a header that is whole, with something behind it.
fn source(header: &[u8]) -> Source {
    let read = read_header(&[header, b"GET / HTTP/1.1\r\n"].concat()).unwrap().expect("it is whole");
    assert_eq!(read.length, header.len());
    read.source
}

fn client(address: &str) -> Source {
    Source::Client(address.parse().unwrap())
}

#[test]
fn the_source_of_version_1_is_the_client() {
    assert_eq!(source(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n"), client("203.0.113.9:4711"));
    assert_eq!(
        source(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
        client("255.255.255.255:65535")
    );
    assert_eq!(source(b"PROXY TCP6 2001:db8::9 ::1 4711 0\r\n"), client("[2001:db8::9]:4711"));
}

#[test]
fn the_source_of_version_2_is_the_client_whatever_comes_after_its_addresses() {
    assert_eq!(source(&binary(0x21, 0x11, &IPV4)), client("203.0.113.9:4711"));
    // A checksum, a name, and something that is no type-length-value.
    let more = [&IPV4[..], &[3, 0, 4, 1, 2, 3, 4, 2, 0, 3, b'a', b'.', b'b', 0xFF]].concat();
    assert_eq!(source(&binary(0x21, 0x11, &more)), client("203.0.113.9:4711"));
    let mut ipv6 = [0; 36];
    ipv6[..4].copy_from_slice(&[0x20, 1, 0xD, 0xB8]);
    ipv6[15] = 9;
    ipv6[32..34].copy_from_slice(&[0x12, 0x67]);
    assert_eq!(source(&binary(0x21, 0x21, &ipv6)), client("[2001:db8::9]:4711"));
}

#[test]
fn a_health_check_and_a_client_without_an_address_are_the_balancers() {
    for header in [
        &b"PROXY UNKNOWN\r\n"[..],
        b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        b"PROXY UNKNOWN a b c d e f g \xFF \r and \n alone\r\n",
        &binary(0x20, 0x00, b""),
        // What LOCAL has is ignored, its family included.
        &binary(0x20, 0x11, b"few"),
        &binary(0x20, 0xFF, &IPV4),
        &binary(0x21, 0x00, b""),
        &binary(0x21, 0x00, &IPV4),
        // Datagrams, Unix sockets.
        &binary(0x21, 0x12, &IPV4),
        &binary(0x21, 0x31, &[b'a'; 216]),
    ] {
        assert_eq!(source(header), Source::Balancer, "{}", String::from_utf8_lossy(header));
    }
}

#[test]
fn a_line_that_is_not_exactly_as_specified_is_refused() {
    for line in [
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443 \r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443 1\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 203.0.113.9  10.0.0.1 4711 443\r\n",
        "PROXY TCP4 203.0.113.9\t10.0.0.1 4711 443\r\n",
        "PROXY TCP4 203.0.113.09 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 203.0.113 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.256 4711 443\r\n",
        "PROXY TCP4 2001:db8::9 ::1 4711 443\r\n",
        "PROXY TCP6 203.0.113.9 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 04711 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 +4711 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711 65536\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711 \r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\rX: 1\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\nX: 1\r\n",
        "PROXY tcp4 203.0.113.9 10.0.0.1 4711 443\r\n",
        "PROXY  TCP4 203.0.113.9 10.0.0.1 4711 443\r\n",
        "PROXY UDP4 203.0.113.9 10.0.0.1 4711 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
    ] {
        assert!(matches!(read_header(line.as_bytes()), Err(HeaderError::Malformed(_))), "{line:?}");
    }
}

#[test]
fn a_line_without_an_end_is_refused_at_107_bytes_and_not_before() {
    let line = format!("PROXY UNKNOWN {}", "a".repeat(93));
    assert_eq!(line.len(), 107);
    assert_eq!(read_header(&line.as_bytes()[..106]), Ok(None));
    assert!(matches!(read_header(line.as_bytes()), Err(HeaderError::Malformed(_))));
    let longest = format!("PROXY UNKNOWN {}\r\n", "a".repeat(91));
    assert_eq!(source(longest.as_bytes()), Source::Balancer);
}

#[test]
fn a_wrong_byte_of_version_2_is_refused_as_soon_as_it_is_there() {
    for (command, family) in [
        (0x11, 0x11),
        (0x31, 0x11),
        (0x01, 0x11),
        (0x22, 0x11),
        (0x2F, 0x11),
        (0x21, 0x13),
        (0x21, 0x1F),
        (0x21, 0x41),
        (0x21, 0xF1),
    ] {
        let header = binary(command, family, &IPV4);
        assert!(
            matches!(read_header(&header[..16]), Err(HeaderError::Malformed(_))),
            "{command:x} {family:x}"
        );
    }
    let short = binary(0x21, 0x11, &IPV4[..11]);
    assert!(matches!(read_header(&short), Err(HeaderError::Malformed(_))));
    assert!(matches!(read_header(&binary(0x21, 0x21, &IPV4)), Err(HeaderError::Malformed(_))));
}

#[test]
fn a_length_of_64_kib_is_refused_before_its_bytes_are_waited_for() {
    let mut header = binary(0x21, 0x11, &IPV4);
    header[14..16].copy_from_slice(&[0xFF, 0xFF]);
    assert_eq!(read_header(&header[..16]), Err(HeaderError::TooLong));
    let longest = binary(0x20, 0, &vec![0; MAX_HEADER - FIXED]);
    assert_eq!(source(&longest), Source::Balancer);
    assert_eq!(read_header(&binary(0x20, 0, &vec![0; MAX_HEADER - FIXED + 1])), Err(HeaderError::TooLong));
}

#[test]
fn what_begins_otherwise_is_no_header() {
    for begin in [
        "G",
        "GET / HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "PROXYTCP4",
        "proxy TCP4",
        "\r\nGET",
        "\r\n\r\n\0\r\nQUIT\r",
        "\x16\x03\x01",
    ] {
        assert_eq!(read_header(begin.as_bytes()), Err(HeaderError::Missing), "{begin:?}");
    }
    for begin in [&b""[..], b"P", b"PROXY", b"\r", b"\r\n\r\n\0\r\nQUIT"] {
        assert_eq!(read_header(begin), Ok(None));
    }
}

/// A header that an encoder of others has written, with its source.
fn written_by_others() -> impl Strategy<Value = (Vec<u8>, SocketAddr)> {
    let v4 = (any::<(Ipv4Addr, u16)>(), any::<(Ipv4Addr, u16)>())
        .prop_map(|(a, b)| ppp::v2::Addresses::from((SocketAddr::from(a), SocketAddr::from(b))));
    let v6 = (any::<(Ipv6Addr, u16)>(), any::<(Ipv6Addr, u16)>())
        .prop_map(|(a, b)| ppp::v2::Addresses::from((SocketAddr::from(a), SocketAddr::from(b))));
    let tlvs = proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..4);
    (prop_oneof![v4, v6], any::<bool>(), tlvs).prop_map(|(addresses, as_line, tlvs)| {
        let (line, source) = match addresses {
            ppp::v2::Addresses::IPv4(all) => {
                let line = ppp::v1::Addresses::new_tcp4(
                    all.source_address,
                    all.destination_address,
                    all.source_port,
                    all.destination_port,
                );
                (line, (all.source_address, all.source_port).into())
            }
            ppp::v2::Addresses::IPv6(all) => {
                let line = ppp::v1::Addresses::new_tcp6(
                    all.source_address,
                    all.destination_address,
                    all.source_port,
                    all.destination_port,
                );
                (line, (all.source_address, all.source_port).into())
            }
            other => panic!("{other:?}"),
        };
        if as_line {
            return (line.to_string().into_bytes(), source);
        }
        let command = ppp::v2::Version::Two | ppp::v2::Command::Proxy;
        let mut builder = ppp::v2::Builder::with_addresses(command, ppp::v2::Protocol::Stream, addresses);
        for (kind, value) in &tlvs {
            builder = builder.write_tlv(*kind, value).unwrap();
        }
        (builder.build().unwrap(), source)
    })
}

/// Bytes that look like a header, with something wrong here and there.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (written_by_others(), any::<proptest::sample::Index>(), any::<u8>(), any::<bool>());
    let damaged = damaged.prop_map(|((mut bytes, _), at, byte, is_cut)| {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(if is_cut { at } else { bytes.len() });
        bytes
    });
    prop_oneof![damaged, proptest::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn what_others_write_is_read_whole_and_no_byte_more((header, source) in written_by_others(), after in proptest::collection::vec(any::<u8>(), 0..50)) {
        let read = read_header(&[&header[..], &after].concat());
        prop_assert_eq!(read, Ok(Some(ProxyHeader { source: Source::Client(source), length: header.len() })));
        // However it is cut into pieces, it is waited for.
        for end in 0..header.len() {
            prop_assert_eq!(read_header(&header[..end]), Ok(None));
        }
    }

    /// Bytes that come later change neither a header that was read nor an error.
    #[test]
    fn whatever_is_sent_is_decided_once(bytes in nearly(), more in proptest::collection::vec(any::<u8>(), 0..50)) {
        let longer = [&bytes[..], &more].concat();
        match read_header(&bytes) {
            Ok(None) => prop_assert!(bytes.len() < MAX_HEADER),
            Ok(Some(header)) => {
                prop_assert!(header.length <= bytes.len());
                prop_assert_eq!(read_header(&longer), Ok(Some(header)));
            }
            Err(error) => prop_assert_eq!(read_header(&longer), Err(error)),
        }
    }
}
