//! Tailrace over TLS: its own, and nginx's in front of it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;

use super::kafka_publish::{KafkaPublish, TENANT};
use super::peer::{PARTITIONS, Peer, Place, Process, Running, Stage};
use crate::producer::Topic;
use crate::server::Server;
use crate::tls::{self, Tls};
use crate::wire::Transport;

pub(crate) const OWN: Peer = Peer {
    name: "Tailrace with its own TLS",
    note: "TLS 1.3, an ECDSA certificate",
    most_clients: usize::MAX,
    curve: true,
    start: own,
    folder: None,
};

pub(crate) const NGINX: Peer = Peer {
    name: "Tailrace behind nginx with TLS",
    note: "both processes together; one worker, as docs/proxies.md sets it up; the same certificate",
    most_clients: usize::MAX,
    curve: true,
    start: behind_nginx,
    folder: Some("nchan"),
};

fn own(stage: &Stage) -> Result<Running> {
    let topic = Topic::create(&stage.kafka.bootstrap, stage.topic_name(), PARTITIONS)?;
    let files = Tls::new()?;
    let (certificate, key) = (files.certificate()?, files.key()?);
    let settings = tls::settings(&certificate, &key);
    let server = Server::start(&stage.program, &stage.kafka.bootstrap, &topic.name, &settings)?;
    Ok(Running {
        address: server.address,
        transport: Transport::Tls(Arc::new(files)),
        process: Process::Ours(server),
        path: format!("/t/{TENANT}/events"),
        publish: Box::new(KafkaPublish::new(&stage.kafka.bootstrap, &topic.name)?),
        _topic: Some(topic),
        place: None,
    })
}

fn behind_nginx(stage: &Stage) -> Result<Running> {
    let topic = Topic::create(&stage.kafka.bootstrap, stage.topic_name(), PARTITIONS)?;
    let server = Server::start(&stage.program, &stage.kafka.bootstrap, &topic.name, &[])?;
    let (place, files) = (Place::new()?, Tls::new()?);
    let config = place.write("nginx.conf", &config(&place, &files, &server)?)?;
    let program = stage.installed("nchan").canonicalize()?.join("usr/sbin/nginx");
    let proxy = place.start(&mut command(&program, &place, &config))?;
    Ok(Running {
        address: place.address,
        transport: Transport::Tls(Arc::new(files)),
        process: Process::Behind(proxy, server),
        path: format!("/t/{TENANT}/events"),
        publish: Box::new(KafkaPublish::new(&stage.kafka.bootstrap, &topic.name)?),
        _topic: Some(topic),
        place: Some(place),
    })
}

fn command(program: &Path, place: &Place, config: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-p").arg(place.path()).arg("-c").arg(config).args(["-e", "stderr"]);
    command
}

fn config(place: &Place, files: &Tls, server: &Server) -> Result<String> {
    let directory = place.path().display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {directory}/{kind};\n"))
        .concat();
    Ok(format!(
        "user root;\ndaemon off;\nworker_processes 1;\nworker_rlimit_nofile 40000;\npid {directory}/pid;\n\
         events {{ worker_connections 40000; }}\n\
         http {{\n{temporary}  access_log off;\n  server {{\n    listen {} ssl backlog=4096;\n\
         \x20   ssl_certificate {};\n    ssl_certificate_key {};\n    ssl_protocols TLSv1.3;\n\
         \x20   location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         \x20     proxy_buffering off; proxy_read_timeout 1h; }}\n  }}\n}}\n",
        place.address,
        files.certificate()?,
        files.key()?,
        server.address,
    ))
}
