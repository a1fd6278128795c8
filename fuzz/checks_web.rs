//! What must hold for any input of the web side: run by the fuzz targets, and over the corpus by a plain test.

use axum::http::{HeaderMap, HeaderValue};
use tailrace_web::{Answers, MAX_HEADER, PeerRules, Served, answers, check_limits_file, read_header, serve};

/// No bytes make reading a header of the PROXY protocol panic, or take more than is there; bytes that come later change
/// neither a header nor an error.
pub(crate) fn proxy_protocol(input: &[u8]) {
    let longer = [input, b"GET / HTTP/1.1\r\n\r\n"].concat();
    match read_header(input) {
        Ok(None) => assert!(input.len() < MAX_HEADER),
        Ok(Some(header)) => {
            assert!(header.length <= input.len() && header.length <= MAX_HEADER);
            assert_eq!(read_header(&longer), Ok(Some(header)));
            assert_eq!(read_header(&input[..header.length - 1]), Ok(None));
        }
        Err(error) => assert_eq!(read_header(&longer), Err(error)),
    }
}

/// Whatever a client writes into a header, the address that the trusted proxy adds stands, in the same line and in one of its
/// own; and a stranger is taken for its socket.
pub(crate) fn forwarded(input: &[u8]) {
    let rules =
        PeerRules { trusted: "10.0.0.0/8,fd00::/8".parse().expect("two networks"), ..PeerRules::default() };
    let (proxy, stranger) = ("10.0.0.1:5000".parse().expect("one"), "203.0.113.9:80".parse().expect("one"));
    for (name, added) in [
        ("x-forwarded-for", &b"198.51.100.7, fd00::2"[..]),
        ("forwarded", b"for=198.51.100.7;host=\"a\\\",for=1.1.1.1;b\",for=\"[fd00::2]:80\""),
    ] {
        let same_line = vec![[input, b",", added].concat()];
        for lines in [same_line, vec![input.to_vec(), added.to_vec()]] {
            let Some(headers) = headers(name, &lines) else { continue };
            assert_eq!(rules.peer(proxy, &headers).address.ip().to_string(), "198.51.100.7");
            assert_eq!(rules.peer(stranger, &headers).address, stranger);
        }
        if let Some(headers) = headers(name, &[input.to_vec()]) {
            assert_eq!(rules.peer(stranger, &headers).address, stranger);
            rules.peer(proxy, &headers);
        }
    }
}

/// `None`: HTTP does not allow one of the lines.
fn headers(name: &'static str, lines: &[Vec<u8>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, HeaderValue::from_bytes(line).ok()?);
    }
    Some(headers)
}

/// Whatever a client sends over a WebSocket, in whatever parts: the same is answered, by frames that RFC 6455 allows, and no more
/// than one control frame is kept.
pub(crate) fn web_socket(input: &[u8]) {
    let Some((part, bytes)) = input.split_first() else { return };
    let (whole, parts) = (answers(bytes, bytes.len()), answers(bytes, usize::from(*part)));
    assert_eq!((&whole.pong, &whole.close), (&parts.pong, &parts.close));
    let Answers { pong, close, kept } = parts;
    assert!(kept < 131, "{kept}");
    for (frame, opcode) in [(&pong, 0x8a), (&close, 0x88)] {
        let Some(frame) = frame else { continue };
        assert_eq!((frame[0], usize::from(frame[1])), (opcode, frame.len() - 2));
        assert!(frame[1] <= 125);
    }
    if let Some(close) = close {
        let code = u16::from_be_bytes([close[2], close[3]]);
        assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "{code}");
        assert!(std::str::from_utf8(&close[4..]).is_ok());
    }
}

/// No bytes of a client of HTTP/2 make its connection panic; however they come, the same is answered; what is kept and what is open
/// at once is bounded, and what is sent are whole frames. The first byte says in which parts they come; the rest comes after the
/// preface and SETTINGS.
pub(crate) fn http2(input: &[u8]) {
    const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let Some((part, bytes)) = input.split_first() else { return };
    let bytes = [BEGIN, bytes].concat();
    let ((whole, _), (parts, kept)) = (serve(&bytes, bytes.len()), serve(&bytes, usize::from(*part)));
    // Streams that open and end within one part are not seen together.
    let of = |served: &Served| (served.sent.clone(), served.goes_on);
    assert_eq!(of(&whole), of(&parts));
    assert!(kept < 100_000 && parts.streams <= 256, "{kept} bytes, {} streams", parts.streams);
    let mut left = &parts.sent[..];
    while let [a, b, c, _, _, _, _, _, _, rest @ ..] = left {
        left = &rest[u32::from_be_bytes([0, *a, *b, *c]) as usize..];
    }
    assert!(left.is_empty());
}

/// No text makes reading a limits file panic; one that is refused is refused in one line, at a place in it.
pub(crate) fn limits_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match check_limits_file(text) {
        Ok(tenants) => assert!(tenants <= text.len()),
        Err(error) => {
            assert!(!error.contains('\n'), "{error:?}");
            let (line, column) = place(&error).unwrap_or_else(|| panic!("no place in {error:?}"));
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "{error}");
            let longest = text.split('\n').nth(line - 1).unwrap_or_default().chars().count() + 1;
            assert!((1..=longest).contains(&column), "{error}");
        }
    }
}

/// `line 2, column 3: …`
fn place(error: &str) -> Option<(usize, usize)> {
    let (line, rest) = error.strip_prefix("line ")?.split_once(", column ")?;
    Some((line.parse().ok()?, rest.split_once(':')?.0.parse().ok()?))
}
