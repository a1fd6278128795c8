//! Balancers that forward bytes and say whose by PROXY protocol: the blocks of docs/proxies.md that are for it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::kind::program;
use crate::support::{eventually, free_port};

/// Where Debian's package has nginx's module for it.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Balancer {
    HaproxyVersion1,
    HaproxyVersion2,
    /// Version 1: nginx sends no other.
    Nginx,
}

pub(crate) struct Running {
    process: Child,
    folder: TempDir,
    pub(crate) port: u16,
}

impl Balancer {
    pub(crate) async fn start(self, upstream: u16) -> Running {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, port) = (folder.path().join("config"), free_port());
        fs::write(&file, self.config(folder.path(), port, upstream)).expect("a file can be written");
        let mut command = Command::new(program(self.program()));
        match self {
            Balancer::Nginx => command.arg("-c").arg(file).args(["-g", "daemon off;"]),
            _ => command.arg("-f").arg(file),
        };
        let log = fs::File::create(folder.path().join("log")).expect("a file can be created");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        let process = command.spawn().expect("the balancer can be started");
        eventually("the balancer listens", Duration::from_secs(20), async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Running { process, folder, port }
    }

    fn program(self) -> &'static str {
        if matches!(self, Balancer::Nginx) { "nginx" } else { "haproxy" }
    }

    /// The page's block for PROXY protocol, with other ports.
    fn config(self, folder: &Path, port: u16, upstream: u16) -> String {
        let (language, listen) = match self {
            Balancer::Nginx => ("nginx", ("listen 80;", format!("listen 127.0.0.1:{port};"))),
            _ => ("haproxy", ("bind :80\n", format!("bind 127.0.0.1:{port}\n"))),
        };
        let block = block(language);
        assert!(block.contains(listen.0) && block.contains("127.0.0.1:8080"), "{block}");
        let block =
            block.replace(listen.0, &listen.1).replace("127.0.0.1:8080", &format!("127.0.0.1:{upstream}"));
        match self {
            Balancer::HaproxyVersion1 => block.replace("send-proxy-v2", "send-proxy"),
            Balancer::HaproxyVersion2 => block,
            Balancer::Nginx => format!(
                "load_module {STREAM_MODULE};\npid {}/pid;\nerror_log stderr;\nevents {{}}\n{block}",
                folder.display()
            ),
        }
    }
}

/// What the page has in that language on the client's address.
fn block(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proxies.md");
    let page = fs::read_to_string(page).expect("docs/proxies.md is there");
    let section = page.split("\n## The client's address\n").nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let begin = format!("```{language}\n");
    let block = section.split_once(&begin).unwrap_or_else(|| panic!("no block in {language}")).1;
    block.split("```").next().unwrap_or_default().to_owned()
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx's workers end with their master only if it ends by itself.
        crate::support::signal(self.process.id(), rustix::process::Signal::TERM);
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}
