//! A server's and a client's connection whose handshake is over, in memory.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::server::ServerConnection;
use rustls::{ClientConnection, SupportedProtocolVersion};

use super::connection::Connection;
use super::files::TlsFiles;
use super::pki::{Authority, Files};
use super::record_layer::{Layer, Received, RecordLayer as _};
use crate::reload::Reload;

/// What a server's stream has after the handshake, as it would be, and the client.
pub(crate) fn pair(version: &'static SupportedProtocolVersion) -> (Layer, ClientConnection) {
    let (server, client) = shaken(version);
    (server.into_layer().unwrap(), client)
}

/// The same with rustls on the server's side, whatever the version.
pub(crate) fn rustls_pair(version: &'static SupportedProtocolVersion) -> (Layer, ClientConnection) {
    let (mut server, mut client) = shaken(version);
    // Half of a record has come.
    let bytes = say(&mut client, b"half");
    server.read_tls(&mut &bytes[..bytes.len() / 2]).unwrap();
    let mut layer = server.into_layer().unwrap();
    assert!(matches!(layer, Layer::Rustls(_)));
    assert_eq!(layer.receive(&bytes[bytes.len() / 2..], &mut Vec::new(), &mut Vec::new()), Received::Open);
    (layer, client)
}

fn shaken(version: &'static SupportedProtocolVersion) -> (Connection, ClientConnection) {
    let authority = Authority::new();
    let files = Files::of(&authority.issue());
    let paths = TlsFiles { cert: files.path("cert.pem"), key: files.path("key.pem"), client_ca: None };
    let config = super::Certificate::load(paths, Reload::new().looks()).unwrap().0.config();
    let client = Arc::new(authority.client(&[version], None));
    let mut server = Connection::new(&config).unwrap();
    let mut client = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
    shake(&mut server, &mut client).unwrap();
    (server, client)
}

/// Does the handshake, up to the tickets.
pub(crate) fn shake(
    server: &mut ServerConnection,
    client: &mut ClientConnection,
) -> Result<(), rustls::Error> {
    while server.is_handshaking() || client.is_handshaking() || server.wants_write() || client.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut left = &bytes[..];
        while !left.is_empty() {
            server.read_tls(&mut left).unwrap();
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        read(client, &bytes);
    }
    Ok(())
}

/// What the client makes of these bytes.
pub(crate) fn read(client: &mut ClientConnection, mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        assert!(client.read_tls(&mut bytes).unwrap() > 0, "bytes after the end");
        client.process_new_packets().unwrap();
        // Ends with WouldBlock where the connection goes on.
        let _ = client.reader().read_to_end(&mut plain);
    }
    plain
}

/// The records in which the client says this.
pub(crate) fn say(client: &mut ClientConnection, plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.writer().write_all(plain).unwrap();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}
