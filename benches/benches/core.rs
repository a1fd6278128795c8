//! The steps of the bridge one by one, without Kafka and without sockets: ids, tenants, the log, frames, filters, and the seam
//! between history and live records.

use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use futures::future::{BoxFuture, FutureExt as _, ready};
use tailrace_bridge::{
    Bridge, BridgeConfig, Budget, Envelope, EventId, Filter, Fingerprint, Framing, Headers, HistoryError,
    HistoryRead, IdKeys, MaskKey, Masks, NewRecord, Next, OffsetsAt, Part, Partition, Position, Privacy,
    RawRecord, RunningId, Segment, Source, Start, StartFrom, SubscribeRequest, Subscription, TenantId,
    TenantNames, TenantRules, TopicId, Vector, put_header,
};

const VALUE: &[u8] = br#"{"id":1000000017,"status":"shipped","user":"user-00017","amount":17.25,"tags":["a","b"],"tenant":"acme","pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#;
static RAW: LazyLock<RawRecord<'static>> = LazyLock::new(|| {
    let mut headers = Vec::new();
    put_header(&mut headers, "tenant", Some(b"acme"));
    let headers = Headers::written(headers.leak());
    RawRecord { key: Some(b"user-00017"), value: Some(VALUE), headers, flaw: None }
});
/// 362 bytes, with two fields to be masked.
const PERSONAL: &[u8] = br#"{"id":1000000017,"status":"shipped","user":{"id":"user-00017","name":"Ann Example","email":"ann@mail.example","city":"Ghent"},"amount":17.25,"tags":["a","b"],"items":[{"sku":"x-1","count":2,"price":4.5},{"sku":"x-2","count":1,"price":8.25}],"tenant":"acme","ssn":"000-00-0000","at":"2026-01-31T12:00:00Z","source":"web","note":"leave at the door","pad":"xxxxxx"}"#;
/// A key of 32 bytes, as a key file has it.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const TOPIC: &str = "orders";
const PARTITIONS: usize = 12;
/// Records of one batch.
const BATCH: u64 = 100;
/// Records between an id and the end of the log, for the seam.
const BEHIND: u64 = 1000;
const MEMORY: usize = 64 << 20;
const NO_LIMIT: Budget = Budget { records: usize::MAX, bytes: usize::MAX };

/// A source without history: all records are in memory.
struct Nothing;

impl Source for Nothing {
    fn read(&self, _: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        ready(Err(HistoryError::Gone)).boxed()
    }

    fn offsets_at(&self, _: &str, _: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        ready(Err(HistoryError::Gone)).boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        ready(()).boxed()
    }
}

/// A bridge with one topic, and the batch that is written to its first partition.
struct Core {
    bridge: Bridge,
    partition: Arc<Partition>,
    batch: Vec<NewRecord<'static>>,
}

impl Core {
    fn new() -> Core {
        Core::of(RAW.value, Privacy::default())
    }

    /// Whose records have this value, of which tenants may see so much.
    fn of(value: Option<&'static [u8]>, privacy: Privacy) -> Core {
        let rules = Arc::new(rules("header:tenant"));
        let config =
            BridgeConfig { memory: MEMORY, rules, linger: Duration::ZERO, privacy: Arc::new(privacy) };
        let bridge = Bridge::new(config, Arc::new(Nothing));
        let start = Start { offset: 1_000_000_000, epoch: 3, log_start: 0 };
        bridge.add_topic(TOPIC, TopicId([7; 16]), &[start; PARTITIONS]);
        let partition = bridge.topic(TOPIC).expect("the topic was added").partitions()[0].clone();
        let record = |number| NewRecord {
            offset: start.offset + number,
            epoch: start.epoch,
            timestamp: 1_700_000_000_000,
            key: RAW.key,
            value,
            headers: RAW.headers,
            tenant: tenant(),
            event_type: None,
            form: tailrace_bridge::Form::default(),
        };
        Core { bridge, partition, batch: (0..BATCH).map(record).collect() }
    }

    /// Appends the batch, and advances its offsets for the next call.
    fn append(&mut self) {
        let last = &self.batch[self.batch.len() - 1];
        let end = Position { offset: last.offset + 1, epoch: last.epoch };
        self.bridge.append(&self.partition, &self.batch, end);
        self.batch.iter_mut().for_each(|record| record.offset += BATCH);
    }

    fn subscribe(&self, filter: &str, last_event_id: Option<String>) -> Subscription {
        let wheres: Vec<String> =
            Some(filter.to_owned()).filter(|text| !text.is_empty()).into_iter().collect();
        let request = SubscribeRequest {
            tenant: tenant(),
            topics: vec![TOPIC.to_owned()],
            filter: Filter::parse(&[], &[], &wheres).expect("a filter"),
            framing: Framing::Sse,
            event_name: Default::default(),
            envelope: Envelope::None,
            unmasked: false,
            conflate: false,
            from: StartFrom::Latest,
            last_event_id,
        };
        block_on(self.bridge.subscribe(request)).expect("a subscription")
    }
}

fn tenant() -> TenantId {
    TenantId::new("acme").expect("a name")
}

fn rules(text: &str) -> TenantRules {
    text.parse().expect("rules")
}

fn ids(c: &mut Criterion) {
    let fingerprint = Fingerprint { name: [1, 2, 3], id: [4, 5, 6] };
    let positions = vec![Position { offset: 1_000_000_000, epoch: 3 }; PARTITIONS];
    let vector = Vector { parts: vec![Part { fingerprint, positions }] };
    let mut id = String::new();
    EventId::encode(&mut id, 29_000_000, &vector, None);
    c.bench_function("id/encode, 12 partitions", |b| {
        let mut out = String::new();
        b.iter(|| {
            out.clear();
            EventId::encode(&mut out, 29_000_000, black_box(&vector), None);
        });
    });
    for partitions in [PARTITIONS, 64] {
        let positions = vec![Position { offset: 1_000_000_000, epoch: 3 }; partitions];
        let mut running = RunningId::default();
        running.begin(29_000_000, &Vector { parts: vec![Part { fingerprint, positions }] }, None);
        let mut offset = 1_000_000_000;
        c.bench_function(&format!("id/one position on, {partitions} partitions"), |b| {
            b.iter(|| {
                offset += 1;
                running.advance(0, black_box(5), Position { offset, epoch: 3 }, None);
                black_box(running.as_str().len())
            });
        });
    }
    c.bench_function("id/read, 12 partitions", |b| b.iter(|| black_box(&id).parse::<EventId>()));
}

/// The same with a seal.
fn sealed_ids(c: &mut Criterion) {
    let keys = IdKeys::parse(KEY).expect("a key");
    let fingerprint = Fingerprint { name: [1, 2, 3], id: [4, 5, 6] };
    for partitions in [1, PARTITIONS, 64] {
        let positions = vec![Position { offset: 1_000_000_000, epoch: 3 }; partitions];
        let mut running = RunningId::default();
        let vector = Vector { parts: vec![Part { fingerprint, positions }] };
        running.begin(29_000_000, &vector, keys.seal("acme"));
        let mut offset = 1_000_000_000;
        c.bench_function(&format!("id/one position on, sealed, {partitions} partitions"), |b| {
            b.iter(|| {
                offset += 1;
                running.advance(0, black_box(0), Position { offset, epoch: 3 }, keys.seal("acme"));
                black_box(running.as_str().len())
            });
        });
        let id = running.as_str().to_owned();
        c.bench_function(&format!("id/read, sealed, {partitions} partitions"), |b| {
            b.iter(|| EventId::read(black_box(&id), "acme", Some(&keys)));
        });
    }
}

fn masks(text: &str) -> Masks {
    let mut masks: Masks = text.parse().expect("masks");
    masks.set_key(MaskKey::parse(KEY).expect("a key"));
    masks
}

/// What a view costs for each record where fields are masked, and where ids are sealed.
fn privacy(c: &mut Criterion) {
    let mut group = c.benchmark_group("privacy");
    group.throughput(Throughput::Elements(BATCH));
    let sealed = Privacy { id_keys: Some(IdKeys::parse(KEY).expect("a key")), ..Privacy::default() };
    let masked = |text| Privacy { masks: masks(text), ..Privacy::default() };
    for (name, privacy) in [
        ("as it is", Privacy::default()),
        ("sealed ids", sealed),
        ("two fields redacted", masked("orders=/user/email:redact,orders=/ssn:redact")),
        ("two fields hashed", masked("orders=/user/email:hash,orders=/ssn:hash")),
        ("two fields removed", masked("orders=/user/email:remove,orders=/ssn:remove")),
        ("no such field", masked("orders=/nobody/email:redact,orders=/none:redact")),
    ] {
        let mut core = Core::of(Some(PERSONAL), privacy);
        let _view = core.subscribe("", None);
        group.bench_function(name, |b| b.iter(|| core.append()));
    }
    group.finish();
}

fn tenants(c: &mut Criterion) {
    for rule in ["header:tenant", "json:/tenant"] {
        let (rules, mut names) = (rules(rule), TenantNames::default());
        c.bench_function(&format!("tenant/{rule}"), |b| {
            b.iter(|| rules.tenant_of(TOPIC, black_box(&RAW), &mut names));
        });
    }
}

/// Appending alone; with a view that frames each record; with views whose filters match all records, and none.
fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(BATCH));
    let filters: [(&str, &[&str]); 4] = [
        ("no view", &[]),
        ("framed", &[""]),
        ("filtered, all match", &["value.user=user-00017"]),
        ("filtered, none match", &["value.user=nobody"]),
    ];
    for (name, filters) in filters {
        let mut core = Core::new();
        let _views: Vec<Subscription> = filters.iter().map(|filter| core.subscribe(filter, None)).collect();
        group.bench_function(name, |b| b.iter(|| core.append()));
    }
    group.finish();
}

/// A client that reconnects: its id is parsed, missed records are replayed, and it joins the view.
fn seam(c: &mut Criterion) {
    let mut core = Core::new();
    // So that the record before the id's position is in memory.
    core.append();
    let id = core.subscribe("", None).id();
    (0..BEHIND / BATCH).for_each(|_| core.append());
    let _view = core.subscribe("", None);
    let mut group = c.benchmark_group("seam");
    group.throughput(Throughput::Elements(BEHIND));
    group.bench_function("resume, 1,000 records behind", |b| {
        b.iter_batched(|| id.clone(), |id| until_live(core.subscribe("", Some(id))), BatchSize::SmallInput);
    });
    group.finish();
}

fn until_live(mut subscription: Subscription) -> usize {
    let mut read = 0;
    while !subscription.is_live() {
        if let Next::Frames { records, .. } = subscription.next(NO_LIMIT) {
            read += records;
        }
    }
    assert_eq!(read as u64, BEHIND, "all that was missed, once");
    read
}

fn short() -> Criterion {
    Criterion::default().measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300))
}

criterion_group! { name = core; config = short(); targets = ids, sealed_ids, tenants, append, privacy, seam }
criterion_main!(core);
