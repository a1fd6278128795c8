//! The image: what the tests build it on, and the whole of it, compile and all.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::run::{command, is_root, root, run};
use crate::setup;

/// Root file systems of Debian as archives, relative to the root. Git ignores the folder.
const FOLDER: &str = ".tailrace/image";

/// Compiles the program as `compose/Dockerfile` says, and tests the image that comes out. Registry and compiled dependencies are
/// kept in `target/tmp/image` for the next time.
pub(crate) fn all() -> Result<()> {
    if !is_root() {
        bail!("only root can change the root of a process: try again as root");
    }
    setup::programs()?;
    debian()?;
    // The release of the image that the Dockerfile names; cargo and rustc are this machine's.
    archive("compilers", "bookworm", "ca-certificates,g++,make,perl")?;
    run("cargo", &["test", "--workspace", "--test", "image", "--", "--include-ignored", "--nocapture"])
}

/// Makes what the test without a compile builds on: this machine's own release, where a program that was linked here can run.
pub(crate) fn debian() -> Result<()> {
    // The test leaves the image to CI, too.
    if !is_root() {
        return Ok(());
    }
    let release = fs::read_to_string("/etc/os-release").context("read the name of this release")?;
    let release = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    archive("debian", release.context("a release without a name")?, "binutils,ca-certificates")
}

fn archive(name: &str, release: &str, packages: &str) -> Result<()> {
    let folder = root().join(FOLDER);
    // Written last, so if it is there, the archive is complete.
    let made = folder.join(format!("{name}.txt"));
    let wanted = format!("{release}: {packages}\n");
    if fs::read_to_string(&made).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let archive = folder.join(format!("{name}.tar")).display().to_string();
    let include = format!("--include={packages}");
    let mirror = mirror(release)?;
    let arguments = ["--quiet", "--variant=essential", &include, release, &archive];
    run("mmdebstrap", &arguments.into_iter().chain(mirror.as_deref()).collect::<Vec<_>>())?;
    fs::write(&made, wanted).with_context(|| format!("note what is in {archive}"))
}

/// Where apt gets this release on this machine; if it does not, mmdebstrap knows a place.
fn mirror(release: &str) -> Result<Option<String>> {
    let codename = format!("Codename: {release}");
    let arguments = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", &codename];
    let output = command("apt-get", &arguments).output().context("start apt-get")?;
    let known = String::from_utf8(output.stdout).context("read what apt-get says")?;
    Ok(known.lines().next().map(str::to_owned))
}
