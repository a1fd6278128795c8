//! Mercure's hub, with its transport in memory.

use std::process::Command;

use anyhow::{Context, Result};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::http::Http;
use super::peer::{Peer, Place, Process, Running, Stage};
use super::publish::Posts;
use crate::wire::Transport;

pub(crate) const PEER: Peer = Peer {
    name: "Mercure",
    note: "`transport local`: no history",
    most_clients: usize::MAX,
    curve: true,
    start,
    folder: Some("mercure"),
};

/// Mercure requires a key; nothing is secret here.
const KEY: &str = "a key for the publisher of a benchmark, 32 bytes or more";

fn start(stage: &Stage) -> Result<Running> {
    let place = Place::new()?;
    let config = place.write("Caddyfile", &config(&place))?;
    let mut command = Command::new(stage.installed("mercure/mercure").canonicalize()?);
    command.arg("run").arg("--config").arg(config).current_dir(place.path());
    command.env("HOME", place.path()).env("XDG_DATA_HOME", place.path()).env("XDG_CONFIG_HOME", place.path());
    let tree = place.start(&mut command)?;
    let posts = Posts {
        http: Http::connect(place.address)?,
        line: "POST /.well-known/mercure".to_owned(),
        headers: format!(
            "Authorization: Bearer {}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            token()?
        ),
        // The event's JSON contains no characters that must be escaped in a form.
        prefix: b"topic=board&data=",
    };
    Ok(Running {
        transport: Transport::Plain,
        process: Process::Tree(tree),
        address: place.address,
        path: "/.well-known/mercure?topic=board".to_owned(),
        publish: Box::new(posts),
        _topic: None,
        place: Some(place),
    })
}

fn token() -> Result<String> {
    let claims = json!({ "mercure": { "publish": ["*"] } });
    let key = EncodingKey::from_secret(KEY.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).context("sign the publisher's token")
}

fn config(place: &Place) -> String {
    format!(
        "{{\n  auto_https off\n  admin off\n  persist_config off\n  log {{\n    level WARN\n  }}\n}}\n\
         http://:{} {{\n  bind 127.0.0.1\n  mercure {{\n    publisher_jwt \"{KEY}\" HS256\n    anonymous\n    transport local\n\
         \x20   write_timeout 0s\n  }}\n}}\n",
        place.address.port()
    )
}
