//! The image: `compose/Dockerfile` is built by buildah, on a Debian that `cargo xtask setup` made; then it is looked into, started,
//! asked, and stopped. One test takes the program that the tests were built with, the other compiles it: `cargo xtask image`.

#[path = "image/buildah.rs"]
mod buildah;
#[path = "image/container.rs"]
mod container;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::bridge::get;
use support::sse::{IdBuffer, Source};
use support::{free_port, signal};

use buildah::Buildah;
use container::Container;

const IMAGE: &str = "localhost/tailrace:test";
/// The most bytes of all files together.
const MAX_SIZE: u64 = 40_000_000;
/// The most bytes beside the program.
const MAX_BESIDE: u64 = 4_000_000;
const PROGRAM: &str = "usr/local/bin/tailrace";
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
/// The machine's own, which may have authorities that Debian does not know.
const TRUST: &str = "/etc/ssl/certs/ca-certificates.crt";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_image_is_small_has_no_shell_runs_read_only_without_root_and_stops_when_told() {
    if !may_change_root() {
        return;
    }
    let buildah = Buildah::new(None);
    buildah.import(&archive("debian.tar"), &[], &base());
    let volumes = [
        format!("{}:/usr/local/bin/cargo:ro", root().join("tests/image/cargo").display()),
        format!("{}:/run/tailrace:ro", env!("CARGO_BIN_EXE_tailrace")),
    ];
    let container = built(&buildah, &volumes);
    look(&container);
    use_it(&container).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "compiles the program, which takes minutes: `cargo xtask image`"]
async fn the_image_that_compiles_the_program_is_as_good() {
    assert!(may_change_root(), "only root can");
    let buildah = Buildah::new(Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("image")));
    let environment = [
        ("PATH", "/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("CARGO_HOME", "/usr/local/cargo"),
        ("CARGO_HTTP_CAINFO", "/run/trust.crt"),
    ];
    buildah.import(&archive("compilers.tar"), &environment, &base());
    let mut volumes = vec![format!("{}:/usr/local/rust:ro", toolchain())];
    volumes.extend(Path::new(TRUST).is_file().then(|| format!("{TRUST}:/run/trust.crt:ro")));
    let container = built(&buildah, &volumes);
    look(&container);
    let size: u64 = files(&container.root).iter().map(|(_, size, _)| size).sum();
    println!("the image has {size} bytes");
    assert!(size <= MAX_SIZE, "{size} bytes");
    let version = container.entry(&["--version"]).output().await.expect("it can be started");
    let version = String::from_utf8(version.stdout).expect("text");
    assert!(version.contains("0123456789ab"), "it does not tell its commit: {version}");
    use_it(&container).await;
}

/// A folder of buildah belongs to root, and so do mounts.
fn may_change_root() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        eprintln!("not root: the image is left to CI");
    }
    may
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn archive(name: &str) -> PathBuf {
    let archive = root().join(".tailrace/image").join(name);
    assert!(
        archive.is_file(),
        "{} is not there: `cargo xtask setup`, `cargo xtask image`",
        archive.display()
    );
    archive
}

/// The image that the Dockerfile builds on, with its registry.
fn base() -> String {
    let file = fs::read_to_string(root().join("compose/Dockerfile")).expect("a Dockerfile");
    let first = file.lines().find_map(|line| line.strip_prefix("FROM ")).expect("a base");
    format!("docker.io/library/{}", first.split(' ').next().expect("a name"))
}

fn toolchain() -> String {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().expect("there is a compiler");
    String::from_utf8(output.stdout).expect("a path").trim().to_owned()
}

fn built(buildah: &Buildah, volumes: &[String]) -> Container {
    buildah.build(root(), "compose/Dockerfile", volumes, IMAGE);
    let files = buildah.unpack(IMAGE);
    let [port, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let environment = [("TAILRACE_LISTEN", port), ("TAILRACE_ADMIN_LISTEN", admin)];
    Container::new(files, buildah.configuration(IMAGE), &environment, "127.0.0.1 replica.example\n")
}

fn look(container: &Container) {
    let Container { root, configuration, .. } = container;
    assert_eq!(configuration["User"], json!("10001:10001"));
    assert_eq!(configuration["StopSignal"], json!("SIGTERM"));
    assert_eq!(configuration["Entrypoint"], json!([format!("/{PROGRAM}")]));
    assert!(configuration["Cmd"].as_array().is_none_or(Vec::is_empty), "{configuration}");
    let ports: BTreeSet<&String> = configuration["ExposedPorts"].as_object().expect("ports").keys().collect();
    assert_eq!(ports.into_iter().collect::<Vec<_>>(), ["8080/tcp", "9464/tcp"]);

    let files = files(root);
    let mut named = BTreeSet::new();
    for (path, _, mode) in &files {
        assert_eq!(mode & 0o6000, 0, "{path} changes its user");
        assert_eq!(mode & 0o022, 0, "{path} can be written to by others");
        let name = path.rsplit('/').next().expect("a name");
        // Libraries and their loader: what cannot be told from a program by its mode.
        let is_library = path.starts_with("lib") && name.contains(".so.");
        if !is_library {
            assert!(path == PROGRAM || mode & 0o111 == 0, "{path} can be executed");
            named.insert(path.as_str());
        }
    }
    let expected = ["etc/group", "etc/hosts", "etc/nsswitch.conf", "etc/passwd", AUTHORITIES, PROGRAM];
    assert_eq!(named.into_iter().collect::<Vec<_>>(), expected);
    let beside: u64 = files.iter().filter(|(path, ..)| path != PROGRAM).map(|(_, size, _)| size).sum();
    assert!(beside <= MAX_BESIDE, "{beside} bytes beside the program");
    let authorities = fs::read_to_string(root.join(AUTHORITIES)).expect("text");
    assert!(authorities.matches("BEGIN CERTIFICATE").count() > 100, "{} bytes", authorities.len());
    let passwd = fs::read_to_string(root.join("etc/passwd")).expect("text");
    assert!(passwd.starts_with("tailrace:x:10001:10001:"), "{passwd}");
}

/// Every file below a folder: its path from there, its size, its mode.
fn files(root: &Path) -> Vec<(String, u64, u32)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let metadata = path.symlink_metadata().expect("a file");
            if metadata.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(root).expect("below").to_str().expect("UTF-8").to_owned();
                found.push((path, metadata.size(), metadata.permissions().mode()));
            }
        }
    }
    found
}

async fn use_it(container: &Container) {
    let well = async || container.health().output().await.expect("it can be asked");
    let before = well().await;
    assert_eq!(before.status.code(), Some(1), "healthy before it runs: {before:?}");

    let mut process = container.entry(&["demo"]).stdout(Stdio::null()).spawn().expect("it can be started");
    let pid = process.id().expect("it runs");
    let asked = async || well().await.status.success().then_some(());
    support::eventually("a healthy container", Duration::from_secs(30), asked).await;
    assert_eq!(ids(pid), ["10001"; 8], "it runs as another");
    let (port, admin) = (container.port("TAILRACE_LISTEN"), container.port("TAILRACE_ADMIN_LISTEN"));
    assert_eq!(get(admin, "/healthz").await.expect("an answer").0, 200);

    // The name is in the container's /etc/hosts alone.
    let named = format!("replica.example:{admin}");
    let is_ready = async || {
        let asked = container.entry(&["health", "--ready", "--admin-listen", &named]).output().await;
        asked.expect("it can be asked").status.success().then_some(())
    };
    support::eventually("a ready container, asked by name", Duration::from_secs(60), is_ready).await;
    events_arrive(port).await;
    for shell in ["bin/sh", "usr/bin/sh", "bin/busybox"] {
        assert!(!container.root.join(shell).exists(), "{shell}");
    }

    signal(pid, Signal::TERM);
    let ended = tokio::time::timeout(Duration::from_secs(30), process.wait()).await;
    assert!(ended.expect("it stops").expect("a child can be waited for").success());
    assert_eq!(well().await.status.code(), Some(1), "healthy after its end");
}

/// User and group of a process: real, effective, saved, of its files.
fn ids(pid: u32) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let lines = status.lines().filter_map(|line| line.strip_prefix("Uid:").or(line.strip_prefix("Gid:")));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

async fn events_arrive(port: u16) {
    let mut source = Source::new(port, "/t/acme/events?topic=orders", IdBuffer::Empty);
    let mut connection = source.connect(port).await.expect("it answers");
    assert_eq!(connection.status, 200, "{}", connection.head);
    let (events, _) = source.read(&mut connection, 4 << 10, Duration::from_secs(10)).await;
    let orders = events.iter().filter(|event| event.name.starts_with("order."));
    let orders: Vec<Value> = orders.map(|event| serde_json::from_str(&event.data).expect("JSON")).collect();
    assert!(!orders.is_empty(), "{events:?}");
}
