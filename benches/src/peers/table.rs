//! The rows of docs/peers.md.

use std::fmt::Write;

use super::all::Set;
use super::measure::BURST;
use super::ours;
use super::record::{Cost, Measured, Record, Round};
use super::row::{Row, Spread};

pub(crate) fn rows(record: &Record, set: Set) -> Vec<Row> {
    let mut rows = set.peers().iter().filter_map(|peer| row(record, peer.name)).collect::<Vec<_>>();
    if set == Set::Others {
        rows.push(centrifugo());
    }
    rows
}

fn row(record: &Record, name: &str) -> Option<Row> {
    let first = record.of(name).next()?;
    let bursts = record.of(name).filter_map(|measured| measured.bursts);
    let failed = record.of(name).find_map(|measured| measured.failed.as_deref());
    let note = failed.map_or(first.note.clone(), |failed| format!("**failed**: {failed}"));
    let costs = |pick: fn(&Measured) -> Option<Cost>| {
        Spread::of(record.of(name).filter_map(move |measured| Some(pick(measured)?.cpu_us_per_delivery)))
    };
    Some(Row {
        name: name.to_owned(),
        version: first.version.clone(),
        clients: record.of(name).find_map(|measured| Some(measured.single?.clients)),
        cpu_us_single: costs(|measured| measured.single),
        cpu_us_bursts: costs(|measured| measured.bursts),
        bursts_per_second: Spread::of(bursts.map(|cost| f64::from(cost.events_per_second / BURST))),
        times_ours_bursts: Spread::of(record.rounds.iter().filter_map(|round| times_ours(round, name))),
        kib_per_idle_client: Spread::of(record.of(name).filter_map(|it| Some(it.idle?.kib_per_client))),
        idle_clients: record.of(name).find_map(|measured| Some(measured.idle?.clients)),
        missing: record.of(name).flat_map(missing).sum(),
        quoted: false,
        note,
    })
}

fn missing(measured: &Measured) -> impl Iterator<Item = i64> {
    let costs = [measured.single, measured.bursts].into_iter().flatten().map(|cost| cost.missing);
    costs.chain(measured.curve.iter().map(|point| point.missing))
}

fn times_ours(round: &Round, name: &str) -> Option<f64> {
    let cpu = |name: &str| {
        let measured = round.servers.iter().find(|measured| measured.name == name)?;
        Some(measured.bursts?.cpu_us_per_delivery)
    };
    Some(cpu(name)? / cpu(ours::NAME)?)
}

/// Centrifugo cannot be installed by a package manager alone, so its figures are not from this record's rounds.
fn centrifugo() -> Row {
    Row {
        name: "Centrifugo".to_owned(),
        version: "6.9.1".to_owned(),
        clients: Some(1000),
        cpu_us_single: Spread::exactly(21.9),
        cpu_us_bursts: Spread::exactly(13.2),
        bursts_per_second: None,
        times_ours_bursts: None,
        kib_per_idle_client: Spread::exactly(62.9),
        idle_clients: Some(5000),
        missing: 0,
        quoted: true,
        note: "quoted from a measurement on a 2-core machine of the same kind; bursts to 200 clients"
            .to_owned(),
    }
}

// Writing to a string cannot fail.
pub(crate) fn markdown(record: &Record, rows: &[Row]) -> String {
    let mut out = String::from(
        "| server | version | one at a time, µs | bursts, µs | bursts, × Tailrace | bursts a second | idle client, KiB \
         | clients | missing | |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
    );
    for row in rows {
        let quoted = if row.quoted { "\\*" } else { "" };
        let _ = writeln!(
            out,
            "| {} | {} | {}{quoted} | {}{quoted} | {} | {} | {}{quoted} | {} | {} | {} |",
            row.name,
            row.version,
            cell(row.cpu_us_single, 2),
            cell(row.cpu_us_bursts, 2),
            cell(row.times_ours_bursts, 1),
            cell(row.bursts_per_second, 0),
            cell(row.kib_per_idle_client, 2),
            clients(row),
            if row.quoted { "–".to_owned() } else { row.missing.to_string() },
            row.note,
        );
    }
    out.push_str(&below(record));
    out
}

/// The table of those that people write themselves.
pub(crate) fn own(record: &Record, set: Set) -> String {
    let mut out = String::from(
        "| | one at a time, µs | bursts, µs | bytes | idle, KiB | kernel, KiB | first event, ms | fleet, s | fleet, µs each | missing | |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
    );
    for peer in set.peers() {
        let all = || record.of(peer.name);
        let Some(one) = all().next() else { continue };
        let figure = |decimals: usize, pick: fn(&Measured) -> Option<f64>| {
            cell(Spread::of(all().filter_map(pick)), decimals)
        };
        let failed = all().find_map(|measured| measured.failed.as_deref());
        let _ = writeln!(
            out,
            "| {} {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            one.name,
            one.version,
            figure(2, |it| Some(it.single?.cpu_us_per_delivery)),
            figure(2, |it| Some(it.bursts?.cpu_us_per_delivery)),
            figure(0, |it| Some(it.single?.bytes_per_delivery)),
            figure(1, |it| Some(it.idle?.kib_per_client)),
            figure(1, |it| Some(it.idle?.kernel_kib_per_client)),
            figure(1, |it| Some(it.first?.p50_ms)),
            figure(1, |it| Some(it.idle?.connect_seconds)),
            figure(0, |it| Some(it.idle?.connect_cpu_us)),
            all().flat_map(missing).sum::<i64>(),
            failed.map_or(one.note.clone(), |failed| format!("**failed**: {failed}")),
        );
    }
    out.push_str(&below(record));
    out
}

/// The text below the table: the number of rounds, the generator's own CPU, the machine, and the command.
fn below(record: &Record) -> String {
    let all = || record.rounds.iter().flat_map(|round| &round.servers);
    let rounds = record.of(ours::NAME).filter(|measured| measured.bursts.is_some()).count();
    let plotted = record.of(ours::NAME).filter(|measured| !measured.curve.is_empty()).count();
    let paced = all().flat_map(|it| [it.single, it.bursts]).flatten().map(|cost| cost.generator_cores);
    let busy = all().flat_map(|it| &it.curve).map(|point| point.generator_cores);
    format!(
        "\nMedian (least–most) of {rounds} rounds ({plotted} for idle clients and \
         the plot); in each, all servers run one after the other. The load generator \
         used at most {:.2} of a core beside any server; for the plot, {:.2}. {}.\n\n```sh\n{}\n```\n",
        paced.fold(0.0, f64::max),
        busy.fold(0.0, f64::max),
        record.machine,
        record.command,
    )
}

fn clients(row: &Row) -> String {
    match (row.clients, row.idle_clients) {
        (Some(loaded), Some(idle)) if loaded != idle => format!("{loaded}; {idle} idle"),
        (Some(same), _) | (None, Some(same)) => same.to_string(),
        (None, None) => "–".to_owned(),
    }
}

fn cell(spread: Option<Spread>, decimals: usize) -> String {
    match spread {
        None => "–".to_owned(),
        Some(Spread { min, median, max }) if min == max => format!("{median:.decimals$}"),
        Some(Spread { min, median, max }) => {
            format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, cpu: f64) -> Measured {
        let cost = Cost {
            clients: 1000,
            events_per_second: 400,
            burst: 20,
            cpu_us_per_delivery: cpu,
            deliveries_per_second: 0.0,
            bytes_per_delivery: 0.0,
            generator_cores: 0.0,
            p50_ms: 0.0,
            p99_ms: 0.0,
            missing: 0,
        };
        Measured { name: name.to_owned(), bursts: Some(cost), ..Measured::default() }
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        let round =
            |ours, theirs| Round { servers: vec![measured("Tailrace", ours), measured("nchan", theirs)] };
        let record = Record {
            rounds: vec![round(1.0, 10.0), round(2.0, 30.0), round(1.0, 11.0)],
            ..Record::default()
        };
        let row = row(&record, "nchan").expect("it was measured");
        let times = row.times_ours_bursts.expect("both were measured");
        assert_eq!([times.min, times.median, times.max], [10.0, 11.0, 15.0]);
    }

    #[test]
    fn what_was_not_measured_is_a_dash_and_what_is_quoted_has_a_mark() {
        let record =
            Record { rounds: vec![Round { servers: vec![measured("nchan", 8.0)] }], ..Record::default() };
        let table = markdown(&record, &rows(&record, Set::Others));
        assert!(table.contains("| nchan |  | – | 8.00 | – | 20 | – |"), "{table}");
        assert!(table.contains("| Centrifugo | 6.9.1 | 21.90\\* |"), "{table}");
    }
}
