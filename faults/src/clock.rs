//! A wall clock that can be moved, for one process: a small library in C that is loaded before any other.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

const SOURCE: &str = include_str!("clock/clock.c");

/// See the module. A process that was started with [`Clock::env`] sees each [`Clock::move_to`] at once.
pub struct Clock {
    folder: TempDir,
    file: File,
}

impl Clock {
    /// A clock without an offset.
    ///
    /// # Errors
    /// If there is no C compiler, or no GNU C library.
    pub fn new() -> Result<Clock> {
        let folder = tempfile::tempdir()?;
        let source = folder.path().join("clock.c");
        std::fs::write(&source, SOURCE)?;
        let library = folder.path().join("clock.so");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(library).arg(source).output();
        let compiled = compiled.context("start cc")?;
        ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let clock = Clock { file: File::create(folder.path().join("offset"))?, folder };
        clock.move_to(0)?;
        Ok(clock)
    }

    /// The environment variables to start the process with.
    pub fn env(&self) -> [(&'static str, String); 2] {
        let path = |name| self.folder.path().join(name).display().to_string();
        [("LD_PRELOAD", path("clock.so")), ("FAULTS_CLOCK", path("offset"))]
    }

    /// Sets the clock's offset from the true time, in seconds.
    pub fn move_to(&self, seconds: i64) -> Result<()> {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).context("move the clock")
    }
}
