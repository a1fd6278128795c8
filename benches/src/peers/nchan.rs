//! nchan, a module of nginx: one worker, messages in its shared memory.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::http::Http;
use super::peer::{Peer, Place, Process, Running, Stage};
use super::publish::Posts;
use crate::wire::Transport;

pub(crate) const PEER: Peer = Peer {
    name: "nchan",
    note: "one worker; no log behind it",
    most_clients: usize::MAX,
    curve: true,
    start,
    folder: Some("nchan"),
};

/// Where nchan would store large messages. Its directive for another folder fails as a duplicate of itself, and the package's
/// script, which would create the folder, was not run.
const LARGE: &str = "/var/lib/nginx";

fn start(stage: &Stage) -> Result<Running> {
    fs::create_dir_all(LARGE)
        .with_context(|| format!("create {LARGE}, which nchan demands: do it as root"))?;
    let place = Place::new()?;
    let installed = stage.installed("nchan").canonicalize()?;
    let config = place.write("nginx.conf", &config(&place, &installed.join("usr/lib/nginx/modules")))?;
    let mut command = Command::new(installed.join("usr/sbin/nginx"));
    command.arg("-p").arg(place.path()).arg("-c").arg(config).args(["-e", "stderr"]);
    let tree = place.start(&mut command)?;
    let posts = Posts {
        http: Http::connect(place.address)?,
        line: "POST /pub/board".to_owned(),
        headers: "Content-Type: application/json\r\n".to_owned(),
        prefix: b"",
    };
    Ok(Running {
        transport: Transport::Plain,
        process: Process::Tree(tree),
        address: place.address,
        path: "/sub/board".to_owned(),
        publish: Box::new(posts),
        _topic: None,
        place: Some(place),
    })
}

/// By default a channel keeps ten messages, fewer than a burst: a client that is one burst behind would lose some.
fn config(place: &Place, modules: &std::path::Path) -> String {
    let directory = place.path().display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {directory}/{kind};\n"))
        .concat();
    format!(
        "load_module {}/ngx_nchan_module.so;\nuser root;\ndaemon off;\nworker_processes 1;\n\
         worker_rlimit_nofile 20000;\npid {directory}/pid;\nevents {{ worker_connections 20000; }}\n\
         http {{\n{temporary}  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_time 1h;\n\
         \x20 nchan_shared_memory_size 256M;\n  server {{\n    listen {} backlog=4096;\n\
         \x20   location ~ ^/sub/(\\w+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1;\n\
         \x20     nchan_subscriber_first_message newest; }}\n\
         \x20   location ~ ^/pub/(\\w+)$ {{ nchan_publisher http; nchan_channel_id $1;\n\
         \x20     nchan_message_buffer_length 2000; }}\n  }}\n}}\n",
        modules.display(),
        place.address
    )
}
