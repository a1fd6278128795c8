//! durable-streams: it has its own log in files, which are not synced to disk here.

use std::process::Command;

use anyhow::Result;

use super::http::{Http, request};
use super::peer::{Peer, Place, Process, Running, Stage};
use super::publish::{Posts, Publish, event};
use crate::wire::Transport;

pub(crate) const PEER: Peer = Peer {
    name: "durable-streams",
    note: "`--durability memory`; merges what is there into one event; closes a stream after 60 s",
    most_clients: usize::MAX,
    curve: true,
    start,
    folder: Some("durable-streams"),
};

/// A producer that does not collect events into one request.
pub(crate) const EACH: Peer = Peer {
    name: "durable-streams, a POST for each event",
    note: "as nchan and Mercure are given theirs",
    start: start_each,
    curve: false,
    ..PEER
};

const JSON: &str = "Content-Type: application/json\r\n";

fn start(stage: &Stage) -> Result<Running> {
    launch(stage, |http| Box::new(Arrays(http)))
}

fn start_each(stage: &Stage) -> Result<Running> {
    let (line, headers) = ("POST /board".to_owned(), JSON.to_owned());
    launch(stage, |http| Box::new(Posts { http, line, headers, prefix: b"" }))
}

fn launch(stage: &Stage, publish: impl FnOnce(Http) -> Box<dyn Publish>) -> Result<Running> {
    let place = Place::new()?;
    let mut command = Command::new(stage.installed("durable-streams/bin/durable-streams-server"));
    command.args(["--port", &place.address.port().to_string(), "--durability", "memory"]);
    command.arg("--data-dir").arg(place.path().join("data"));
    let tree = place.start(&mut command)?;
    let mut http = Http::connect(place.address)?;
    let mut create = Vec::new();
    request(&mut create, "PUT /board", JSON, b"");
    http.exchange(&create, 1)?;
    Ok(Running {
        transport: Transport::Plain,
        process: Process::Tree(tree),
        address: place.address,
        path: "/board?offset=now&live=sse".to_owned(),
        publish: publish(http),
        _topic: None,
        place: Some(place),
    })
}

/// One POST for a burst: a JSON array contains one message per element.
struct Arrays(Http);

impl Publish for Arrays {
    fn burst(&mut self, events: u32) -> Result<()> {
        let mut body = vec![b'['];
        for index in 0..events {
            if index > 0 {
                body.push(b',');
            }
            event(&mut body);
        }
        body.push(b']');
        let mut post = Vec::new();
        request(&mut post, "POST /board", JSON, &body);
        self.0.exchange(&post, 1)
    }
}
