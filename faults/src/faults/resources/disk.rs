//! The broker's disk: a small file system in memory, mounted over the folder of its logs.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::scene::Scene;

/// Free space in addition to what the logs use already.
const ROOM: u64 = 48 << 20;
/// The size of one write of the file that fills the disk.
const BLOCK: usize = 1 << 20;

/// The broker ends if the folder of a log fails; it is started again once there is space.
pub(super) async fn full(scene: &mut Scene) -> Result<()> {
    let data = scene.kafka.directory().join("1/data");
    scene.kafka.broker(0).stop();
    let disk = match Disk::over(&data) {
        Ok(disk) => disk,
        Err(error) => {
            scene.note(format!("not played: no file system can be mounted here ({error})"));
            scene.kafka.broker(0).spawn();
            scene.kafka.broker(0).answers().await;
            return Ok(());
        }
    };
    scene.kafka.broker(0).spawn();
    scene.kafka.broker(0).answers().await;
    scene.breathe().await;
    let ballast = disk.fill()?;
    scene.writer.set_scale(64);
    // The broker notices the full disk only after some writes.
    scene.wait(Duration::from_secs(4)).await;
    scene.writer.set_scale(1);
    let has_ended = scene.kafka.broker(0).has_ended();
    scene.note(if has_ended { "the broker ended" } else { "the broker went on" });
    fs::remove_file(ballast).context("make room")?;
    scene.kafka.broker(0).kill();
    scene.kafka.broker(0).spawn();
    scene.kafka.broker(0).answers().await;
    scene.mark(true);
    scene.breathe().await;
    // Restores the original disk for the faults that follow.
    scene.kafka.broker(0).stop();
    disk.back()?;
    scene.kafka.broker(0).spawn();
    scene.kafka.broker(0).answers().await;
    scene.breathe().await;
    Ok(())
}

/// A mounted file system with a copy of what it covers.
struct Disk {
    folder: PathBuf,
    is_mounted: bool,
}

impl Disk {
    fn over(folder: &Path) -> Result<Disk> {
        let beside = folder.with_extension("before");
        fs::rename(folder, &beside)?;
        fs::create_dir(folder)?;
        let size = used(&beside)? + ROOM;
        let options = std::ffi::CString::new(format!("size={size}"))?;
        if let Err(error) = mount("tmpfs", folder, "tmpfs", MountFlags::empty(), options.as_c_str()) {
            fs::remove_dir(folder)?;
            fs::rename(&beside, folder)?;
            return Err(error.into());
        }
        let disk = Disk { folder: folder.to_owned(), is_mounted: true };
        copy(&beside, folder)?;
        fs::remove_dir_all(beside)?;
        Ok(disk)
    }

    /// Fills the file system; returns the file that takes the space.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.folder.join("ballast");
        let mut file = fs::File::create(&path)?;
        for size in [BLOCK, 4096] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(path)
    }

    fn back(mut self) -> Result<()> {
        let beside = self.folder.with_extension("after");
        fs::create_dir(&beside)?;
        copy(&self.folder, &beside)?;
        self.unmount();
        fs::remove_dir(&self.folder)?;
        fs::rename(beside, &self.folder)?;
        Ok(())
    }

    fn unmount(&mut self) {
        if std::mem::take(&mut self.is_mounted) {
            let _ = unmount(&self.folder, UnmountFlags::DETACH);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// Copies a folder with its sparse files: indexes are sparse files of ten megabytes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").args(["-a", "--sparse=always"]).arg(from.join(".")).arg(to).status()?;
    ensure!(status.success(), "the logs could not be copied");
    Ok(())
}

/// The bytes on disk that a folder uses.
fn used(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += match metadata.is_dir() {
            true => used(&entry.path())?,
            false => std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 + 4096,
        };
    }
    Ok(bytes)
}
