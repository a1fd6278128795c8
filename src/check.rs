//! `tailrace check`: what would be served with these settings.

use anyhow::{Context as _, bail};

use crate::config::Plan;

/// Prints the report. An error where something would not be served, so that scripts see it.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<()> {
    let report = tailrace_consumer::check(plan.kafka).await.context("ask Kafka what would be served")?;
    print!("{report}");
    if !report.is_good() {
        bail!("not all of it would be served");
    }
    Ok(())
}
