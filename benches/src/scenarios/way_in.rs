//! Ingest, from Kafka to the partition log, compared with a bare consumer that reads the fields that the tenant's rule reads.

use anyhow::Result;

use crate::figures::{Point, Report};
use crate::ingest::{Ingest, Rule};
use crate::scenario::{Scenario, Stage};

pub(super) struct WayIn {
    name: &'static str,
    title: &'static str,
    rule: Rule,
    /// The highest allowed CPU time, as a multiple of the bare consumer's.
    target: f64,
}

pub(super) const HEADER: WayIn = WayIn {
    name: "ingest-header",
    title: "The way in: tenant from a header",
    rule: Rule::Header,
    target: 1.18,
};
pub(super) const JSON: WayIn = WayIn {
    name: "ingest-json",
    title: "The way in: tenant from a JSON pointer",
    rule: Rule::Json,
    target: 1.5,
};

impl Scenario for WayIn {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (records, repeats) = (stage.pick(3_000_000, 900_000), stage.pick(5, 2));
        let topic = stage.topic(12)?;
        stage.say(format!("{records} records"));
        let triples =
            Ingest::of_what_is_there(self.rule, records, repeats).measure(stage.bootstrap(), &topic.name)?;
        let mut point = Point::new("");
        for triple in &triples {
            point.add("CPU per record, µs", 3, triple.ours);
            point.add("bare consumer's, µs", 3, triple.bare);
            point.add_target("ours / bare, ×", 2, self.target, triple.ours / triple.bare);
        }
        let extent = format!(
            "{repeats} triples bare–ours–bare, {records} records with 200-byte values, 12 partitions, 100 tenants"
        );
        Ok(Report { extent, points: vec![point] })
    }
}
