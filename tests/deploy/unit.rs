//! The systemd unit.

use super::{duration, is_setting, read, run, settings};

const UNIT: &str = "deploy/systemd/tailrace.service";
/// Ten times the level of exposure that docs say, of 100.
const EXPOSURE: &str = "12";

fn value(name: &str) -> String {
    let unit = read(UNIT);
    let found = unit.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned);
    found.unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tailrace.service");
    // It looks whether the program is there.
    let here = read(UNIT).replace("/usr/local/bin/tailrace", env!("CARGO_BIN_EXE_tailrace"));
    std::fs::write(&path, here).expect("it can be written");
    let path = path.to_str().expect("UTF-8");
    let (ok, said) = run("systemd-analyze", &["verify", "--recursive-errors=no", path]);
    assert!(ok && said.is_empty(), "{said}");
    let (ok, said) =
        run("systemd-analyze", &["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE, path]);
    assert!(ok, "{said}");
    let level = format!("{}.{}", &EXPOSURE[..1], &EXPOSURE[1..]);
    assert!(read("deploy/systemd/README.md").contains(&format!("rates the service {level} ")), "{level}");
}

#[test]
fn the_unit_leaves_time_to_drain_and_memory_for_the_cache() {
    let known = settings();
    let drain = duration(&known["TAILRACE_DRAIN_DELAY"]) + duration(&known["TAILRACE_DRAIN_TIMEOUT"]);
    let stop = duration(&value("TimeoutStopSec"));
    assert!(stop.as_secs() >= drain.as_secs() + 5, "{stop:?} for a drain of {drain:?}");
    assert_eq!(known["TAILRACE_CACHE_SIZE"], "256MiB");
    assert_eq!(value("MemoryMax"), format!("{}M", 256 * 3 / 2 + 128));
    // A wrong setting.
    assert_eq!(value("RestartPreventExitStatus"), "64");
}

#[test]
fn a_reload_never_ends_the_service_and_its_settings_are_known() {
    let known = settings();
    let example = read("deploy/systemd/tailrace.env");
    let set = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('=').next().unwrap_or_default());
    let set: Vec<&str> = set.collect();
    assert!(set.len() > 4, "{set:?}");
    for variable in set {
        assert!(is_setting(&known, variable), "{variable} is no setting");
    }
    // SIGHUP ends a process that reads no file again: there is always the one of limits, and it is installed.
    assert!(value("ExecReload").contains("-HUP"));
    let file =
        value("Environment").strip_prefix("TAILRACE_LIMITS_FILE=").map(str::to_owned).expect("a limits file");
    let installed = format!("deploy/systemd/limits.toml {file}");
    assert!(read("deploy/systemd/README.md").contains(&installed), "{installed}");
}
