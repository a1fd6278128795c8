//! `tailrace check`: reports what would be served with these settings.

use anyhow::{Context as _, bail};

use tailrace_consumer::KafkaError;

use crate::config::{Plan, Refusal};

/// Prints the report. Fails if something would not be served, so that scripts notice.
pub(crate) async fn run(plan: Plan, as_json: bool) -> anyhow::Result<()> {
    let report = match tailrace_consumer::check(plan.kafka).await {
        Err(error @ KafkaError::Config(_)) => return Err(Refusal::kafka(&error).into()),
        checked => checked.context("ask Kafka what would be served")?,
    };
    if as_json {
        println!("{:#}", report.as_json());
    } else {
        print!("{report}");
    }
    if !report.is_good() {
        bail!("not all of it would be served");
    }
    Ok(())
}
