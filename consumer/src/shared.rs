//! What several threads of this package use.

use std::sync::Arc;

use tailrace_bridge::Bridge;

use crate::admin::Admin;
use crate::assign::Assignment;
use crate::decode::Decoder;
use crate::findings::Findings;
use crate::history::Readers;
use crate::settings::KafkaSettings;

/// What several threads use. Each takes from it what its work needs.
pub(crate) struct Shared {
    pub(crate) settings: Arc<KafkaSettings>,
    pub(crate) bridge: Bridge,
    pub(crate) admin: Arc<Admin>,
    pub(crate) decoder: Arc<Decoder>,
    pub(crate) readers: Arc<Readers>,
    /// What the tail reads.
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) findings: Arc<Findings>,
}
