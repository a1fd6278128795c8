//! Records whose producers sample their traces, from their frames to the streams that have taken these.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::live::view::View;
use crate::log::partition::Partition;
use crate::record::RecordRef;
use crate::record::tenant::TenantId;
use crate::record::trace_context::TraceContext;

/// The most records that a view keeps for it: beyond that the oldest are not told of.
const MAX_TRACED: usize = 64;

/// A record whose producer samples, and that streams have got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: u32,
    /// The record's offset.
    pub offset: u64,
    /// The record's header of this name, of which the W3C grammar is met.
    pub traceparent: String,
    /// The record's header of this name, if the W3C grammar is met.
    pub tracestate: Option<String>,
    /// When the record was encoded for the streams, in milliseconds since the Unix epoch.
    pub encoded: i64,
}

/// Is told of the records that were sent and whose producers sample.
pub trait Deliveries: fmt::Debug + Send + Sync {
    /// So many streams of one thread have got the record. It is called once for each thread that has such streams, and must not
    /// block.
    fn delivered(&self, tenant: &TenantId, delivery: &Delivery, streams: usize);
}

/// The newest records of a view that are traced, each with the number of its frame; a pointer, since most views have none.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "an empty queue takes four times the room of a pointer, in each of very many views"
)]
pub(super) struct Traced(Option<Box<VecDeque<(u64, Delivery)>>>);

impl Traced {
    /// Keeps the record, if its producer samples. `first`: the oldest frame that somebody may still take.
    pub(super) fn note(
        &mut self,
        number: u64,
        first: u64,
        partition: &Partition,
        record: &RecordRef<'_>,
        now: i64,
    ) {
        let Some(context) = TraceContext::of(record.headers).filter(TraceContext::is_sampled) else { return };
        let kept = self.0.get_or_insert_default();
        while kept.len() >= MAX_TRACED || kept.front().is_some_and(|(number, _)| *number < first) {
            kept.pop_front();
        }
        let delivery = Delivery {
            topic: Arc::clone(partition.topic_name()),
            partition: partition.index(),
            offset: record.offset,
            traceparent: context.traceparent.to_owned(),
            tracestate: context.tracestate.map(str::to_owned),
            encoded: now,
        };
        kept.push_back((number, delivery));
    }

    fn of(&self, frames: Range<u64>) -> Vec<Delivery> {
        let kept = self.0.iter().flat_map(|kept| kept.iter());
        kept.filter(|(number, _)| frames.contains(number)).map(|(_, delivery)| delivery.clone()).collect()
    }
}

impl View {
    /// Tells of the traced records among the frames, which so many streams have got.
    pub(super) fn tell_delivered(&self, deliveries: &dyn Deliveries, frames: Range<u64>, streams: usize) {
        let traced = self.state.lock().traced.of(frames);
        for delivery in &traced {
            deliveries.delivered(self.tenant(), delivery, streams);
        }
    }
}
