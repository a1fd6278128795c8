//! Scripts that drive a browser.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::signal;

/// A script that takes longer is killed.
const SCRIPT_LIMIT: Duration = Duration::from_secs(120);
/// How long a script that is told to stop has to close its browser.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    Chromium,
    Firefox,
}

impl Browser {
    pub const ALL: [Browser; 2] = [Browser::Chromium, Browser::Firefox];

    /// The names under which it is known.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Browser::Chromium => &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
            Browser::Firefox => &["firefox-esr", "firefox"],
        }
    }

    /// As tests/browser/page.mjs calls it.
    fn kind(self) -> &'static str {
        match self {
            Browser::Chromium => "chromium",
            Browser::Firefox => "firefox",
        }
    }
}

/// A script of `tests/browser` under node.
pub struct Script {
    name: String,
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: tempfile::NamedTempFile,
    started: Instant,
    ends: Instant,
}

impl Script {
    /// Starts it with Chromium.
    pub fn start(name: &str, port: u16) -> Script {
        Script::start_with(Browser::Chromium, name, port)
    }

    pub fn start_with(browser: Browser, name: &str, port: u16) -> Script {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
        let driver = folder.join("node_modules/playwright-core");
        assert!(driver.is_dir(), "{} is not there: run `cargo xtask setup` first", driver.display());
        let errors = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut process = Command::new(on_path(&["node"]))
            .arg(folder.join(name))
            .arg(format!("http://127.0.0.1:{port}/"))
            .arg(on_path(browser.programs()))
            .arg(browser.kind())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.reopen().expect("a file can be shared"))
            .kill_on_drop(true)
            .spawn()
            .expect("node can be started");
        let lines = BufReader::new(process.stdout.take().expect("the output is piped")).lines();
        let started = Instant::now();
        Script { name: name.to_owned(), process, lines, errors, started, ends: started + SCRIPT_LIMIT }
    }

    /// The next line that it prints. Cancel safe.
    pub async fn line(&mut self) -> String {
        let next = tokio::time::timeout_at(self.ends.into(), self.lines.next_line()).await;
        let line = next.expect("the script ends in time").expect("the output is text");
        line.expect("the script goes on until it has said everything")
    }

    /// Gives it a line of input.
    pub async fn tell(&mut self, line: &str) {
        let input = self.process.stdin.as_mut().expect("the input is piped");
        input.write_all(format!("{line}\n").as_bytes()).await.expect("the script reads its input");
    }

    /// Closes its standard input, so that it ends.
    pub fn tell_end(&mut self) {
        drop(self.process.stdin.take());
    }

    /// Closes its standard input, and waits until it has ended well.
    pub async fn end(&mut self) {
        self.tell_end();
        let status = tokio::time::timeout_at(self.ends.into(), self.process.wait()).await;
        let status = status.expect("the script ends in time").expect("a child can be waited for");
        assert!(status.success(), "the script ended with {status}");
        println!("{} took {:.0} s", self.name, self.started.elapsed().as_secs_f64());
    }

    /// Lets it close its browser, if it runs: Firefox does not notice when the script is killed.
    fn stop(&mut self) {
        let until = Instant::now() + CLOSE_LIMIT;
        if let (Some(pid), Ok(None)) = (self.process.id(), self.process.try_wait()) {
            signal(pid, Signal::TERM);
        }
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.stop();
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
