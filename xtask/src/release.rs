//! `cargo xtask release`: static programs for two processors, packed, each with its bill of materials, and checksums of all of it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::notices;
use crate::run::{command, is_there, require, root, run, run_with, said};
use crate::setup;
use crate::supply;

/// A processor, by its names.
struct Target {
    /// In Rust.
    rust: &'static str,
    /// For zig.
    zig: &'static str,
    /// In the header of the program, as readelf says it.
    machine: &'static str,
    /// What runs the program elsewhere: Debian's package qemu-user-static, or qemu-user.
    emulators: [&'static str; 2],
}

const TARGETS: [Target; 2] = [
    Target {
        rust: "x86_64-unknown-linux-musl",
        zig: "x86_64-linux-musl",
        machine: "X86-64",
        emulators: ["qemu-x86_64-static", "qemu-x86_64"],
    },
    Target {
        rust: "aarch64-unknown-linux-musl",
        zig: "aarch64-linux-musl",
        machine: "AArch64",
        emulators: ["qemu-aarch64-static", "qemu-aarch64"],
    },
];

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the archives are written, relative to the root.
const FOLDER: &str = "target/archives";

/// What goes along with the program, at the same places as in the repository.
const FILES: [&str; 8] = [
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "deploy/systemd/README.md",
    "deploy/systemd/limits.toml",
    "deploy/systemd/tailrace.env",
    "deploy/systemd/tailrace.service",
];

const SUMS: &str = "SHA256SUMS";

/// Builds, checks and packs the program for the targets whose names contain `only`.
pub(crate) fn all(only: Option<&str>, out: Option<PathBuf>) -> Result<()> {
    let is_wanted = |target: &&Target| only.is_none_or(|only| target.rust.contains(only));
    let targets: Vec<&Target> = TARGETS.iter().filter(is_wanted).collect();
    let known = TARGETS.map(|target| target.rust).join(", ");
    ensure!(!targets.is_empty(), "no target is called {}; there are {known}", only.unwrap_or_default());
    tools()?;
    let commit = Commit::read()?;
    let out = out.unwrap_or_else(|| root().join(FOLDER));
    // Nothing of another release may be among the checksums.
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("remove {}", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("create {}", out.display()))?;
    for target in targets {
        target.standard_library()?;
        target.build()?;
        target.check()?;
        target.pack(&commit, &out)?;
        supply::bill_for(target.rust, commit.time, &out.join(format!("{}.cdx.json", target.name())))?;
    }
    checksums(&out)?;
    eprintln!("xtask: {} has the archives, their bills of materials and {SUMS}", out.display());
    Ok(())
}

/// What must be there before minutes of compiling.
fn tools() -> Result<()> {
    require("git", "git, and run this in a clone: the date of the commit is the date of the files")?;
    require("tar", "GNU tar")?;
    require("gzip", "gzip")?;
    require("readelf", "binutils")?;
    require("make", "make, which builds OpenSSL and librdkafka")?;
    require("perl", "perl, which configures OpenSSL")?;
    supply::bill_tool()?;
    setup::zig()
}

struct Commit {
    /// Seconds since 1970.
    time: u64,
}

impl Commit {
    fn read() -> Result<Self> {
        let changes = said("git", &["status", "--porcelain"])?;
        if !changes.is_empty() {
            eprintln!(
                "xtask: these are not committed, so what follows is not what the commit says:\n{changes}"
            );
        }
        let time = said("git", &["log", "-1", "--format=%ct"])?;
        Ok(Self { time: time.parse().context("read the time of the commit")? })
    }
}

impl Target {
    /// Of the archive, without its ending.
    fn name(&self) -> String {
        format!("tailrace-{VERSION}-{}", self.rust)
    }

    /// Rust's own part for the target.
    fn standard_library(&self) -> Result<()> {
        let sysroot = said("rustc", &["--print", "sysroot"])?;
        if Path::new(&sysroot).join("lib/rustlib").join(self.rust).join("lib").is_dir() {
            return Ok(());
        }
        require("rustup", &format!("rustup, or Rust's standard library for {}", self.rust))?;
        run("rustup", &["target", "add", self.rust])
    }

    fn build(&self) -> Result<()> {
        let tools = root().join(setup::ZIG);
        let zig = tools.join("ziglang/zig").display().to_string();
        let zigbuild = tools.join("bin/cargo-zigbuild").display().to_string();
        // Panics and errors name no folder of this machine.
        let places = [(cargo_home()?, "/cargo"), (root(), "/tailrace")];
        let renamed =
            |option: &str| places.each_ref().map(|(from, to)| format!("{option}={}={to}", from.display()));
        // cargo-zigbuild names the compiler of a target to those who ask for it so. librdkafka's configure knows only CC and CXX.
        let compiler = |kind: &str| format!("{zig} {kind} -target {} -fno-sanitize=all", self.zig);
        let variables = [
            ("CARGO_ENCODED_RUSTFLAGS", renamed("--remap-path-prefix").join("\x1f")),
            ("CFLAGS", renamed("-ffile-prefix-map").join(" ")),
            ("CC", compiler("cc")),
            ("CXX", compiler("c++")),
            // Its makefile builds more than is used: a library for C++, for which zig would compile all of libc++, and a shared one, by
            // a list with names that do not exist, which zig's linker would refuse.
            ("GNUMAKEFLAGS", "LIBSUBDIRS=src".to_owned()),
            ("LDFLAGS", "-Wl,--undefined-version".to_owned()),
            ("HOST_CC", "cc".to_owned()),
            ("HOST_CXX", "c++".to_owned()),
            // This machine's libraries are not the target's.
            ("PKG_CONFIG_LIBDIR", String::new()),
            ("CARGO_ZIGBUILD_ZIG_PATH", zig.clone()),
        ];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let options = ["--locked", "--profile", "dist", "--bin", "tailrace", "--target", self.rust];
        run_with(&zigbuild, &[&["zigbuild"], &options[..]].concat(), &variables)
    }

    fn program(&self) -> PathBuf {
        let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        root().join(target).join(self.rust).join("dist/tailrace")
    }

    /// That it is for the target, needs nothing else, and starts.
    fn check(&self) -> Result<()> {
        let path = self.program();
        let program = path.display().to_string();
        let found =
            said("readelf", &["--wide", "--file-header", "--program-headers", "--dynamic", &program])?;
        is_static(&found, self.machine).with_context(|| format!("check {program}"))?;
        let Some(mut starting) = self.starts_by(&program) else {
            let package = "Debian's package qemu-user-static";
            eprintln!(
                "xtask: {} was not started: this machine cannot, unless you install {package}",
                self.rust
            );
            return Ok(());
        };
        let output = starting.arg("--version").output().with_context(|| format!("start {program}"))?;
        let says = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && says.contains(VERSION), "`{program} --version` said {output:?}");
        eprintln!("xtask: {} is static, and says {}", self.rust, says.trim());
        Ok(())
    }

    /// The command that starts the program on this machine.
    fn starts_by(&self, program: &str) -> Option<Command> {
        let arch = self.rust.split('-').next()?;
        if cfg!(target_os = "linux") && arch == env::consts::ARCH {
            return Some(command(program, &[]));
        }
        let emulator = self.emulators.into_iter().find(|emulator| is_there(emulator))?;
        Some(command(emulator, &[program]))
    }

    /// The same bytes for the same files: sorted, of the commit's time, of nobody, with rights that no umask changes.
    fn pack(&self, commit: &Commit, out: &Path) -> Result<()> {
        let name = self.name();
        let folder = out.join(&name);
        for file in FILES {
            copy(&root().join(file), &folder.join(file))?;
        }
        copy(&self.program(), &folder.join("tailrace"))?;
        self.licenses(&folder.join("licenses"))?;
        let (archive, out) =
            (out.join(format!("{name}.tar.gz")).display().to_string(), out.display().to_string());
        let time = format!("--mtime=@{}", commit.time);
        let fixed = ["--sort=name", &time, "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"];
        let rest = ["--use-compress-program=gzip -9 -n", "-cf", &archive, "-C", &out, &name];
        run("tar", &[&["--format=gnu"], &fixed[..], &rest].concat())?;
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))
    }

    /// Of all that the program contains: dependencies, Rust's standard library, and musl.
    fn licenses(&self, folder: &Path) -> Result<()> {
        let rust =
            Path::new(&said("rustc", &["--print", "sysroot"])?).join("share/doc/rust/COPYRIGHT-library.html");
        copy(&rust, &folder.join("rust.html"))?;
        let musl = root().join(setup::ZIG).join("ziglang/lib/libc/musl/COPYRIGHT");
        copy(&musl, &folder.join("musl.txt"))?;
        fs::write(folder.join("dependencies.txt"), notices::of_dependencies(self.rust)?)
            .with_context(|| format!("write {}", folder.display()))
    }
}

/// What readelf says of a program that needs no loader and no library, for the right processor.
fn is_static(readelf: &str, machine: &str) -> Result<()> {
    let mut header = readelf.lines().filter_map(|line| line.trim().strip_prefix("Machine:"));
    ensure!(header.any(|line| line.contains(machine)), "it is not for {machine}");
    for line in readelf.lines().map(str::trim) {
        if line.starts_with("INTERP") || line.contains("(NEEDED)") {
            bail!("it is not static: {line}");
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}

/// Writes what `sha256sum --check` reads.
fn checksums(out: &Path) -> Result<()> {
    let mut lines = Vec::new();
    for file in fs::read_dir(out).with_context(|| format!("list {}", out.display()))? {
        let path = file?.path();
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let sum = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name is text")?;
        lines.push((name.to_owned(), sum));
    }
    lines.sort();
    let text: String = lines.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
    fs::write(out.join(SUMS), text).context("write the checksums")
}

fn cargo_home() -> Result<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .context("find the folder of cargo: set CARGO_HOME")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATIC: &str = "ELF Header:
  Class:                             ELF64
  Machine:                           AArch64
Program Headers:
  LOAD           0x000000 0x0000000000000000 0x0000000000000000 0x0a0000 0x0a0000 R   0x1000
Dynamic section at offset 0x2f0 contains 24 entries:
 0x000000006ffffffb (FLAGS_1)            Flags: NOW PIE";

    #[test]
    fn a_program_without_loader_and_libraries_is_static() {
        is_static(STATIC, "AArch64").unwrap();
        let other = is_static(STATIC, "X86-64").unwrap_err();
        assert_eq!(other.to_string(), "it is not for X86-64");
    }

    #[test]
    fn a_loader_or_a_library_is_found() {
        for line in [
            "  INTERP         0x000318 0x0000000000000318 0x0000000000000318 0x00001c 0x00001c R   0x1",
            " 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]",
        ] {
            let found = is_static(&format!("{STATIC}\n{line}\n"), "AArch64").unwrap_err();
            assert_eq!(found.to_string(), format!("it is not static: {}", line.trim()));
        }
    }
}
