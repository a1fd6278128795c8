//! The ways in which clients may read the same stream.

use std::sync::Arc;

use anyhow::Result;

use crate::clients::Clients;
use crate::server::{Server, Setting};
use crate::tls::{self, Tls};
use crate::wire::Transport;

/// How clients connect and ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// An event stream over HTTP/1.1.
    Sse,
    /// The same over TLS.
    Tls,
    WebSocket,
    /// Event streams over HTTP/2, [`SHARED_BY`] of a connection.
    Http2,
    /// Event streams over HTTP/1.1 that are compressed.
    Zstd,
    Gzip,
}

/// How many streams of HTTP/2 share a connection.
pub(crate) const SHARED_BY: usize = 10;

/// What a way needs on both sides.
pub(crate) struct Doors {
    way: Way,
    tls: Arc<Tls>,
    certificate: String,
    key: String,
}

impl Way {
    /// As a part of a sentence.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Way::Sse => "over HTTP/1.1",
            Way::Tls => "over TLS",
            Way::WebSocket => "over WebSockets",
            Way::Http2 => "over HTTP/2, 10 streams a connection",
            Way::Zstd => "with zstd",
            Way::Gzip => "with gzip",
        }
    }

    /// Whether clients decode what they get.
    pub(crate) fn is_compressed(self) -> bool {
        matches!(self, Way::Zstd | Way::Gzip)
    }

    pub(crate) fn doors(self) -> Result<Doors> {
        let tls = Arc::new(Tls::new()?);
        let (certificate, key) = (tls.certificate()?, tls.key()?);
        Ok(Doors { way: self, tls, certificate, key })
    }
}

impl Doors {
    /// The settings of a server that clients reach this way.
    pub(crate) fn settings(&self) -> Vec<Setting<'_>> {
        match self.way {
            Way::Tls => tls::settings(&self.certificate, &self.key).to_vec(),
            _ => Vec::new(),
        }
    }

    /// Clients of which each asks for the stream of a tenant.
    pub(crate) fn clients(
        &self,
        server: &Server,
        tenant: impl Fn(usize) -> String + Send + 'static,
    ) -> Result<Clients> {
        let way = self.way;
        let request = move |index| {
            let tenant = tenant(index);
            match way {
                Way::Sse | Way::Tls | Way::Http2 => format!("/t/{tenant}/events"),
                Way::Zstd => format!("/t/{tenant}/events\nAccept-Encoding: zstd\r\n"),
                Way::Gzip => format!("/t/{tenant}/events\nAccept-Encoding: gzip\r\n"),
                Way::WebSocket => format!(
                    "/t/{tenant}/ws\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                ),
            }
        };
        self.connect(server, request)
    }

    /// No clients yet. `request` returns the path of each, and additional header lines, if any.
    pub(crate) fn connect(
        &self,
        server: &Server,
        request: impl Fn(usize) -> String + Send + 'static,
    ) -> Result<Clients> {
        let transport = match self.way {
            Way::Tls => Transport::Tls(Arc::clone(&self.tls)),
            _ => Transport::Plain,
        };
        let shared_by = if self.way == Way::Http2 { SHARED_BY } else { 1 };
        let clients = Clients::new(server.address, request)?.over(transport).sharing(shared_by);
        Ok(if self.way.is_compressed() { clients.decoding() } else { clients })
    }
}
