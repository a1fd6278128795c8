//! What the handlers of all requests share.

use std::sync::Arc;

use tailrace_bridge::{Bridge, TenantRules};

use crate::drain::Drain;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::records::PageMemory;
use crate::registry::Registry;
use crate::settings::WebSettings;
use crate::trace::Traces;

/// The shared state: one for each process.
pub(crate) struct App {
    pub(crate) settings: WebSettings,
    pub(crate) bridge: Bridge,
    pub(crate) rules: Arc<TenantRules>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) page_memory: PageMemory,
    /// `None`: no collector is set.
    pub(crate) traces: Option<Traces>,
}
