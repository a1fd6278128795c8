//! The machine and the versions with which the figures were measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// Machine and versions, as text and as JSON.
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    memory_gib: f64,
    kernel: String,
    tailrace: String,
    kafka: String,
    librdkafka: String,
    rustc: String,
}

const UNKNOWN: &str = "unknown";

impl Machine {
    pub(crate) fn look(program: &Path, kafka_libs: &Path) -> Machine {
        let system = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Machine {
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| text(system.machine())),
            memory_gib: memory(),
            kernel: format!("{} {}", text(system.sysname()), text(system.release())),
            tailrace: format!("{}, {}", said(program, "--version"), profile_of(program)),
            kafka: kafka_version(kafka_libs).unwrap_or_else(|| UNKNOWN.to_owned()),
            librdkafka: rdkafka::util::get_rdkafka_version().1,
            rustc: said(Path::new("rustc"), "--version"),
        }
    }

    pub(crate) fn line(&self) -> String {
        format!(
            "{} cores ({}), {:.0} GiB, {}; {}; Kafka {}, librdkafka {}, {}",
            self.cores,
            self.processor,
            self.memory_gib,
            self.kernel,
            self.tailrace,
            self.kafka,
            self.librdkafka,
            self.rustc
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "cores": self.cores, "processor": self.processor, "memory_gib": self.memory_gib,
            "kernel": self.kernel, "tailrace": self.tailrace, "kafka": self.kafka,
            "librdkafka": self.librdkafka, "rustc": self.rustc,
        })
    }
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory() -> f64 {
    let total = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    total.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1048576.0
}

/// The first line of the program's output.
fn said(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    text.lines().next().unwrap_or(UNKNOWN).trim().to_owned()
}

/// The build profile: cargo names the profile's folder after it.
fn profile_of(program: &Path) -> &'static str {
    let folder = program.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    match folder {
        Some("release") => "release build",
        Some("debug") => "dev build",
        _ => "unknown build",
    }
}

/// Kafka's version, from the name of its jar.
fn kafka_version(libs: &Path) -> Option<String> {
    let names = fs::read_dir(libs).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| Some(name.strip_prefix("kafka-server-")?.strip_suffix(".jar")?.to_owned()))
        .find(|version| version.starts_with(|first: char| first.is_ascii_digit()))
}
