//! The properties of each kind of client: defaults, then the user's own, then those that exact delivery depends on.

use crate::settings::KafkaSettings;

/// Names and values; later ones replace earlier ones of the same name.
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
    // A dead connection that was not closed is noticed by an answer that does not come. It must not be much less: over a slow
    // network an answer of `fetch.max.bytes` takes long.
    ("socket.timeout.ms", "15000"),
    ("socket.keepalive.enable", "true"),
    // Retries within a request would only hide an outage for longer.
    ("topic.metadata.refresh.fast.interval.ms", "100"),
    ("isolation.level", "read_committed"),
    // A partition whose queue was full is fetched again soon; librdkafka's own second would be most of the time of a long read.
    ("fetch.queue.backoff.ms", "5"),
];

/// Defaults of the tail.
const TAIL: [(&str, &str); 3] = [
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "100"),
    // New topics and partitions are watched for by ourselves; a leader that moved is told by what it answers.
    ("topic.metadata.refresh.interval.ms", "30000"),
];

/// What makes the tail exact; nobody may set these.
const TAIL_OWNED: [(&str, &str); 5] = [
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("allow.auto.create.topics", "false"),
];

/// Defaults of the member that shows this replica in its group. One that was killed is shown for a session.
const PRESENCE: [(&str, &str); 2] = [("heartbeat.interval.ms", "3000"), ("session.timeout.ms", "10000")];
/// A group learns of added partitions by this alone.
const PRESENCE_METADATA: [(&str, &str); 1] = [("topic.metadata.refresh.interval.ms", "10000")];

/// What keeps the member from reading, and from committing by itself.
const PRESENCE_OWNED: [(&str, &str); 5] = [
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
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
    // A topic that does not exist is reported soon, rather than waited for.
    ("topic.metadata.propagation.max.ms", "1000"),
];

/// The client of the tail. `mock`: of librdkafka's mock cluster, which holds every fetch for as long as it may. It has the
/// group's id, without which librdkafka assigns nothing, but never joins it and never commits.
pub(crate) fn tail(settings: &KafkaSettings, mock: bool) -> Properties {
    let mut properties = Properties::new();
    extend(&mut properties, &COMMON);
    extend(&mut properties, &TAIL);
    if mock {
        push(&mut properties, "fetch.wait.max.ms", 5);
    }
    let kib = (settings.prefetch / 1024).clamp(QUEUE_KIB.0, QUEUE_KIB.1);
    push(&mut properties, "queued.max.messages.kbytes", kib);
    if !has(settings, "message.max.bytes") {
        push(&mut properties, "fetch.max.bytes", (settings.prefetch / 4).clamp(FETCH.0, FETCH.1));
    }
    properties.extend(settings.properties.iter().cloned());
    extend(&mut properties, &TAIL_OWNED);
    push(&mut properties, "group.id", settings.group());
    properties
}

/// The member that shows this replica in its group. It has no `group.instance.id`: another process of the same name does not
/// fence it, and it does not get back the assignment of an earlier process.
pub(crate) fn presence(settings: &KafkaSettings) -> Properties {
    let mut properties = Properties::new();
    extend(&mut properties, &COMMON);
    if !has(settings, "max.poll.interval.ms") {
        extend(&mut properties, &PRESENCE);
    }
    extend(&mut properties, &PRESENCE_METADATA);
    properties.extend(settings.properties.iter().cloned());
    extend(&mut properties, &PRESENCE_OWNED);
    push(&mut properties, "group.id", settings.group());
    properties
}

/// A reader outside of the group. It has the group's id, since that is the one that there is a permission for, but never
/// joins it and never commits.
pub(crate) fn reader(settings: &KafkaSettings) -> Properties {
    reader_of(settings, &settings.group())
}

/// The same with the name of another group, to see what that has committed.
pub(crate) fn reader_of(settings: &KafkaSettings, group: &str) -> Properties {
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
    push(&mut properties, "group.id", group);
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
