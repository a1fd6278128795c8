//! The id that finds a request in logs: taken from `traceparent`, or generated here. And the request's span, for a collector.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, Tracer,
};
use opentelemetry::{Context, KeyValue, trace};
use rand::RngCore;
use tailrace_bridge::{Deliveries, Delivery, TenantId, TraceContext};

/// The trace id of the W3C trace context, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The request's own trace id, or a new one.
pub(crate) fn trace_id(headers: &HeaderMap) -> TraceId {
    incoming(headers).unwrap_or_else(fresh)
}

fn incoming(headers: &HeaderMap) -> Option<TraceId> {
    let id = headers.get("traceparent")?.to_str().ok()?.split('-').nth(1)?;
    let legal = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let id = u128::from_str_radix(id, 16).ok().filter(|id| legal && *id != 0)?;
    Some(TraceId(id))
}

/// A new trace id, for a request without one.
pub(crate) fn fresh() -> TraceId {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    TraceId(u128::from_be_bytes(bytes))
}

/// Writes the spans of requests and of what is sent. There is one only where a collector is set.
#[derive(Debug)]
pub(crate) struct Traces(BoxedTracer);

impl Traces {
    pub(crate) fn new() -> Traces {
        Traces(global::tracer("tailrace"))
    }

    /// Begins the span of a request for a stream or a page, a child of the span that its header names. `template`: its route, with
    /// `{tenant}` in the place of the tenant.
    pub(crate) fn request(&self, request: &Head, template: &'static str) -> RequestSpan {
        let text = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        let context = text("traceparent").and_then(|parent| TraceContext::parse(parent, text("tracestate")));
        let parent = context.map_or_else(Context::new, |context| {
            Context::new().with_remote_span_context(span_context(&context))
        });
        // Neither the query nor the path's tenant: a query may have the token, and the tenant is known only once it is checked.
        let span = self.0.span_builder(format!("{} {template}", request.method));
        let span = span.with_kind(SpanKind::Server).with_attributes([
            KeyValue::new("http.request.method", request.method.to_string()),
            KeyValue::new("http.route", template),
        ]);
        RequestSpan(span.start_with_context(&self.0, &parent))
    }
}

impl Deliveries for Traces {
    /// A span from the encoding of the record to the last socket of the thread, linked to the span that produced the record.
    fn delivered(&self, tenant: &TenantId, delivery: &Delivery, streams: usize) {
        use trace::Span as _;
        let Delivery { topic, partition, offset, traceparent, tracestate, encoded } = delivery;
        let Some(context) = TraceContext::parse(traceparent, tracestate.as_deref()) else { return };
        let begun = UNIX_EPOCH + Duration::from_millis(u64::try_from(*encoded).unwrap_or_default());
        let span = self.0.span_builder(format!("send {topic}"));
        let span = span.with_kind(SpanKind::Producer).with_start_time(begun);
        let span = span.with_links(vec![Link::with_context(span_context(&context))]).with_attributes([
            KeyValue::new("messaging.operation.name", "send"),
            KeyValue::new("messaging.destination.name", Arc::clone(topic)),
            KeyValue::new("messaging.destination.partition.id", partition.to_string()),
            KeyValue::new("messaging.kafka.offset", i64::try_from(*offset).unwrap_or(i64::MAX)),
            KeyValue::new("tailrace.tenant", tenant.as_str().to_owned()),
            KeyValue::new("tailrace.streams", i64::try_from(streams).unwrap_or(i64::MAX)),
        ]);
        span.start_with_context(&self.0, &Context::new()).end();
    }
}

/// The span of one request, up to the head of its response: what follows may last for days.
pub(crate) struct RequestSpan(BoxedSpan);

impl RequestSpan {
    /// The id of its trace; `None` if it is not sampled.
    pub(crate) fn trace_id(&self) -> Option<TraceId> {
        use trace::Span as _;
        let context = self.0.span_context();
        context.is_sampled().then(|| TraceId(u128::from_be_bytes(context.trace_id().to_bytes())))
    }

    pub(crate) fn end(mut self, status: StatusCode, tenant: Option<&TenantId>) {
        use trace::Span as _;
        self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if let Some(tenant) = tenant {
            self.0.set_attribute(KeyValue::new("tailrace.tenant", tenant.as_str().to_owned()));
        }
        if status.is_server_error() {
            self.0.set_status(Status::error(""));
        }
        self.0.end();
    }
}

fn span_context(context: &TraceContext<'_>) -> SpanContext {
    let (trace_id, parent_id) = (context.trace_id().to_be_bytes(), context.parent_id().to_be_bytes());
    let state = context.tracestate.and_then(|state| state.parse().ok()).unwrap_or_default();
    let (trace_id, parent_id) = (trace::TraceId::from_bytes(trace_id), SpanId::from_bytes(parent_id));
    SpanContext::new(trace_id, parent_id, TraceFlags::new(context.flags()), true, state)
}
