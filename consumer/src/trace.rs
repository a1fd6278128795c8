//! Spans for a collector: one for each batch of the tail, with links to the spans of the producers that wrote its records, and
//! one for each read of history.

use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::trace::{Link, SpanBuilder, SpanContext, SpanId, SpanKind, TraceFlags, TraceId, Tracer};
use opentelemetry::{Context, KeyValue};
use tailrace_bridge::{HistoryRead, NewRecord, Partition, TraceContext};

/// The most links of one span: as many as the SDK keeps by default.
const MAX_LINKS: usize = 128;

/// Writes spans. There is one only where a collector is set.
pub(crate) struct Traces(BoxedTracer);

impl Traces {
    pub(crate) fn new() -> Traces {
        Traces(global::tracer("tailrace"))
    }

    /// The span of a batch, which ends when it is dropped. Only records whose producers sample are linked.
    pub(crate) fn batch(&self, partition: &Partition, records: &[NewRecord<'_>]) -> BoxedSpan {
        let contexts = records.iter().filter_map(|record| TraceContext::of(record.headers));
        let links = contexts.filter(TraceContext::is_sampled).take(MAX_LINKS).map(link).collect();
        let topic = partition.topic_name();
        let span = SpanBuilder {
            span_kind: Some(SpanKind::Consumer),
            name: format!("process {topic}").into(),
            attributes: Some(vec![
                KeyValue::new("messaging.system", "kafka"),
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("messaging.operation.name", "process"),
                KeyValue::new("messaging.destination.name", topic.to_owned()),
                KeyValue::new("messaging.destination.partition.id", partition.index().to_string()),
                KeyValue::new("messaging.batch.message_count", records.len() as i64),
            ]),
            links: Some(links),
            ..SpanBuilder::default()
        };
        self.0.build_with_context(span, &Context::new())
    }

    /// The span of a read that a replay needs, which ends when it is dropped. Replays share reads, so that it is a trace of its
    /// own.
    pub(crate) fn history(&self, read: &HistoryRead) -> BoxedSpan {
        let span = self.0.span_builder(format!("replay {}", read.topic));
        let span = span.with_kind(SpanKind::Client).with_attributes([
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.type", "receive"),
            KeyValue::new("messaging.operation.name", "replay"),
            KeyValue::new("messaging.destination.name", read.topic.to_string()),
            KeyValue::new("messaging.destination.partition.id", read.partition.to_string()),
            KeyValue::new("messaging.kafka.offset", i64::try_from(read.from).unwrap_or(i64::MAX)),
        ]);
        span.start_with_context(&self.0, &Context::new())
    }
}

fn link(context: TraceContext<'_>) -> Link {
    let (trace_id, parent_id) = (context.trace_id().to_be_bytes(), context.parent_id().to_be_bytes());
    let state = context.tracestate.and_then(|state| state.parse().ok()).unwrap_or_default();
    let flags = TraceFlags::new(context.flags());
    let (trace_id, parent_id) = (TraceId::from_bytes(trace_id), SpanId::from_bytes(parent_id));
    Link::with_context(SpanContext::new(trace_id, parent_id, flags, true, state))
}
