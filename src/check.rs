//! `tailrace check`: reports what would be served with these settings.

use anyhow::{Context as _, bail};
use serde_json::json;

use tailrace_consumer::KafkaError;

use crate::config::{Plan, Refusal};

/// Prints the report. Fails if something would not be served, so that scripts notice.
pub(crate) async fn run(plan: Plan, as_json: bool) -> anyhow::Result<()> {
    let servers = plan.kafka.bootstrap().to_owned();
    let report = match tailrace_consumer::check(plan.kafka).await {
        Ok(report) => report,
        Err(error @ KafkaError::Config(_)) => return Err(Refusal::kafka(&error).into()),
        Err(error) => {
            if as_json {
                println!("{:#}", json!({ "good": false, "problem": error.to_string() }));
            }
            let asked = "ask Kafka what would be served";
            return Err(error).context(format!("{asked} (TAILRACE_KAFKA_BOOTSTRAP_SERVERS={servers})"));
        }
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
