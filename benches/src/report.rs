//! The table, and what it was made on.

use std::fmt::Write;
use std::path::Path;

use crate::load::{Load, Repeat};

type Row = (&'static str, usize, fn(&Repeat) -> f64);

/// What is shown, with how many decimals.
const ROWS: [Row; 13] = [
    ("deliveries per second", 0, |repeat| repeat.server.deliveries_per_second),
    ("server CPU per delivery, µs", 3, |repeat| repeat.server.cpu_us_per_delivery),
    ("floor CPU per delivery, µs", 3, |repeat| repeat.floor.cpu_us_per_delivery),
    ("**server / floor**, ×", 2, |repeat| {
        repeat.server.cpu_us_per_delivery / repeat.floor.cpu_us_per_delivery
    }),
    ("produce → client, p50, ms", 2, |repeat| repeat.server.p50_us as f64 / 1e3),
    ("produce → client, p99, ms", 2, |repeat| repeat.server.p99_us as f64 / 1e3),
    ("floor's write → client, p50, ms", 2, |repeat| repeat.floor.p50_us as f64 / 1e3),
    ("floor's write → client, p99, ms", 2, |repeat| repeat.floor.p99_us as f64 / 1e3),
    ("server memory per idle client, KiB", 2, |repeat| repeat.idle_bytes / 1024.0),
    ("bytes per delivery on the wire", 0, |repeat| repeat.server.bytes_per_delivery),
    ("generator's CPU beside the server, % of a core", 0, |repeat| repeat.server.generator_share * 100.0),
    ("generator's CPU beside the floor, % of a core", 0, |repeat| repeat.floor.generator_share * 100.0),
    ("deliveries missing at the end", 0, |repeat| (repeat.server.missing + repeat.floor.missing) as f64),
];

pub(crate) fn markdown(load: &Load, server: &Path, repeats: &[Repeat]) -> String {
    let mut out = String::from("| | min | median | max |\n| --- | ---: | ---: | ---: |\n");
    for (name, decimals, value) in ROWS {
        let [min, median, max] = spread(repeats.iter().map(value).collect());
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {name} | {min:.decimals$} | {median:.decimals$} | {max:.decimals$} |");
    }
    let _ = writeln!(
        out,
        "\n{} repeats. Server: {}; generator and floor: {}. Machine: {}.\n\n```sh\n{}\n```",
        repeats.len(),
        profile_of(server),
        if cfg!(debug_assertions) { "dev build" } else { "release build" },
        machine(),
        command(load),
    );
    out
}

/// Minimum, median and maximum.
pub(crate) fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    [at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
}

/// Cargo names a profile's folder after it.
fn profile_of(program: &Path) -> &'static str {
    let folder = program.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    match folder {
        Some("release") => "release build",
        Some("debug") => "dev build",
        _ => "unknown build",
    }
}

pub(crate) fn machine() -> String {
    let system = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let name = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    format!(
        "{cores} cores, {} {}, {}",
        name(system.sysname()),
        name(system.release()),
        name(system.machine())
    )
}

fn command(load: &Load) -> String {
    format!(
        "cargo run --release -p tailrace-benches -- load --clients {} --rate {} --burst {} --seconds {} --partitions {}",
        load.clients, load.pace.rate, load.pace.burst, load.seconds, load.partitions
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_does_not_depend_on_the_order() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), [1.0, 2.0, 3.0]);
    }
}
