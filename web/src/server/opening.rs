//! From an accepted socket to a client whose first request can be served: the first bytes have come, and over TLS the handshake
//! is over. Everything here waits for the client, has a timeout, and takes no turn from others.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::crowd::Member;
use super::first_bytes::{self, Begins, FirstByte};
use super::handshake::Handshakes;
use super::request_line;
use super::shutdown::FLUSH_TIMEOUT;
use super::socket::Client;
use super::tls_socket::TlsSocket;
use crate::audit::{self, Who};
use crate::metrics::handshake_ended;
use crate::problem::Problem;
use crate::trace;

/// The timeout for the headers of a request, and for an idle connection.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout for a handshake, from the connection's begin.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection whose first request has come.
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) is_http2: bool,
    /// What is wrong with the request line, if hyper would refuse it without a word.
    pub(super) flaw: Option<String>,
}

/// Waits for the first request, unless it is known to `have_come`. `None`: the connection is over.
pub(super) async fn open_plain(socket: TcpStream, has_come: bool) -> Option<Opened> {
    if !has_come {
        timeout(HEADER_TIMEOUT, first_bytes::come(&socket, Begins::Http)).await.ok()?.ok()?;
    }
    let is_http2 = first_bytes::speaks_http2(&socket);
    let flaw = if is_http2 { None } else { request_line::flaw(&socket) };
    Some(Opened { client: Client::Plain(socket), is_http2, flaw })
}

/// Does the handshake and waits for the first request. `None`: the connection is over.
pub(super) async fn open_tls(socket: TcpStream, peer: IpAddr, handshakes: &Handshakes) -> Option<Opened> {
    let begun = Instant::now();
    let Ok(first) = timeout(HANDSHAKE_TIMEOUT, first_bytes::come(&socket, Begins::Tls)).await else {
        return ended("timeout", begun);
    };
    // Who connects and sends nothing is no handshake: health checks do that.
    first.ok()?;
    match first_bytes::first(&socket) {
        FirstByte::Handshake => {}
        FirstByte::Method => {
            handshake_ended("plain_http", begun.elapsed());
            refuse_plain(socket, peer).await;
            return None;
        }
        FirstByte::Other => return ended("not_tls", begun),
    }
    let mut member = handshakes.crowd.enter();
    let client = tokio::select! {
        shaken = timeout_at(begun + HANDSHAKE_TIMEOUT, handshakes.shake(socket, peer)) => match shaken {
            Ok(Ok((client, result))) => {
                handshake_ended(result, begun.elapsed());
                client
            }
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "no TLS connection");
                return ended(error.result(), begun);
            }
            Err(_) => return ended("timeout", begun),
        },
        () = member.gives_way() => return ended("crowded", begun),
    };
    await_request(client, member).await
}

/// HTTP/2 announces a request by nothing that could be waited for here.
async fn await_request(mut client: TlsSocket, mut member: Member) -> Option<Opened> {
    let (is_http2, mut flaw) = (client.is_http2(), None);
    if !is_http2 {
        tokio::select! {
            head = timeout(HEADER_TIMEOUT, client.read_head()) => head.ok()?.ok()?,
            () = member.gives_way() => return None,
        }
        flaw = request_line::flaw_of(client.ahead());
    }
    Some(Opened { client: Client::Tls(Box::new(client)), is_http2, flaw })
}

fn ended(result: &'static str, begun: Instant) -> Option<Opened> {
    handshake_ended(result, begun.elapsed());
    None
}

/// Answers a request that came as it is to the port of TLS.
async fn refuse_plain(socket: TcpStream, peer: IpAddr) {
    let trace_id = trace::fresh();
    let problem = Problem::RequestLine { detail: "this port speaks TLS: use https://".to_owned() };
    audit::refused(&Who::new(peer, trace_id), problem.code(), &problem.detail(), "");
    // A client that does not read the response in time does not get it.
    let _ = timeout(FLUSH_TIMEOUT, request_line::answer(socket, problem.response(trace_id))).await;
}
