//! Checks a connection's first request line before it is parsed: hyper answers a line that it cannot parse with an empty 400.
//! The most likely such line contains a `>` that was not escaped.

use std::io;

use axum::body::Body;
use axum::http::{HeaderMap, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::http::response;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peer::begins_with_header;
use crate::writer;

/// How much of the line is checked, in bytes; the rest of a longer line is left to hyper.
const LOOKED_AT: usize = 4096;
/// How much of what the client sent is read before the connection is closed, in bytes: closing a socket with unread bytes
/// resets it, and the client may lose the response.
const READ_AT_MOST: usize = 64 * 1024;

/// What is wrong with the address of the request, if hyper would refuse it. Takes nothing from the socket, which must have
/// something to read.
pub(super) fn flaw(socket: &TcpStream) -> Option<String> {
    // Only on the stack of this call: the connection keeps nothing of it.
    let mut line = [0; LOOKED_AT];
    // Not by tokio, which may not have learned yet that there is something to read.
    let length = recv(socket, &mut line, RecvFlags::PEEK).ok()?.0;
    flaw_of(&line[..length])
}

/// The same, for the beginning of a request that has been read.
pub(super) fn flaw_of(begin: &[u8]) -> Option<String> {
    if begins_with_header(begin) {
        let detail = "the connection begins with a header of the PROXY protocol, which this server takes only with \
                      TAILRACE_PROXY_PROTOCOL=on and only from addresses in TAILRACE_TRUSTED_PROXIES";
        return Some(detail.to_owned());
    }
    let line = begin.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (_method, target, rest) = (parts.next()?, parts.next()?, parts.next());
    if let Some(byte) = target.iter().find(|byte| !may_stand(**byte)) {
        return Some(unescaped(char::from(*byte), *byte));
    }
    match rest {
        Some(version) if !version.starts_with(b"H") => Some(unescaped(' ', b' ')),
        _ => None,
    }
}

/// Whether hyper accepts the byte in a query; it accepts fewer in a path, but filters are only in queries.
fn may_stand(byte: u8) -> bool {
    // An id of thousands of characters has hundreds of `-` and `_`, so these are accepted without parsing; only rare bytes are
    // parsed.
    let is_usual = byte.is_ascii_alphanumeric() || b"-_=&/?.%".contains(&byte);
    is_usual || byte >= 0x80 || Uri::try_from(&[b'/', b'?', byte][..]).is_ok()
}

fn unescaped(character: char, byte: u8) -> String {
    format!(
        "the address has {character:?} as it is, which HTTP does not allow: write %{byte:02X} \
         (curl does it with -G --data-urlencode 'where=value.total>100')"
    )
}

/// Writes the answer and closes.
pub(super) async fn answer(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    response: Response<Body>,
) -> io::Result<()> {
    let (head, body) = response.into_parts();
    // The body is text in memory, so this does not wait.
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str()).into_bytes();
    put_headers(&mut out, &head.headers);
    out.extend_from_slice(format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(&body);
    say_and_close(socket, &out).await
}

/// Writes the head of a response and the bytes after it, and closes.
pub(super) async fn say_last(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    head: &response::Parts,
    bytes: &[u8],
) -> io::Result<()> {
    say_and_close(socket, &[&writer::head(head)[..], bytes].concat()).await
}

async fn say_and_close(mut socket: impl AsyncRead + AsyncWrite + Unpin, out: &[u8]) -> io::Result<()> {
    socket.write_all(out).await?;
    socket.shutdown().await?;
    let mut unread = [0; 1024];
    let mut read = 0;
    while read < READ_AT_MOST {
        match socket.read(&mut unread).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(())
}

fn put_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(line: &str) -> Option<String> {
        flaw_of(line.as_bytes())
    }

    #[test]
    fn what_is_not_escaped_is_named_with_its_escape() {
        for (line, character, escape) in [
            ("GET /events?where=value.total>100 HTTP/1.1\r\nHost: a\r\n", "'>'", "%3E"),
            ("GET /events?where=value.total<100 HTTP/1.1\r\n", "'<'", "%3C"),
            ("GET /events?where=value.state=\"a\" HTTP/1.1\r\n", "'\"'", "%22"),
            ("GET /events?where=value.total > HTTP/1.1\r\n", "' '", "%20"),
        ] {
            let flaw = flaw(line).unwrap_or_else(|| panic!("{line} was taken"));
            assert!(flaw.contains(character) && flaw.contains(escape), "{line}: {flaw}");
        }
    }

    #[test]
    fn a_header_of_the_proxy_protocol_that_nobody_expects_is_named() {
        for begin in ["PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /", "\r\n\r\n\0\r\nQUIT\n\x21\x11"] {
            assert!(
                flaw(begin).is_some_and(|detail| detail.contains("TAILRACE_PROXY_PROTOCOL")),
                "{begin:?}"
            );
        }
    }

    #[test]
    fn what_hyper_reads_or_refuses_for_another_reason_is_left_to_it() {
        for line in [
            "GET /t/acme/events?where=value.total%3E100&from=-15m HTTP/1.1\r\nx: <>\r\n\r\n",
            "GET /events?where=header.a^=b|c{d} HTTP/1.1\r\n",
            "GET /events?key=grün HTTP/1.1\r\n",
            "OPTIONS * HTTP/1.1\r\n",
            "GET http://host/events HTTP/1.0\r\n",
            "GET /events",
            "GET",
            "",
            "\r\n",
        ] {
            assert_eq!(flaw(line), None, "{line}");
        }
    }
}
