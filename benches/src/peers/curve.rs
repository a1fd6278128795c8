//! Servers at full load, by number of clients: the plot, and the table under it.

use std::fmt::Write;

use super::peer::Peer;
use super::record::{Point, Record};
use super::row::Spread;
use crate::plot::{Series, short};

/// For each server in the plot, the medians of all rounds: deliveries per second of its own CPU time.
pub(crate) fn series(record: &Record, peers: &[Peer]) -> Vec<Series> {
    let one = |name: &str| {
        let of = |count| {
            Some((
                count as f64,
                median(record, name, count, |it| it.deliveries_per_second / it.server_cores)?,
            ))
        };
        let points = counts(record, name).into_iter().filter_map(of).collect::<Vec<_>>();
        (!points.is_empty()).then(|| Series { name: name.to_owned(), points })
    };
    peers.iter().filter_map(|peer| one(peer.name)).collect()
}

/// Deliveries per second, with the CPU cores that the server and the generator used.
pub(crate) fn markdown(record: &Record, peers: &[Peer]) -> String {
    let mut out =
        String::from("| server | clients | deliveries a second | server's cores | generator's cores |\n");
    out.push_str("| --- | ---: | ---: | ---: | ---: |\n");
    for peer in peers {
        for count in counts(record, peer.name) {
            let cell = |value: fn(&Point) -> f64| median(record, peer.name, count, value).unwrap_or(f64::NAN);
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "| {} | {count} | {} | {:.2} | {:.2} |",
                peer.name,
                short(cell(|point| point.deliveries_per_second)),
                cell(|point| point.server_cores),
                cell(|point| point.generator_cores),
            );
        }
    }
    out
}

fn points(record: &Record, name: &str) -> impl Iterator<Item = Point> {
    record.of(name).flat_map(|measured| &measured.curve).copied()
}

/// The numbers of clients with which the server was measured.
fn counts(record: &Record, name: &str) -> Vec<usize> {
    let mut counts = points(record, name).map(|point| point.clients).collect::<Vec<_>>();
    counts.sort_unstable();
    counts.dedup();
    counts
}

fn median(record: &Record, name: &str, count: usize, value: impl Fn(&Point) -> f64) -> Option<f64> {
    let of_count = points(record, name).filter(|point| point.clients == count);
    Some(Spread::of(of_count.map(|point| value(&point)))?.median)
}
