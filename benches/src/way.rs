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
        }
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
            Way::Sse | Way::WebSocket | Way::Http2 => Vec::new(),
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
            Way::Sse | Way::WebSocket | Way::Http2 => Transport::Plain,
        };
        let shared_by = if self.way == Way::Http2 { SHARED_BY } else { 1 };
        Ok(Clients::new(server.address, request)?.over(transport).sharing(shared_by))
    }
}
