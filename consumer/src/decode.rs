//! From librdkafka's message to a record of the bridge: its tenant and its event type, by the rules.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tailrace_bridge::{EventTypeRule, Headers, NewRecord, RawRecord, TenantNames, TenantRules};

use crate::metrics;
use crate::native::Message;

/// The same thing about the same topic is said at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Topics and reasons remembered for that; beyond it nothing new is said.
const MAX_SAID: usize = 10_000;

/// Whether records that the rules cannot use are counted and logged. The tail does; a read of history does not do it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    Loudly,
    Silently,
}

/// What one thread keeps from batch to batch: names of tenants, and allocated memory. To allocate that much for each batch
/// makes glibc's allocator consolidate its free memory first, after which librdkafka's many small allocations cost more.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    names: TenantNames,
    headers: Vec<u8>,
    ends: Vec<usize>,
    records: Vec<NewRecord<'static>>,
}

/// The same vector with nothing in it, for things of another lifetime. The library collects in place where the layouts are
/// the same; where it did not, this would only cost an allocation.
fn emptied<T, U>(mut vector: Vec<T>) -> Vec<U> {
    vector.clear();
    vector.into_iter().map_while(|_| None).collect()
}

/// Applies the rules. Shared by the tail and by the readers of history, which must agree.
#[derive(Debug)]
pub(crate) struct Decoder {
    rules: Arc<TenantRules>,
    event_type: EventTypeRule,
    said: Limiter,
}

impl Decoder {
    pub(crate) fn new(rules: Arc<TenantRules>, event_type: EventTypeRule) -> Decoder {
        Decoder { rules, event_type, said: Limiter::default() }
    }

    /// The records of messages of one topic, in their order; those of no tenant are left out.
    pub(crate) fn batch<T>(
        &self,
        topic: &str,
        messages: &mut [Message],
        scratch: &mut Scratch,
        tell: Tell,
        take: impl FnOnce(&[NewRecord<'_>]) -> T,
    ) -> T {
        let Scratch { names, headers, ends, records: kept_records } = scratch;
        // All headers first, in one piece of memory: records hold slices of it.
        headers.clear();
        ends.clear();
        for message in &mut *messages {
            message.take_headers(headers);
            ends.push(headers.len());
        }
        let mut records = emptied(std::mem::take(kept_records));
        let mut start = 0;
        for (message, &end) in messages.iter().zip(&*ends) {
            let headers = Headers::written(&headers[start..end]);
            records.extend(self.record(topic, message, headers, names, tell));
            start = end;
        }
        let result = take(&records);
        *kept_records = emptied(records);
        result
    }

    fn record<'a>(
        &self,
        topic: &str,
        message: &'a Message,
        headers: Headers<'a>,
        names: &mut TenantNames,
        tell: Tell,
    ) -> Option<NewRecord<'a>> {
        let raw = RawRecord { key: message.key(), value: message.value(), headers };
        let tenant = match self.rules.tenant_of(topic, &raw, names) {
            Ok(tenant) => tenant,
            Err(error) => {
                if tell == Tell::Loudly {
                    metrics::unroutable(topic, error.reason());
                    self.say(topic, error.reason(), message, &error.to_string());
                }
                return None;
            }
        };
        let event_type = self.event_type.event_type_of(topic, &raw).unwrap_or_else(|reason| {
            if tell == Tell::Loudly {
                metrics::undecodable(topic, reason);
                self.say(topic, reason, message, &format!("its event type is not used: {}", words(reason)));
            }
            None
        });
        Some(NewRecord {
            offset: message.offset(),
            epoch: message.leader_epoch(),
            timestamp: message.timestamp(),
            key: raw.key,
            value: raw.value,
            headers,
            tenant,
            event_type: event_type.map(Cow::Owned),
        })
    }

    fn say(&self, topic: &str, reason: &'static str, message: &Message, text: &str) {
        if self.said.allows(topic, reason, Instant::now()) {
            tracing::warn!("{}", line(topic, message.partition(), message.offset(), text));
        }
    }
}

/// `orders[3]@1042: no header "tenant"; headers present: org, trace`
fn line(topic: &str, partition: i32, offset: u64, text: &str) -> String {
    format!("{topic}[{partition}]@{offset}: {text}")
}

fn words(reason: &str) -> &str {
    match reason {
        "reserved" => "the name is reserved",
        "line_end" => "it holds a line end",
        "not_utf8" => "it is not UTF-8",
        "too_long" => "it is too long",
        other => other,
    }
}

/// Says yes once a minute for each topic and reason.
#[derive(Debug, Default)]
struct Limiter(Mutex<HashMap<(String, &'static str), Instant>>);

impl Limiter {
    fn allows(&self, topic: &str, reason: &'static str, now: Instant) -> bool {
        let mut said = self.0.lock();
        let key = (topic.to_owned(), reason);
        let due = said.get(&key).is_none_or(|last| now.saturating_duration_since(*last) >= SAY_EVERY);
        if !due || (said.len() >= MAX_SAID && !said.contains_key(&key)) {
            return false;
        }
        said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_vector_keeps_its_room() {
        let text = String::from("acme");
        let full: Vec<(&str, Option<&[u8]>)> = vec![(&text, None); 100];
        let at = full.as_ptr().cast::<u8>();
        let empty: Vec<(&'static str, Option<&'static [u8]>)> = emptied(full);
        assert_eq!((empty.len(), empty.capacity() >= 100, empty.as_ptr().cast()), (0, true, at));
    }

    #[test]
    fn the_same_reason_of_the_same_topic_is_said_once_a_minute() {
        let (limiter, start) = (Limiter::default(), Instant::now());
        assert!(limiter.allows("orders", "no_header", start));
        assert!(!limiter.allows("orders", "no_header", start + Duration::from_secs(59)));
        assert!(limiter.allows("orders", "no_key", start));
        assert!(limiter.allows("logs", "no_header", start));
        assert!(limiter.allows("orders", "no_header", start + Duration::from_secs(60)));
    }

    #[test]
    fn a_line_says_where_and_why() {
        let text = "no header \"tenant\"; headers present: org, trace";
        assert_eq!(
            line("orders", 3, 1042, text),
            "orders[3]@1042: no header \"tenant\"; headers present: org, trace"
        );
    }
}
