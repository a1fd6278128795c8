//! A record of ten fields as JSON text, beside apache-avro, which goes by way of two trees; and beside reading the same JSON.

use std::hint::black_box;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tailrace_formats::{Options, avro};

const SCHEMA: &str = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "id", "type": "long"},
    {"name": "status", "type": "string"},
    {"name": "user", "type": "string"},
    {"name": "amount", "type": "double"},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "tenant", "type": "string"},
    {"name": "items", "type": {"type": "array", "items": {"type": "record", "name": "Item", "fields": [
        {"name": "sku", "type": "string"}, {"name": "count", "type": "int"}, {"name": "price", "type": "double"}]}}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "source", "type": {"type": "enum", "name": "Source", "symbols": ["UNKNOWN", "WEB", "STORE"]}},
    {"name": "note", "type": ["null", "string"], "default": null}
]}"#;
const NOTE: &str = "leave it at the door, ring twice, and mind the dog that sleeps behind the gate; the neighbours take parcels too, on weekdays";

fn order() -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let item = |sku: &str, count, price| {
        Value::Record(vec![
            ("sku".to_owned(), text(sku)),
            ("count".to_owned(), Value::Int(count)),
            ("price".to_owned(), Value::Double(price)),
        ])
    };
    let fields = [
        ("id", Value::Long(1_000_000_017)),
        ("status", text("shipped")),
        ("user", text("user-00017")),
        ("amount", Value::Double(17.25)),
        ("tags", Value::Array(vec![text("priority"), text("gift-wrapped")])),
        ("tenant", text("acme")),
        ("items", Value::Array(vec![item("x-1-blue-large", 2, 4.5), item("x-2-red-small", 1, 8.25)])),
        ("at", Value::TimestampMillis(1_769_860_800_123)),
        ("source", Value::Enum(1, "WEB".to_owned())),
        ("note", Value::Union(1, Box::new(text(NOTE)))),
    ];
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn an_order(criterion: &mut Criterion) {
    let theirs = apache_avro::Schema::parse_str(SCHEMA).unwrap();
    let bytes = GenericDatumWriter::builder(&theirs).build().unwrap().write_value_to_vec(order()).unwrap();
    assert!((200..=350).contains(&bytes.len()), "{} bytes", bytes.len());
    let ours = avro::Schema::parse(SCHEMA, &[], Options::default()).unwrap();
    let mut out = Vec::new();
    ours.decode(&bytes, &mut out).unwrap();
    let json = String::from_utf8(out).unwrap();

    let mut group = criterion.benchmark_group("avro");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("ours", |bencher| {
        let mut out = Vec::with_capacity(1024);
        bencher.iter(|| {
            out.clear();
            ours.decode(black_box(&bytes), &mut out).unwrap();
            black_box(out.len())
        });
    });
    let reader = GenericDatumReader::builder(&theirs).build().unwrap();
    group.bench_function("apache_avro", |bencher| {
        let mut out = Vec::with_capacity(1024);
        bencher.iter(|| {
            out.clear();
            let value = reader.read_value(&mut black_box(&bytes[..])).unwrap();
            let tree = serde_json::Value::try_from(value).unwrap();
            serde_json::to_writer(&mut out, &tree).unwrap();
            black_box(out.len())
        });
    });
    group.bench_function("the_json_checked_by_serde_json", |bencher| {
        bencher.iter(|| serde_json::from_str::<serde::de::IgnoredAny>(black_box(&json)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, an_order);
criterion_main!(benches);
