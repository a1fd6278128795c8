//! All scenarios, in the order in which they run and stand on the page.

mod fanout;

use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Box<dyn Scenario>> {
    vec![
        Box::new(fanout::ONE),
        Box::new(fanout::BURSTS),
        // The way in (`crate::ingest`) and other servers (`crate::peers`) come here: a struct that implements
        // `Scenario` and calls their `run` with the stage's broker.
    ]
}
