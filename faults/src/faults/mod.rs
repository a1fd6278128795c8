//! The faults, by what they affect.

mod bridge;
mod clients;
mod cluster;
mod cut;
mod group;
mod kafka;
mod log;
mod resources;
mod schemas;
mod tls;

use std::time::Duration;

use crate::scene::Stage;
use crate::trial::{Fault, Play};

/// The limit from a broker's return to the first record that it accepted after that.
const BROKER_RECOVERY: Duration = Duration::from_secs(2);

/// All faults, in the order in which they run.
pub fn all() -> Vec<Fault> {
    let groups = [
        bridge::faults(),
        kafka::faults(),
        cluster::faults(),
        cut::faults(),
        group::faults(),
        log::faults(),
        schemas::faults(),
        clients::faults(),
        tls::faults(),
        resources::faults(),
    ];
    groups.into_iter().flatten().collect()
}

impl Fault {
    /// A fault that the short form includes, on the default stage, without a limit for its recovery.
    fn new(name: &'static str, what: &'static str, play: Play) -> Fault {
        Fault {
            name,
            what,
            stage: Stage::default(),
            play,
            is_short: true,
            recovery: None,
            keeps_streams: false,
        }
    }

    fn on(mut self, stage: Stage) -> Fault {
        self.stage = stage;
        self
    }

    /// Excludes the fault from the short form.
    fn long(mut self) -> Fault {
        self.is_short = false;
        self
    }

    fn recovers_within(mut self, time: Duration) -> Fault {
        self.recovery = Some(time);
        self
    }

    /// The replicas may not end any stream during the fault.
    fn keeps_streams(mut self) -> Fault {
        self.keeps_streams = true;
        self
    }
}
