//! From a request to a subscription: the topics, the view, and where to start (a client that resumes:
//! [`resume`](super::resume)).

use std::sync::Arc;

use crate::base::meter::Meter;
use crate::core::{Hold, Inner};
use crate::history::source::OffsetsAt;
use crate::live::view_key::ViewKey;
use crate::log::topic::Topics;
use crate::position::event_id::EventIdError;
use crate::position::seal::IdKeys;
use crate::position::start_from::StartFrom;
use crate::position::{Part, Vector};
use crate::read::filter_check::check_filter;
use crate::read::pending_gap::{Change, Pending};
use crate::read::request::{LastEventId, SubscribeError, SubscribeRequest};
use crate::read::resume::{resume, see_parts_of};
use crate::read::run::Run;
use crate::read::start_offsets::{LastRecords, at_offsets, lookup};
use crate::read::subscription::{Subscription, SubscriptionStart};
use crate::record::tenant::TenantId;

/// Starts a subscription. Cancel-safe.
pub(crate) async fn subscribe(
    inner: &Arc<Inner>,
    request: SubscribeRequest,
    meter: Option<Arc<Meter>>,
) -> Result<Subscription, SubscribeError> {
    let SubscribeRequest {
        tenant,
        topics,
        filter,
        framing,
        event_name,
        envelope,
        unmasked,
        conflate,
        from,
        last_event_id,
    } = request;
    let by_key = conflate || from == StartFrom::Snapshot;
    let last_event_id = LastEventId::of(last_event_id, &tenant, &inner.shared);
    check_topics(inner, &tenant, &topics, last_event_id.is_some())?;
    let mut from = match &last_event_id {
        LastEventId::Known { id, .. } => StartFrom::Id(id.clone()),
        LastEventId::None | LastEventId::Unknown { .. } => opened(inner, &tenant, from)?,
    };
    let unmasked = unmasked || inner.shared.privacy.masks.is_empty();
    check_filter(inner, &tenant, &topics, &filter, unmasked)?;
    let mut bounds = Vec::new();
    if let StartFrom::Id(id) = &mut from {
        bounds = id.vector.take_bounds();
        see_parts_of(inner, &tenant, id).await;
    }
    let written = (framing, event_name, envelope);
    let hold = inner.hold(ViewKey::new(tenant, sorted(topics), filter, written, unmasked, by_key));
    if let Some(meter) = meter {
        // The view may have it from another subscription.
        hold.view.meter.get_or_init(|| meter);
    }
    start(hold, from, bounds, conflate, last_event_id).await
}

/// A place to start at whose id is readable here.
fn opened(inner: &Inner, tenant: &TenantId, from: StartFrom) -> Result<StartFrom, EventIdError> {
    match from {
        StartFrom::SealedId(text) => inner.shared.read_id(tenant, &text).map(StartFrom::Id),
        StartFrom::Id(_) if !inner.shared.id_keys().is_none_or(IdKeys::takes_unsealed) => {
            Err(EventIdError::Unsealed)
        }
        from => Ok(from),
    }
}

/// Whether all named topics can be read. A client that resumes may read what memory has of a topic that is not served now.
fn check_topics(
    inner: &Inner,
    tenant: &TenantId,
    names: &[String],
    comes_back: bool,
) -> Result<(), SubscribeError> {
    let structure = inner.structure.lock();
    for name in names {
        if !inner.rules.can_yield(name, tenant) {
            return Err(SubscribeError::UnknownTopic(name.clone()));
        }
        let is_known = structure.topics.contains_key(name.as_str());
        match structure.unserved.get(name) {
            Some(_) if is_known && comes_back => {}
            Some(why) => return Err(SubscribeError::Unserved { topic: name.clone(), why: *why }),
            None if is_known => {}
            None => return Err(SubscribeError::UnknownTopic(name.clone())),
        }
    }
    Ok(())
}

async fn start(
    hold: Hold,
    from: StartFrom,
    bounds: Vec<Part>,
    conflates: bool,
    last_event_id: LastEventId,
) -> Result<Subscription, SubscribeError> {
    let (shape, topics) = hold.view.topics();
    let history = hold.inner.history.clone();
    let pending = last_event_id.gap().map(|gap| Pending { gap, change: Change::Nothing });
    let mut start = SubscriptionStart {
        vector: Vector::default(),
        carried: Vec::new(),
        pending: pending.into_iter().collect(),
        last_event_id,
        topics,
        shape,
        conflates,
        run: None,
    };
    let topics: &Topics = &start.topics.clone();
    let at = |at| lookup(&history, topics, at);
    start.vector = match from {
        StartFrom::Latest => return Ok(Subscription::latest(hold, start)),
        StartFrom::Earliest => at_offsets(topics, &at(OffsetsAt::Earliest).await?),
        StartFrom::Snapshot => {
            let first = at_offsets(topics, &at(OffsetsAt::Earliest).await?);
            // A client whose id could not be read may have records.
            let mut run = Run::snapshot(!start.last_event_id.is_some());
            let now = hold.inner.shared.clock.now();
            run.set_out(topics, &hold.view.snapshot().vector, &[], now);
            start.run = Some(run);
            first
        }
        StartFrom::Time(millis) => at_offsets(topics, &at(OffsetsAt::Time(millis)).await?),
        StartFrom::Ago(ago) => {
            let millis = hold.inner.shared.clock.unix_millis() - ago.as_millis() as i64;
            at_offsets(topics, &at(OffsetsAt::Time(millis)).await?)
        }
        StartFrom::Last(count) => {
            let key = hold.view.key();
            let (tenant, filter) = (&key.tenant, key.filter());
            let meter = hold.view.meter.get();
            let last = LastRecords { history: &history, tenant, meter, filter, count: count as usize };
            last.find(topics, &hold.view.snapshot().vector).await
        }
        StartFrom::Id(id) => return resume(hold, id, bounds, start).await,
        StartFrom::SealedId(_) => return Err(EventIdError::Sealed.into()),
    };
    Ok(Subscription::replaying(hold, start))
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}
