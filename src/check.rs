//! `tailrace check`: what would be served with these settings.

use anyhow::Context as _;

use crate::config::Plan;

/// Prints the report.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<()> {
    let report = tailrace_consumer::check(plan.kafka).await.context("ask Kafka what would be served")?;
    print!("{report}");
    Ok(())
}
