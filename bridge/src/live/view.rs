//! The live, merged, filtered sequence of frames for all subscriptions with the same tenant, topics, filter and envelope.
//!
//! A view has a vector V, which says exactly which records it has taken into account, and a [`Ring`] of encoded frames. V and
//! the ring change together under one lock. So a subscription that reads V and the next frame's number together can replay up
//! to V and continue from that frame.
//!
//! This module has the state. [`topics`](super::topics) adds and removes topics, [`framing`](super::framing) adds frames,
//! [`delivery`](super::delivery) hands them to readers, and [`waking`](super::waking) notifies the readers.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::lock_order::Rank;
use crate::base::meter::Meter;
use crate::base::sabotage::{Sabotage, broken};
use crate::base::sync::Mutex;
use crate::base::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::live::listeners::Listeners;
use crate::live::ring::Ring;
use crate::live::ring_memory::RingMemory;
use crate::live::traced::{Deliveries, Traced};
use crate::live::view_key::ViewKey;
use crate::log::coverage::Coverage;
use crate::log::partition::Partition;
use crate::position::event_id::{EventId, EventIdError};
use crate::position::seal::{IdKeys, Seal};
use crate::position::{Position, Vector};
use crate::record::pseudonym::TenantKey;
use crate::record::tenant::TenantId;
use crate::sse::privacy::{Look, Masking, Privacy};

/// What all views share: settings and the age of the list of topics.
#[derive(Debug)]
pub(crate) struct Shared {
    /// When the list of topics was last refreshed, in whole minutes since the Unix epoch.
    pub(crate) minutes: AtomicU32,
    pub(crate) ring_memory: RingMemory,
    pub(crate) linger: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) privacy: Arc<Privacy>,
    /// Who is told of traced records; unset: nobody.
    pub(crate) deliveries: OnceLock<Arc<dyn Deliveries>>,
}

impl Shared {
    pub(crate) fn new(
        ring_memory: RingMemory,
        linger: Duration,
        clock: Arc<dyn Clock>,
        privacy: Arc<Privacy>,
    ) -> Arc<Shared> {
        let (minutes, deliveries) = (AtomicU32::new(0), OnceLock::new());
        Arc::new(Shared { minutes, ring_memory, linger, clock, privacy, deliveries })
    }

    /// How the ids of this tenant are sealed; `None`: not at all.
    pub(crate) fn seal<'a>(&'a self, tenant: &'a TenantId) -> Option<Seal<'a>> {
        self.id_keys()?.seal(tenant.as_str())
    }

    pub(crate) fn encode_id(&self, tenant: &TenantId, vector: &Vector) -> String {
        let mut id = String::new();
        EventId::encode(&mut id, self.minutes.load(Ordering::Relaxed), vector, self.seal(tenant));
        id
    }

    /// The same id as this replica writes it.
    pub(crate) fn write_id(&self, tenant: &TenantId, id: &EventId) -> String {
        let mut text = String::new();
        EventId::encode(&mut text, id.minutes, &id.vector, self.seal(tenant));
        text
    }

    pub(crate) fn read_id(&self, tenant: &TenantId, text: &str) -> Result<EventId, EventIdError> {
        EventId::read(text, tenant.as_str(), self.id_keys())
    }

    pub(crate) fn id_keys(&self) -> Option<&IdKeys> {
        self.privacy.id_keys.as_ref()
    }
}

#[derive(Debug)]
pub(crate) struct View {
    /// For tasks that run later: by then the view may have been dropped, and there is nothing to wake or to trim.
    pub(super) me: Weak<View>,
    pub(super) key: ViewKey,
    /// The key of the tenant's hashes, if this view has any.
    hash_key: Option<Box<TenantKey>>,
    pub(super) shared: Arc<Shared>,
    pub(super) state: Mutex<ViewState, { Rank::View as u8 }>,
    pub(super) listeners: Mutex<Listeners>,
    pub(super) version: AtomicU64,
    pub(super) waking: AtomicBool,
    /// The rate that the replays of the tenant share, if it has one. It is here since each of its readers may replay, at the start or
    /// after an overrun, and a reader that waits should be small.
    pub(crate) meter: OnceLock<Arc<Meter>>,
}

#[derive(Debug)]
pub(super) struct ViewState {
    /// The coverage that readers see. V has a position for each of its partitions.
    pub(super) coverage: Arc<Coverage>,
    /// The coverage that V is being extended to, while its partitions are registered one by one: V has positions for some.
    pub(super) registering: Option<Arc<Coverage>>,
    /// V. Its parts are those of the coverage, in the same order.
    pub(super) vector: Arc<Vector>,
    /// Whether V is the id of the newest frame.
    pub(super) framed: bool,
    /// Whether this view is listed in [`RingMemory`] as having frames.
    pub(super) filled: bool,
    pub(super) ring: Ring,
    /// How many subscriptions read this view, and how many of them are known to have a cursor at the ring's end. `at_end` only
    /// serves to free memory: if it were wrong, frames would be dropped too late, or too early, and a reader would replay them
    /// from the log.
    pub(super) readers: u32,
    pub(super) at_end: i32,
    /// Rises whenever a topic or partition is added or removed.
    pub(super) shape: u64,
    /// Rises with every gap that moves a position back.
    pub(super) cuts: u32,
    /// Records whose deliveries are told of.
    pub(super) traced: Traced,
}

impl View {
    /// A view that takes no topic into account yet: its coverage is empty.
    pub(crate) fn new(key: ViewKey, shared: Arc<Shared>, nothing: Arc<Coverage>) -> Arc<View> {
        let state = ViewState {
            vector: nothing.heads(),
            coverage: nothing,
            registering: None,
            framed: false,
            filled: false,
            ring: Ring::new(shared.ring_memory.account()),
            readers: 0,
            at_end: 0,
            shape: 0,
            cuts: 0,
            traced: Traced::default(),
        };
        let tenant = key.tenant.as_str();
        let hash_key = (!key.unmasked).then(|| shared.privacy.masks.key_of(tenant)).flatten();
        Arc::new_cyclic(|me| View {
            me: me.clone(),
            key,
            hash_key: hash_key.map(Box::new),
            shared,
            state: Mutex::new(state),
            listeners: Mutex::default(),
            version: AtomicU64::new(0),
            waking: AtomicBool::new(false),
            meter: OnceLock::new(),
        })
    }

    pub(crate) fn key(&self) -> &ViewKey {
        &self.key
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.key.tenant
    }

    /// How records are written for the readers of this view.
    pub(crate) fn look(&self) -> Look<'_> {
        let Privacy { masks, headers, source, .. } = &*self.shared.privacy;
        let masking = Masking { masks, key: self.hash_key.as_deref() };
        let masking = (!self.key.unmasked).then_some(masking);
        let ViewKey { framing, event_name, envelope, .. } = self.key;
        Look { framing, event_name, envelope, headers, source, masking }
    }

    pub(crate) fn coverage(&self) -> Arc<Coverage> {
        self.state.lock().coverage.clone()
    }
}

impl ViewState {
    /// The coverage whose topics are V's parts.
    pub(super) fn whole_coverage(&self) -> &Coverage {
        self.registering.as_ref().unwrap_or(&self.coverage)
    }

    /// The partition's indices in the vector, if it is of this incarnation and registered.
    pub(super) fn slot(&self, partition: &Partition) -> Option<(usize, usize)> {
        let (at, index) = self.whole_coverage().place(partition)?;
        let position = self.vector.parts[at].positions.get(index)?;
        position.is_known().then_some((at, index))
    }

    /// V\[q\] = max(V\[q\], H\[q\]). A head never passes records that are not in the views yet; V is ahead of a head while a
    /// batch is being framed. Where V is ahead nowhere, it becomes the heads' own vector, which all views share.
    pub(super) fn refresh(&mut self) {
        let heads = self.whole_coverage().heads();
        if Arc::ptr_eq(&heads, &self.vector) {
            return;
        }
        let (ahead, behind) = self.vector.compare(&heads);
        let ahead = ahead && !broken(Sabotage::IdWithoutView);
        if !ahead && self.registering.is_none() {
            self.framed &= !behind;
            self.vector = heads;
        } else if behind {
            Arc::make_mut(&mut self.vector).rise_to(&heads);
            self.framed = false;
        }
    }

    pub(super) fn move_to(&mut self, (at, index): (usize, usize), position: Position) {
        Arc::make_mut(&mut self.vector).parts[at].positions[index] = position;
    }
}
