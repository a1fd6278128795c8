//! The proxies that are run, and what the test changes in the blocks that docs/proxies.md has for them: addresses and ports, and
//! compression, which users have switched on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::free_port;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Caddy,
    Envoy,
    Traefik,
}

/// What a proxy speaks to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    Http1,
    Http2,
}

/// Where a proxy listens and what it stands before.
pub(crate) struct Place<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) port: u16,
    /// For the proxy's own use, on loopback.
    pub(crate) inner: u16,
    upstream: u16,
    speaks: Upstream,
}

/// The first file is the one that is named at the start.
pub(crate) const FILES: [&str; 2] = ["config.yaml", "more.yaml"];

const HTTP2_HEADING: &str = "HTTP/2 to Tailrace";

/// Before the router, which is the last of Envoy's filters.
const ENVOY_COMPRESSOR: &str = r#"http_filters:
                  - name: envoy.filters.http.compressor
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor
                      response_direction_config:
                        common_config: { content_type: [text/event-stream, text/html], min_content_length: 1 }
                      compressor_library:
                        name: gzip
                        typed_config:
                          "@type": type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip
"#;

impl<'a> Place<'a> {
    pub(crate) fn new(folder: &'a Path, upstream: u16, speaks: Upstream) -> Place<'a> {
        Place { folder, port: free_port(), inner: free_port(), upstream, speaks }
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
            Kind::Caddy => "caddy",
            Kind::Envoy => "envoy",
            Kind::Traefik => "traefik",
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::Haproxy => "HAProxy",
            Kind::Caddy => "Caddy",
            Kind::Envoy => "Envoy",
            Kind::Traefik => "Traefik",
        }
    }

    /// How long no server is there: long enough for the proxy to say so.
    pub(crate) fn away(self) -> Duration {
        // HAProxy tries for three seconds first.
        Duration::from_secs(if self == Kind::Haproxy { 5 } else { 2 })
    }

    /// Writes the proxy's files: the page's blocks, changed.
    pub(crate) fn write(self, place: &Place<'_>) {
        // A byte that no configuration has keeps the files apart.
        let mut text = blocks(self.heading()).join("\0");
        if place.speaks == Upstream::Http2 {
            let (from, to) = self.http2();
            assert!(text.contains(from), "the blocks for {} have no {from:?}", self.heading());
            text = text.replace(from, &to);
        }
        for (from, to) in self.changes(place) {
            assert!(text.contains(from), "the blocks for {} have no {from:?}", self.heading());
            text = text.replace(from, &to);
        }
        for (file, text) in FILES.iter().zip(self.within(place, text).split('\0')) {
            fs::write(place.folder.join(file), text).expect("a file can be written");
        }
    }

    /// What the page has for HTTP/2 to the server: what is changed, and what it becomes.
    fn http2(self) -> (&'static str, String) {
        let (from, to) = match self {
            Kind::Haproxy => ("server tailrace 127.0.0.1:8080", "server tailrace 127.0.0.1:8080 proto h2"),
            Kind::Caddy => ("reverse_proxy 127.0.0.1:8080 {", "reverse_proxy h2c://127.0.0.1:8080 {"),
            Kind::Traefik => ("url: \"http://127.0.0.1:8080\"", "url: \"h2c://127.0.0.1:8080\""),
            Kind::Envoy => {
                let entry = blocks(HTTP2_HEADING).concat();
                return ("      connect_timeout: 2s\n", format!("      connect_timeout: 2s\n{entry}"));
            }
            Kind::Nginx => panic!("nginx speaks HTTP/1 to its upstreams"),
        };
        let row = format!("| `{from}` | `{to}` |");
        assert!(section(HTTP2_HEADING).contains(&row), "the page has no {row}");
        (from, to.to_owned())
    }

    fn changes(self, place: &Place<'_>) -> Vec<(&'static str, String)> {
        let Place { port, inner, upstream, .. } = place;
        let server = ("127.0.0.1:8080", format!("127.0.0.1:{upstream}"));
        match self {
            Kind::Nginx => vec![server, ("listen 80;", format!("listen 127.0.0.1:{port};"))],
            Kind::Haproxy => {
                let compressing = "mode http\n    compression algo gzip\n    compression type text/event-stream text/html\n";
                let listening = ("bind :80\n", format!("bind 127.0.0.1:{port}\n"));
                vec![server, listening, ("mode http\n", compressing.to_owned())]
            }
            Kind::Caddy => {
                let site = format!("http://:{port} {{\n\tbind 127.0.0.1\n\tencode gzip\n");
                vec![server, (":80 {\n", site)]
            }
            Kind::Envoy => vec![
                ("0.0.0.0, port_value: 80 ", format!("127.0.0.1, port_value: {port} ")),
                ("port_value: 8080 ", format!("port_value: {upstream} ")),
                ("http_filters:\n", ENVOY_COMPRESSOR.to_owned()),
            ],
            Kind::Traefik => vec![
                server,
                ("\":80\"", format!("\"127.0.0.1:{port}\"")),
                ("127.0.0.1:8079", format!("127.0.0.1:{inner}")),
                ("/etc/traefik/tailrace.yml", place.folder.join(FILES[1]).display().to_string()),
                ("middlewares: [wait, address]", "middlewares: [compress, wait, address]".to_owned()),
                ("  middlewares:\n    #", "  middlewares:\n    compress: { compress: {} }\n    #".to_owned()),
            ],
        }
    }

    /// The blocks of those that are parts of a file, within it.
    fn within(self, place: &Place<'_>, block: String) -> String {
        let folder = place.folder.display();
        match self {
            Kind::Nginx => {
                // It writes temporary files to folders of its own, which are the package's.
                let bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
                    .concat();
                format!(
                    "pid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{bodies}gzip on;\n\
                     gzip_types *;\ngzip_proxied any;\n{block}}}\n"
                )
            }
            Kind::Caddy => format!("{{\n\tadmin 127.0.0.1:{}\n\tauto_https off\n}}\n{block}", place.inner),
            Kind::Haproxy | Kind::Envoy | Kind::Traefik => block,
        }
    }
}

/// What the page has below a heading.
fn section(heading: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proxies.md");
    let page = fs::read_to_string(page).expect("docs/proxies.md is there");
    let heading = format!("\n## {heading}\n");
    let (_, rest) = page.split_once(&heading).unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

/// Its blocks, a text for each fence.
fn blocks(heading: &str) -> Vec<String> {
    let section = section(heading);
    // Every other part lies within a fence, behind the name of its language.
    let fenced = section.split("```").skip(1).step_by(2);
    let blocks: Vec<String> = fenced.filter_map(|block| Some(block.split_once('\n')?.1.to_owned())).collect();
    assert!(!blocks.is_empty(), "no block below {heading}");
    blocks
}

/// Where `cargo xtask setup` has put it, on the path, or where systems keep what only root runs.
pub(crate) fn program(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tailrace/proxies");
    // The `envoy` in bin/ is a script around the one that is meant.
    let own = [own.join("envoy/_bin"), own.join("bin")];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let mut programs = own.into_iter().chain(folders).map(|folder| folder.join(name));
    let found = programs.find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("{name} is not on the path: run `cargo xtask setup` first"))
}
