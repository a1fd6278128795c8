//! Installs other servers to compare Tailrace with: each with its own package manager, into a folder that git ignores.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::run::{command, require, root, run};
use crate::setup;

/// Relative to the root.
const FOLDER: &str = ".tailrace/peers";

/// Written at the end of an installation, with the installed version.
const VERSION: &str = "VERSION";

struct Peer {
    name: &'static str,
    /// What the file VERSION begins with once the peer is installed; empty where Debian determines the version.
    version: &'static str,
    /// Installs into the folder. Returns the version.
    install: fn(&Path) -> Result<String>,
}

const PEERS: [Peer; 4] = [
    Peer { name: "nchan", version: "", install: nchan },
    Peer { name: "durable-streams", version: DURABLE_STREAMS, install: durable_streams },
    Peer { name: "mercure", version: MERCURE, install: mercure },
    Peer { name: "kafka-sse", version: KAFKA_SSE, install: kafka_sse },
];

/// Programs that stand for what people write themselves.
const OWN: [Peer; 3] = [
    Peer { name: "go", version: "", install: own_go },
    Peer { name: "node", version: "", install: own_node },
    Peer { name: "axum", version: "", install: own_axum },
];

/// Their sources.
const SOURCES: &str = "benches/peers";

const DURABLE_STREAMS: &str = "0.1.5";
const MERCURE: &str = "0.24.2";
const KAFKA_SSE: &str = "0.4.2";

/// Installs the missing peers: those of ours (`--set own`), or the others. If one cannot be installed, prints the reason and continues
/// with the others.
pub(crate) fn install(arguments: &[String]) -> Result<()> {
    let mut skipped = Vec::new();
    let peers = if arguments.iter().any(|argument| argument == "own") { &OWN[..] } else { &PEERS[..] };
    for peer in peers {
        let folder = root().join(FOLDER).join(peer.name);
        match peer.ensure(&folder) {
            Ok(version) => eprintln!("xtask: {} {version} is there", peer.name),
            Err(error) => skipped.push(format!("{}: {error:#}", peer.name)),
        }
    }
    for reason in &skipped {
        eprintln!("xtask: SKIPPED {reason}");
    }
    ensure!(skipped.len() < peers.len(), "no peer could be installed");
    Ok(())
}

/// Builds Tailrace as it is released, and measures all installed servers.
pub(crate) fn measure(arguments: &[String]) -> Result<()> {
    setup::kafka()?;
    run("cargo", &["build", "--release", "-p", "tailrace", "-p", "tailrace-benches"])?;
    let arguments = arguments.iter().map(String::as_str);
    let peers = ["run", "--release", "--quiet", "-p", "tailrace-benches", "--", "peers"].into_iter();
    run("cargo", &peers.chain(arguments).collect::<Vec<_>>())
}

impl Peer {
    fn ensure(&self, folder: &Path) -> Result<String> {
        let file = folder.join(VERSION);
        if let Ok(there) = fs::read_to_string(&file)
            && there.starts_with(self.version)
        {
            return Ok(there.trim().to_owned());
        }
        if folder.exists() {
            fs::remove_dir_all(folder).context("remove what is incomplete")?;
        }
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let version = (self.install)(folder)?;
        fs::write(file, format!("{version}\n")).context("write the version")?;
        Ok(version)
    }
}

/// Unpacks the packages without installing them: installing would start an nginx.
fn nchan(folder: &Path) -> Result<String> {
    require("apt-get", "Debian's apt, which has nginx and libnginx-mod-nchan")?;
    require("dpkg", "Debian's dpkg")?;
    let download =
        || succeed(command("apt-get", &["download", "nginx", "libnginx-mod-nchan"]).current_dir(folder));
    if download().is_err() {
        // The package lists may be missing, or old.
        succeed(&mut command("apt-get", &["update", "-qq"]))?;
        download()?;
    }
    let mut module = String::new();
    for package in packages(folder)? {
        let path = package.to_str().context("a package's name is text")?;
        if path.contains("nchan_") {
            module = upstream(&said(&mut command("dpkg", &["-f", path, "Version"]))?);
        }
        succeed(command("dpkg", &["-x", path, "."]).current_dir(folder))?;
        fs::remove_file(package).context("remove a package that is unpacked")?;
    }
    let nginx = said(Command::new(folder.join("usr/sbin/nginx")).args(["-e", "stderr", "-v"]))
        .context("its libraries are missing: `apt-get install nginx libnginx-mod-nchan`")?;
    let nginx = nginx.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(format!("{module}, nginx {nginx}"))
}

fn packages(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).context("list the packages")?.collect::<Result<Vec<_>, _>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

/// `1:1.3.6+dfsg-2` is 1.3.6.
fn upstream(version: &str) -> String {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.split(['+', '-', '~']).next().unwrap_or(version).to_owned()
}

fn durable_streams(folder: &Path) -> Result<String> {
    let built = folder.join("target");
    let package = format!("durable-streams@{DURABLE_STREAMS}");
    let mut install = command("cargo", &["install", "--locked", "--quiet", &package, "--root"]);
    succeed(install.arg(folder).env("CARGO_TARGET_DIR", &built))?;
    fs::remove_dir_all(built).context("remove what building has left")?;
    Ok(DURABLE_STREAMS.to_owned())
}

fn mercure(folder: &Path) -> Result<String> {
    require("go", "Go, at the version that Mercure asks for")?;
    let source = folder.join("source");
    let roots = source.join("noroots");
    fs::create_dir_all(&roots).context("create a folder for the module")?;
    fs::write(
        source.join("go.mod"),
        format!(
            "module tailrace.invalid/mercure\n\nrequire github.com/dunglas/mercure/caddy v{MERCURE}\n\n\
             replace golang.org/x/crypto/x509roots/fallback => ./noroots\n"
        ),
    )
    .context("write go.mod")?;
    // Replaces a list of TLS roots, which plain HTTP on loopback does not need.
    fs::write(roots.join("go.mod"), "module golang.org/x/crypto/x509roots/fallback\n")
        .context("write go.mod")?;
    fs::write(roots.join("fallback.go"), "package fallback\n").context("write an empty package")?;
    let arguments = [
        "build",
        "-mod=mod",
        "-tags",
        "nobadger,nomysql,nopgx",
        "-o",
        "../mercure",
        "github.com/dunglas/mercure/caddy/mercure",
    ];
    succeed(command("go", &arguments).current_dir(source))?;
    Ok(MERCURE.to_owned())
}

fn kafka_sse(folder: &Path) -> Result<String> {
    require("node", "Node.js")?;
    require("npm", "npm")?;
    fs::write(folder.join("package.json"), "{\"private\":true}\n").context("write package.json")?;
    let package = format!("kafka-sse@{KAFKA_SSE}");
    let arguments = ["install", "--no-audit", "--no-fund", "--save-exact", &package];
    succeed(command("npm", &arguments).current_dir(folder))?;
    let addon = folder.join("node_modules/node-rdkafka/build/Release/node-librdkafka.node");
    ensure!(
        addon.is_file(),
        "node-rdkafka was not compiled: it needs a C++ compiler, and npm's leave to run its script"
    );
    Ok(KAFKA_SSE.to_owned())
}

fn own_go(folder: &Path) -> Result<String> {
    require("go", "Go")?;
    let build = ["build", "-o"];
    let mut build = command("go", &build);
    succeed(build.arg(folder.join("server")).arg(".").current_dir(root().join(SOURCES).join("go")))?;
    Ok(said(&mut command("go", &["env", "GOVERSION"]))?.trim_start_matches("go").to_owned())
}

fn own_node(folder: &Path) -> Result<String> {
    require("npm", "npm")?;
    for file in ["package.json", "package-lock.json", "server.mjs"] {
        fs::copy(root().join(SOURCES).join("node").join(file), folder.join(file))
            .with_context(|| format!("copy {file}"))?;
    }
    succeed(command("npm", &["ci", "--no-audit", "--no-fund"]).current_dir(folder))?;
    Ok(said(&mut command("node", &["--version"]))?.trim_start_matches('v').to_owned())
}

fn own_axum(folder: &Path) -> Result<String> {
    let built = folder.join("target");
    let mut build = command("cargo", &["build", "--release", "--locked", "--quiet"]);
    succeed(build.current_dir(root().join(SOURCES).join("axum")).env("CARGO_TARGET_DIR", &built))?;
    fs::copy(built.join("release/tailrace-peer-axum"), folder.join("server")).context("take the program")?;
    fs::remove_dir_all(built).context("remove what building has left")?;
    let lock =
        fs::read_to_string(root().join(SOURCES).join("axum/Cargo.lock")).context("read the lock file")?;
    let version = lock.split("name = \"axum\"\nversion = \"").nth(1).and_then(|rest| rest.split('"').next());
    Ok(version.context("the lock file has axum")?.to_owned())
}

fn succeed(command: &mut Command) -> Result<()> {
    eprintln!("xtask: {command:?}");
    let status = command.status().with_context(|| format!("start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{:?} failed: {status}", command.get_program());
    }
    Ok(())
}

/// The output of a command, on stdout and stderr.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{:?} failed: {}", command.get_program(), output.status);
    let all = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&all).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::upstream;

    #[test]
    fn debians_own_parts_of_a_version_are_left_out() {
        assert_eq!(["1:1.3.6+dfsg-2", "1.22.1-9+deb12u11", "2.0"].map(upstream), ["1.3.6", "1.22.1", "2.0"]);
    }
}
