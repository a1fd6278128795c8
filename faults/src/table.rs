//! The table at the end: one row for each fault, over all rounds, as Markdown.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::judge::Verdict;
use crate::trial::{BASE, Row};

/// The table is written between these lines of a document.
const BEGIN: &str = "<!-- faults: begin -->";
const END: &str = "<!-- faults: end -->";

/// All rounds of one fault.
struct Total<'a> {
    what: &'a str,
    verdict: Verdict,
    connections: u64,
    recovery: Vec<Duration>,
    /// Memory above the budget of the logs, in bytes; 0 if it is below.
    above: u64,
    failed: usize,
}

/// The table of these rows.
pub fn markdown(rows: &[Row], command: &str) -> String {
    let totals = totals(rows);
    let mut all = Verdict::default();
    totals.iter().for_each(|total| all.add(total.verdict.clone()));
    let connections: u64 = totals.iter().map(|total| total.connections).sum();
    let failed: usize = totals.iter().map(|total| total.failed).sum();
    let mut text = format!(
        "`{command}`: {} trials of {} faults, {failed} failed; {} deliveries over {connections} connections.\n\n",
        rows.len(),
        totals.len(),
        all.deliveries,
    );
    text.push_str("| fault | deliveries | lost | repeated | out of order | foreign | gaps announced | expected | wrong | recovery, median | memory above the budget |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for total in &totals {
        row(&mut text, total.what, total);
    }
    let sum = Total { what: "**all**", verdict: all, connections, recovery: Vec::new(), above: 0, failed };
    row(&mut text, sum.what, &sum);
    let base = BASE >> 20;
    let _ = write!(
        text,
        "\nMemory: the most that a replica ever held resident, above its `TAILRACE_CACHE_SIZE`; {base} MiB are allowed. \
         Foreign: of another tenant, not committed, altered, or written by nobody.\n"
    );
    text
}

fn totals(rows: &[Row]) -> Vec<Total<'_>> {
    let mut totals: Vec<(&str, Total<'_>)> = Vec::new();
    for row in rows {
        let known = totals.iter().position(|(name, _)| *name == row.name);
        let index = known.unwrap_or_else(|| {
            let (verdict, recovery) = (Verdict::default(), Vec::new());
            let total = Total { what: row.what, verdict, connections: 0, recovery, above: 0, failed: 0 };
            totals.push((row.name, total));
            totals.len() - 1
        });
        let total = &mut totals[index].1;
        total.verdict.add(row.verdict.clone());
        total.connections += row.connections;
        total.recovery.extend(&row.recovery);
        total.above = total.above.max(row.most_resident.saturating_sub(row.budget));
        total.failed += usize::from(!row.is_passed());
    }
    totals.iter_mut().for_each(|(_, total)| total.recovery.sort_unstable());
    totals.into_iter().map(|(_, total)| total).collect()
}

fn row(text: &mut String, what: &str, total: &Total<'_>) {
    let verdict = &total.verdict;
    let median = total.recovery.get(total.recovery.len() / 2);
    let median = median.map_or("–".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()));
    let above = if total.above == 0 { "–".to_owned() } else { format!("{} MiB", total.above >> 20) };
    let failed = if total.failed == 0 { "" } else { " (**failed**)" };
    let _ = writeln!(
        text,
        "| {what}{failed} | {} | {} | {} | {} | {} | {} | {} | {} | {median} | {above} |",
        verdict.deliveries,
        verdict.lost,
        verdict.repeated,
        verdict.out_of_order,
        verdict.foreign + verdict.altered,
        verdict.gaps,
        verdict.gaps_expected,
        verdict.gaps_wrong,
    );
}

/// Writes the table into the document, in place of the previous one.
pub fn write(document: &Path, table: &str) -> Result<()> {
    let name = document.display();
    let text = std::fs::read_to_string(document).with_context(|| format!("read {name}"))?;
    let missing = || format!("{name} has no lines {BEGIN} and {END}");
    let (before, rest) = text.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    let text = format!("{before}{BEGIN}\n\n{table}\n{END}{after}");
    std::fs::write(document, text).with_context(|| format!("write {name}"))
}
