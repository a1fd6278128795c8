//! buildah, with images of its own that are gone with it. It needs no daemon, and with `chroot` no rights to make containers.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Buildah {
    folder: TempDir,
    /// Where cache mounts of builds are.
    cache: PathBuf,
}

impl Buildah {
    /// `cache` is kept for the next time; without it, there is none.
    pub(crate) fn new(cache: Option<PathBuf>) -> Buildah {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache.unwrap_or_else(|| folder.path().join("cache"));
        fs::create_dir_all(&cache).expect("a folder for caches");
        Buildah { folder, cache }
    }

    /// Takes a root file system in as an image.
    pub(crate) fn import(&self, archive: &Path, environment: &[(&str, &str)], image: &str) {
        let container = self.run(["from", "scratch"]);
        self.run([OsStr::new("add"), container.as_ref(), archive.as_ref(), "/".as_ref()]);
        for (name, value) in environment {
            self.run(["config", "--env", &format!("{name}={value}"), &container]);
        }
        self.run(["commit", "--quiet", "--rm", &container, image]);
    }

    /// Builds as `docker build` does. Each volume is `FROM:TO`.
    pub(crate) fn build(&self, folder: &Path, dockerfile: &str, volumes: &[String], image: &str) {
        let (file, ignored) = (folder.join(dockerfile), folder.join(dockerfile.to_owned() + ".dockerignore"));
        // The form `docker`, since OCI's has no HEALTHCHECK.
        let mut arguments: Vec<&OsStr> =
            ["bud", "--isolation", "chroot", "--pull-never", "--format", "docker", "--tag", image]
                .map(OsStr::new)
                .to_vec();
        arguments.extend(["--build-arg".as_ref(), "GIT_COMMIT=0123456789ab".as_ref()] as [&OsStr; 2]);
        arguments.extend(["--file".as_ref(), file.as_os_str(), "--ignorefile".as_ref(), ignored.as_os_str()]);
        arguments.extend(volumes.iter().flat_map(|volume| [OsStr::new("--volume"), volume.as_ref()]));
        arguments.push(folder.as_os_str());
        self.run(arguments);
    }

    /// The configuration of an image, as Docker has it.
    pub(crate) fn configuration(&self, image: &str) -> Value {
        let told = self.run(["inspect", "--type", "image", image]);
        let told: Value = serde_json::from_str(&told).expect("JSON");
        told["Docker"]["config"].clone()
    }

    /// The files of a new container of an image: a folder that can be written to.
    pub(crate) fn unpack(&self, image: &str) -> PathBuf {
        let container = self.run(["from", "--pull-never", image]);
        PathBuf::from(self.run(["mount", &container]))
    }

    fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
        let mut command = Command::new("buildah");
        // The one driver that mounts nothing.
        command.args(["--storage-driver", "vfs", "--root"]).arg(self.folder.path().join("storage"));
        command.arg("--runroot").arg(self.folder.path().join("run")).args(arguments);
        command.env("TMPDIR", &self.cache).stdin(Stdio::null());
        let output = command.output().expect("buildah can be started: `cargo xtask setup` installs it");
        let (said, complaint) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?}: {}\n{said}\n{complaint}", output.status);
        said.trim().to_owned()
    }
}
