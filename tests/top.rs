//! `tailrace top` on the demo: what it prints, and what it says where it cannot.

mod support;

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::bridge::binary;
use support::free_port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

const TOKEN: &str = "an-operators-token-of-more-than-32-bytes";
const PATIENCE: Duration = Duration::from_secs(20);

/// The demo with a client.
struct Demo {
    _process: Child,
    port: u16,
    admin: String,
    _client: TcpStream,
}

impl Demo {
    async fn start(flags: &[&str]) -> Demo {
        let (port, admin) = (free_port(), format!("127.0.0.1:{}", free_port()));
        let process = Command::new(binary())
            .args(["demo", "--listen", &format!("127.0.0.1:{port}"), "--admin-listen", &admin])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary can be started");
        let client = tokio::time::timeout(PATIENCE, stream(port)).await.expect("the demo serves streams");
        Demo { _process: process, port, admin, _client: client }
    }
}

/// A stream of the demo, once there is one, with its first bytes read.
async fn stream(port: u16) -> TcpStream {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
        let request = b"GET /t/acme/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        socket.write_all(request).await.expect("a request can be sent");
        let mut head = [0; 64];
        let read = socket.read(&mut head).await.unwrap_or(0);
        if head[..read].starts_with(b"HTTP/1.1 200") {
            return socket;
        }
    }
}

async fn top(args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("top").args(args).env_clear().stdin(Stdio::null());
    command.output().await.expect("it can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Fails with this exit code, and says this.
async fn says(args: &[&str], code: i32, parts: &[&str]) {
    let output = top(args).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "{args:?}: {said}");
    }
    assert!(output.stdout.is_empty(), "{args:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pipe_it_prints_once_and_as_json_one_document() {
    let demo = Demo::start(&[]).await;
    let printed = top(&["--admin-listen", &demo.admin]).await;
    let page = text(&printed.stdout);
    assert!(printed.status.success() && !page.contains('\u{1b}'), "{page}");
    assert!(page.starts_with(&format!("tailrace {}   1 tenants, 1 streams", demo.admin)), "{page}");
    assert!(page.contains("\nTENANT ") && page.contains("\nID "), "{page}");

    let document = top(&["--admin-listen", &demo.admin, "--json", "--sort", "tenant"]).await;
    let document: Value = serde_json::from_slice(&document.stdout).expect("one JSON document");
    assert_eq!((&document["streams_total"], &document["tenants_total"]), (&1.into(), &1.into()));
    assert_eq!(document["tenants"][0]["tenant"], "acme");
    assert_eq!(document["streams"][0]["address"], "127.0.0.1");
    // By a name, too.
    let port = demo.admin.rsplit_once(':').expect("a port").1;
    assert!(top(&["--admin-listen", &format!("localhost:{port}"), "--once"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_a_missing_and_a_wrong_token_lead_to_the_next_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (good, wrong) = (file("good", TOKEN), file("wrong", &TOKEN.replace('a', "b")));
    let demo = Demo::start(&["--admin-token-file", &good]).await;
    let address = ["--admin-listen", &demo.admin];
    says(&address, 1, &["asks for a token", "--admin-token-file"]).await;
    says(&[&address[..], &["--admin-token-file", &wrong]].concat(), 1, &["does not take the token"]).await;
    let printed = top(&[&address[..], &["--admin-token-file", &good, "--json"]].concat()).await;
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let secret = [text(&printed.stdout), text(&printed.stderr)].concat();
    assert!(!secret.contains(TOKEN));

    let streams = format!("127.0.0.1:{}", demo.port);
    says(&["--admin-listen", &streams], 1, &["is not the operators' address", "--admin-listen"]).await;
    let nobody = format!("127.0.0.1:{}", free_port());
    says(&["--admin-listen", &nobody], 1, &["nothing answers", "start the server", "--admin-listen"]).await;
    // One that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let silent = silent.local_addr().expect("bound").to_string();
    says(&["--admin-listen", &silent], 1, &[&silent]).await;
}
