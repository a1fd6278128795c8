//! A proxy with the block that docs/proxies.md has for it, on ports of the test's, with compression switched on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{eventually, free_port, signal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Caddy,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
            Kind::Caddy => "caddy",
        }
    }

    /// The block of the documentation.
    fn block(self) -> String {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proxies.md");
        let page = fs::read_to_string(page).expect("docs/proxies.md is there");
        let fence = match self {
            Kind::Caddy => "```caddyfile\n",
            Kind::Nginx => "```nginx\n",
            Kind::Haproxy => "```haproxy\n",
        };
        let block = page.split(fence).nth(1).and_then(|rest| rest.split("```").next());
        block.unwrap_or_else(|| panic!("docs/proxies.md has no {fence}")).to_owned()
    }

    /// The whole file: the block with other ports, and what is around it.
    fn file(self, folder: &Path, port: u16, upstream: u16, admin: u16) -> String {
        let block = self.block().replace("127.0.0.1:8080", &format!("127.0.0.1:{upstream}"));
        let replaced = |from: &str, to: &str| {
            assert!(block.contains(from), "the block has no {from:?}");
            block.replacen(from, to, 1)
        };
        let folder = folder.display();
        match self {
            Kind::Nginx => {
                let block = replaced("listen 80;", &format!("listen 127.0.0.1:{port};"));
                // It writes temporary files to folders of its own, which are the package's.
                let bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
                    .concat();
                format!(
                    "pid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{bodies}gzip on;\n\
                     gzip_types *;\ngzip_proxied any;\n{block}}}\n"
                )
            }
            Kind::Haproxy => {
                let block = replaced("bind :80", &format!("bind 127.0.0.1:{port}"));
                let mode = "    mode http\n";
                block.replacen(
                    mode,
                    &format!("{mode}    compression algo gzip\n    compression type text/event-stream\n"),
                    1,
                )
            }
            Kind::Caddy => {
                let block =
                    replaced(":80 {\n", &format!("http://:{port} {{\n\tbind 127.0.0.1\n\tencode gzip\n"));
                format!("{{\n\tadmin 127.0.0.1:{admin}\n\tauto_https off\n}}\n{block}")
            }
        }
    }

    fn command(self, file: &Path) -> Command {
        let mut command = Command::new(program(self.name()));
        match self {
            Kind::Nginx => command.arg("-c").arg(file).args(["-g", "daemon off;"]),
            // A master and a worker, as a system runs it: without them it cannot be reloaded.
            Kind::Haproxy => command.args(["-W", "-f"]).arg(file),
            Kind::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file),
        };
        command
    }
}

/// On the path, or where systems keep what only root runs.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("{name} is not on the path: run `cargo xtask setup` first"))
}

pub(crate) struct Proxy {
    kind: Kind,
    process: Child,
    folder: TempDir,
    pub(crate) port: u16,
    admin: u16,
}

impl Proxy {
    pub(crate) async fn start(kind: Kind, upstream: u16) -> Proxy {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (port, admin) = (free_port(), free_port());
        let file = folder.path().join("config");
        fs::write(&file, kind.file(folder.path(), port, upstream, admin)).expect("a file can be written");
        let log = fs::File::create(folder.path().join("log")).expect("a file can be created");
        let mut command = kind.command(&file);
        // Caddy keeps a copy of its configuration at home.
        command.env("HOME", folder.path()).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().expect("the proxy can be started");
        let proxy = Proxy { kind, process, folder, port, admin };
        eventually("the proxy answers", Duration::from_secs(20), async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        proxy
    }

    /// Takes its configuration anew, as after a change.
    pub(crate) fn reload(&self) {
        match self.kind {
            Kind::Nginx => signal(self.process.id(), Signal::HUP),
            Kind::Haproxy => signal(self.process.id(), Signal::USR2),
            Kind::Caddy => {
                let mut command = Command::new(program("caddy"));
                command.args(["reload", "--force", "--adapter", "caddyfile", "--config"]);
                command.arg(self.folder.path().join("config"));
                command.args(["--address", &format!("127.0.0.1:{}", self.admin)]);
                assert!(command.output().expect("caddy can be started").status.success());
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Their workers go with a master that ends by itself.
        signal(self.process.id(), Signal::TERM);
        std::thread::sleep(Duration::from_millis(300));
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            println!("--- log of {}\n{log}", self.kind.name());
        }
    }
}
