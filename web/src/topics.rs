//! The list of a tenant's topics: names, partitions, types and rates.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Response};
use serde_json::{Value, json};
use tailrace_bridge::TopicOverview;

/// `with_offsets`: whether clients may know positions, which sealed ids hide.
pub(crate) fn response(topics: &[TopicOverview], with_offsets: bool) -> Response<Body> {
    let topics: Vec<Value> = topics.iter().map(|topic| of_topic(topic, with_offsets)).collect();
    let mut response = Response::new(Body::from(json!({ "topics": topics }).to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn of_topic(topic: &TopicOverview, with_offsets: bool) -> Value {
    let partitions = topic.partitions.iter().enumerate().map(|(partition, offsets)| match with_offsets {
        true => json!({ "partition": partition, "begin": offsets.start, "end": offsets.end }),
        false => json!({ "partition": partition }),
    });
    json!({
        "topic": &*topic.name,
        "partitions": partitions.collect::<Vec<_>>(),
        "types": topic.types,
        // Two digits are more than an estimate has.
        "rate": (topic.rate * 100.0).round() / 100.0,
    })
}
