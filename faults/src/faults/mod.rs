//! The faults, by what they are done to.

mod bridge;
mod clients;
mod cluster;
mod cut;
mod group;
mod kafka;
mod log;
mod resources;

use std::time::Duration;

use crate::scene::Stage;
use crate::trial::{Fault, Play};

/// From a broker's return to the first record that it took since.
const BROKER_RECOVERY: Duration = Duration::from_secs(2);

/// All of them, in the order in which they are played.
pub fn all() -> Vec<Fault> {
    let groups = [
        bridge::faults(),
        kafka::faults(),
        cluster::faults(),
        cut::faults(),
        group::faults(),
        log::faults(),
        clients::faults(),
        resources::faults(),
    ];
    groups.into_iter().flatten().collect()
}

impl Fault {
    /// One that the short form plays too, on the usual stage, without a promise for its recovery.
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

    /// Only the long form plays it.
    fn long(mut self) -> Fault {
        self.is_short = false;
        self
    }

    fn recovers_within(mut self, time: Duration) -> Fault {
        self.recovery = Some(time);
        self
    }

    /// No stream is ended meanwhile, but by its client.
    fn keeps_streams(mut self) -> Fault {
        self.keeps_streams = true;
        self
    }
}
