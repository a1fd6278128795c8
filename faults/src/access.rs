//! How clients reach replicas: over TCP or TLS, with tokens or without; and what they experience.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use rustls::HandshakeKind;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::issuer::{Issuer, Token};
use crate::pki::{HOST, Pki};
use crate::sse::{IdBuffer, Source};
use crate::way::Way;
use crate::wire::{Cut, Severed, Wire};

/// The most problems that clients report.
const MAX_PROBLEMS: usize = 10;

/// What replicas ask of the clients of a trial.
#[derive(Default)]
pub struct Access {
    pub pki: Option<Pki>,
    pub issuer: Option<Issuer>,
    pub counted: Counted,
    problems: Arc<Mutex<Vec<String>>>,
}

/// What the clients of a trial experienced, all together.
#[derive(Debug, Default)]
pub struct Counted {
    /// Handshakes that succeeded.
    pub handshakes: AtomicU64,
    /// How many of them resumed an earlier connection with a ticket.
    pub resumed: AtomicU64,
    /// Handshakes that were cut by the suite.
    pub cut_handshakes: AtomicU64,
    /// Connections that were cut after their handshake, at a byte of TCP.
    pub cut: AtomicU64,
    /// Requests that were answered with 401.
    pub unauthorized: AtomicU64,
    /// Notices that a token will expire.
    pub notices: AtomicU64,
    /// Streams that ended with their token.
    pub expired: AtomicU64,
}

impl Counted {
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

impl Access {
    pub fn new(pki: Option<Pki>, issuer: Option<Issuer>, problems: Arc<Mutex<Vec<String>>>) -> Access {
        Access { pki, issuer, counted: Counted::default(), problems }
    }

    /// The settings of each replica.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let tls = self.pki.iter().flat_map(Pki::settings);
        tls.chain(self.issuer.iter().flat_map(Issuer::settings)).collect()
    }

    /// One client's way in; `None`: replicas serve over TCP. Clients use TLS 1.2 and 1.3 in turn, each with its own tickets.
    pub fn door(&self, which: u32) -> Option<TlsConnector> {
        let config = self.pki.as_ref()?.client(which % 2 == 1).expect("rustls takes the suite's authorities");
        Some(config.into())
    }

    /// Completes the handshake, if there is one, and agrees on the protocol of this way. `None`: it failed.
    pub async fn enter(
        &self,
        socket: TcpStream,
        door: Option<&TlsConnector>,
        way: Way,
        cut: Cut,
    ) -> Option<Wire> {
        let Some(door) = door else { return Some(Wire::Plain(socket)) };
        let host = ServerName::try_from(HOST).expect("a name of DNS");
        let protocol = if way == Way::Http2 { "h2" } else { "http/1.1" };
        let door = door.with_alpn(vec![protocol.into()]);
        match door.connect(host, Severed::new(socket, cut)).into_fallible().await {
            Ok(stream) => {
                Counted::add(&self.counted.handshakes);
                if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                    Counted::add(&self.counted.resumed);
                }
                Some(Wire::Tls(Box::new(stream)))
            }
            Err((_, severed)) if severed.is_cut() => {
                Counted::add(&self.counted.cut_handshakes);
                None
            }
            Err((error, _)) => {
                // An end or a reset comes from a replica that was killed; anything else is an error of TLS.
                if error.kind() == ErrorKind::InvalidData {
                    self.problem(format!("a handshake failed: {error}"));
                }
                None
            }
        }
    }

    /// A new token, if replicas ask for one.
    pub fn token(&self, which: u32, tenant: &str, random: &mut StdRng) -> Option<Token> {
        let issuer = self.issuer.as_ref()?;
        Some(issuer.token(which, tenant, random).expect("a token can be signed"))
    }

    /// One request with this token and last event id: the answer, and the certificate that the replica serves with.
    pub async fn ask(&self, port: u16, path: &str, token: Option<&Token>, id: &str) -> Result<Answer> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.context("connect")?;
        let wire =
            self.enter(socket, self.door(0).as_ref(), Way::Sse, Cut::NEVER).await.context("shake hands")?;
        let certificate = match &wire {
            Wire::Plain(_) => None,
            Wire::Tls(stream) => stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| Some(chain.first()?.clone().into_owned())),
        };
        let mut source = Source::new(port, path, IdBuffer::Empty);
        source.token = token.map(|token| token.text.clone());
        source.last_event_id = id.to_owned();
        let connection = source.connect_over(wire).await.context("no answer")?;
        Ok(Answer { certificate, source, connection })
    }

    pub fn problem(&self, text: String) {
        let mut problems = self.problems.lock();
        if problems.len() < MAX_PROBLEMS {
            problems.push(text);
        }
    }

    /// What clients experienced, in words.
    pub fn note(&self) -> String {
        let counted = &self.counted;
        let [handshakes, resumed, cut_handshakes, cut, unauthorized, notices, expired] = [
            &counted.handshakes,
            &counted.resumed,
            &counted.cut_handshakes,
            &counted.cut,
            &counted.unauthorized,
            &counted.notices,
            &counted.expired,
        ]
        .map(Counted::get);
        format!(
            "{handshakes} handshakes, {resumed} of them resumed; {cut_handshakes} cut within, {cut} connections cut after; \
             {unauthorized} times 401; {notices} notices of expiry, {expired} streams ended by it"
        )
    }
}

/// The answer to one request of [`Access::ask`].
pub struct Answer {
    pub certificate: Option<CertificateDer<'static>>,
    pub source: Source,
    pub connection: crate::sse::Connection,
}

/// Where a connection over TLS is cut: within the handshake, soon after it, or later.
pub fn cut(random: &mut StdRng) -> Cut {
    let after_read = match random.random_range(0..10) {
        0..=2 => random.random_range(0..2_500),
        3..=5 => random.random_range(0..8_000),
        6..=8 => random.random_range(0..120_000),
        _ => random.random_range(0..1_000_000),
    };
    // A handshake and a request of a client have one to three kilobytes.
    let after_written = match random.random_range(0..10) {
        0 => random.random_range(0..3_000),
        _ => usize::MAX,
    };
    Cut { after_read, after_written, is_reset: random.random() }
}
