//! The properties of each kind of client: defaults, then the user's own, then what exactness rests on.

use crate::settings::KafkaSettings;

type Properties = Vec<(String, String)>;

/// Bounds of `queued.max.messages.kbytes`.
const QUEUE_KIB: (usize, usize) = (64, 2_097_151);
/// Bounds of one fetch's answer, in bytes. It comes on top of what is queued, so it is a part of the prefetch.
const FETCH: (usize, usize) = (1 << 20, 50 << 20);
/// What a reader of history may hold ahead, in KiB, and ask for at once, in bytes: about one read in all, since both are lost
/// when it is moved to another partition.
const READER_QUEUE_KIB: usize = 256;
const READER_FETCH: usize = 128 << 10;

/// Defaults of all clients. A broker that comes back is found within a second.
const COMMON: [(&str, &str); 8] = [
    ("client.id", "tailrace"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "500"),
    // A connection that has died without a word is noticed by an answer that does not come. It must not be much less: on a
    // slow way an answer of `fetch.max.bytes` takes its time.
    ("socket.timeout.ms", "15000"),
    ("socket.keepalive.enable", "true"),
    // Retries within a request would only hide an outage for longer.
    ("topic.metadata.refresh.fast.interval.ms", "100"),
    ("isolation.level", "read_committed"),
    // A full queue is looked at again soon; librdkafka's own second would be most of a long reading's time.
    ("fetch.queue.backoff.ms", "5"),
];

/// Defaults of the member of the group.
const MEMBER: [(&str, &str); 5] = [
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "100"),
    ("heartbeat.interval.ms", "2000"),
    ("auto.commit.interval.ms", "1000"),
    // A group learns of added partitions by this refresh alone: asking for metadata does not make it look.
    ("topic.metadata.refresh.interval.ms", "1000"),
];

/// How long a member keeps its partitions without a word from the group's coordinator. Its place is its own, and a process
/// that starts again takes it at once, so a long session costs nothing; one that ended while the broker was away would cost
/// the time of a rebalance after the broker's return. It must not be longer than the time between polls may be.
const SESSION: (&str, &str) = ("session.timeout.ms", "120000");

/// What makes the member exact; nobody may set these.
const MEMBER_OWNED: [(&str, &str); 6] = [
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "true"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("allow.auto.create.topics", "false"),
    ("partition.assignment.strategy", "cooperative-sticky"),
];

/// What makes a reader of history exact and small.
const READER_OWNED: [(&str, &str); 8] = [
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("allow.auto.create.topics", "false"),
    ("fetch.min.bytes", "1"),
    // The end of a partition is told only after this wait.
    ("fetch.wait.max.ms", "5"),
    // A topic that is not there is said so, rather than hoped for.
    ("topic.metadata.propagation.max.ms", "1000"),
];

/// The member of the consumer group. `mock`: of librdkafka's mock cluster, which holds every fetch for as long as it may.
pub(crate) fn member(settings: &KafkaSettings, mock: bool) -> Properties {
    let mut properties = Properties::new();
    extend(&mut properties, &COMMON);
    extend(&mut properties, &MEMBER);
    if !has(settings, "max.poll.interval.ms") {
        extend(&mut properties, &[SESSION]);
    }
    if mock {
        push(&mut properties, "fetch.wait.max.ms", 5);
    }
    let kib = (settings.prefetch / 1024).clamp(QUEUE_KIB.0, QUEUE_KIB.1);
    push(&mut properties, "queued.max.messages.kbytes", kib);
    if !has(settings, "message.max.bytes") {
        push(&mut properties, "fetch.max.bytes", (settings.prefetch / 4).clamp(FETCH.0, FETCH.1));
    }
    properties.extend(settings.properties.iter().cloned());
    extend(&mut properties, &MEMBER_OWNED);
    push(&mut properties, "group.id", settings.group());
    // A static member: after a crash the next process takes its place at once, rather than wait for the session to end.
    push(&mut properties, "group.instance.id", &settings.instance);
    properties
}

/// A reader outside of the group. It bears the group's id, since that is the one that it has a permission for, but never
/// joins it and never commits.
pub(crate) fn reader(settings: &KafkaSettings) -> Properties {
    let mut properties = Properties::new();
    extend(&mut properties, &COMMON);
    properties.extend(settings.properties.iter().cloned());
    extend(&mut properties, &READER_OWNED);
    push(&mut properties, "queued.max.messages.kbytes", READER_QUEUE_KIB);
    push(&mut properties, "queued.min.messages", 1000);
    if !has(settings, "message.max.bytes") {
        push(&mut properties, "fetch.max.bytes", FETCH.0);
    }
    push(&mut properties, "fetch.message.max.bytes", READER_FETCH);
    push(&mut properties, "group.id", settings.group());
    properties
}

/// A client that only asks.
pub(crate) fn admin(settings: &KafkaSettings) -> Properties {
    let mut properties = Properties::new();
    extend(&mut properties, &COMMON);
    properties.extend(settings.properties.iter().cloned());
    push(&mut properties, "allow.auto.create.topics", "false");
    properties
}

/// Whether streams see only what transactions have committed.
pub(crate) fn reads_committed(settings: &KafkaSettings) -> bool {
    !settings.properties.iter().any(|(name, value)| name == "isolation.level" && value == "read_uncommitted")
}

fn has(settings: &KafkaSettings, name: &str) -> bool {
    settings.properties.iter().any(|(known, _)| known == name)
}

fn extend(properties: &mut Properties, more: &[(&str, &str)]) {
    more.iter().for_each(|(name, value)| push(properties, name, value));
}

fn push(properties: &mut Properties, name: &str, value: impl ToString) {
    properties.push((name.to_owned(), value.to_string()));
}
