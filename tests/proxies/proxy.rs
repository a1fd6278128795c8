//! A proxy that runs with the blocks of docs/proxies.md.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::kind::{FILES, Kind, Place, Upstream, program};
use crate::support::bridge::get;
use crate::support::{eventually, signal};

/// A proxy that is told to end and does not is killed after this long.
const END: Duration = Duration::from_secs(2);

pub(crate) struct Proxy {
    kind: Kind,
    process: Child,
    folder: TempDir,
    pub(crate) port: u16,
    inner: u16,
}

impl Proxy {
    pub(crate) async fn start(kind: Kind, upstream: u16, speaks: Upstream) -> Proxy {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Place::new(folder.path(), upstream, speaks);
        kind.write(&place);
        let Place { port, inner, .. } = place;
        let process = spawn(kind, &folder);
        let proxy = Proxy { kind, process, folder, port, inner };
        proxy.answers().await;
        proxy
    }

    /// With the console: Traefik listens before it has a route, and says 404 until then.
    async fn answers(&self) {
        eventually("the proxy answers", Duration::from_secs(20), async || {
            get(self.port, "/").await.filter(|(status, _)| *status == 200)
        })
        .await;
    }

    /// Takes its configuration anew, as after a change.
    pub(crate) async fn reload(&mut self) {
        match self.kind {
            Kind::Nginx => signal(self.process.id(), Signal::HUP),
            Kind::Haproxy => signal(self.process.id(), Signal::USR2),
            Kind::Caddy => {
                let mut command = Command::new(program("caddy"));
                command.args(["reload", "--force", "--adapter", "caddyfile", "--config"]);
                command.arg(self.folder.path().join(FILES[0]));
                command.args(["--address", &format!("127.0.0.1:{}", self.inner)]);
                assert!(command.output().expect("caddy can be started").status.success());
            }
            // A file that is read at the start only.
            Kind::Envoy => {
                self.end();
                self.process = spawn(self.kind, &self.folder);
                self.answers().await;
            }
            // It watches the file, and does nothing where that means the same as before.
            Kind::Traefik => {
                let file = self.folder.path().join(FILES[1]);
                let text = fs::read_to_string(&file).expect("the file is there");
                let another = text.replace("  services:\n", "    more: { compress: {} }\n  services:\n");
                assert_ne!(text, another);
                // In one step: of a file that is empty for a moment it takes that there are no routes, and says 404.
                let new = self.folder.path().join("new");
                fs::write(&new, another).expect("a file can be written");
                fs::rename(&new, &file).expect("a file can be renamed");
            }
        }
    }

    fn end(&mut self) {
        // Their workers go with a master that ends by itself.
        if matches!(self.process.try_wait(), Ok(None)) {
            signal(self.process.id(), Signal::TERM);
        }
        let until = Instant::now() + END;
        while Instant::now() < until && !matches!(self.process.try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            println!("--- log of {}\n{log}", self.kind.name());
        }
    }
}

fn spawn(kind: Kind, folder: &TempDir) -> Child {
    let file = folder.path().join(FILES[0]);
    let mut command = Command::new(program(kind.name()));
    match kind {
        Kind::Nginx => command.arg("-c").arg(file).args(["-g", "daemon off;"]),
        // A master and a worker, as a system runs it: without them it cannot be reloaded.
        Kind::Haproxy => command.args(["-W", "-f"]).arg(file),
        Kind::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file),
        // What a hot restart needs is shared by all Envoys of a machine.
        Kind::Envoy => command.args(["--disable-hot-restart", "--log-level", "warning", "-c"]).arg(file),
        Kind::Traefik => command.arg(format!("--configFile={}", file.display())),
    };
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log"));
    let log = log.expect("a file can be created");
    // Caddy keeps a copy of its configuration at home.
    command.env("HOME", folder.path()).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file can be shared")).stderr(log);
    command.spawn().expect("the proxy can be started")
}
