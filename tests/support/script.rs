//! Scripts that drive a browser.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A script that takes longer is killed.
const SCRIPT_LIMIT: Duration = Duration::from_secs(120);
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A script of `tests/browser` under node.
pub struct Script {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: tempfile::NamedTempFile,
    ends: Instant,
}

impl Script {
    pub fn start(name: &str, port: u16) -> Script {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
        let driver = folder.join("node_modules/playwright-core");
        assert!(driver.is_dir(), "{} is not there: run `cargo xtask setup` first", driver.display());
        let errors = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut process = Command::new(on_path(&["node"]))
            .arg(folder.join(name))
            .arg(format!("http://127.0.0.1:{port}/"))
            .arg(on_path(&BROWSERS))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.reopen().expect("a file can be shared"))
            // The browser hangs on a pipe of node's, and ends with it.
            .kill_on_drop(true)
            .spawn()
            .expect("node can be started");
        let lines = BufReader::new(process.stdout.take().expect("the output is piped")).lines();
        Script { process, lines, errors, ends: Instant::now() + SCRIPT_LIMIT }
    }

    /// The next line that it prints. Cancel safe.
    pub async fn line(&mut self) -> String {
        let next = tokio::time::timeout_at(self.ends.into(), self.lines.next_line()).await;
        let line = next.expect("the script ends in time").expect("the output is text");
        line.expect("the script goes on until it has said everything")
    }

    /// Closes its standard input, and waits until it has ended well.
    pub async fn end(&mut self) {
        drop(self.process.stdin.take());
        let status = tokio::time::timeout_at(self.ends.into(), self.process.wait()).await;
        let status = status.expect("the script ends in time").expect("a child can be waited for");
        assert!(status.success(), "the script ended with {status}");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "--- errors of the script\n{}",
                std::fs::read_to_string(&self.errors).unwrap_or_default()
            );
        }
    }
}

/// The first of these programs that is on the path.
fn on_path(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let all = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter()
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{} is not on the path: run `cargo xtask setup` first", names.join(" or ")))
}
