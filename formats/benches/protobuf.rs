//! A message of ten fields as JSON text, beside prost-reflect, which goes by way of a tree; and beside reading the same JSON.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tailrace_formats::{Options, msgpack, protobuf::Schema};

const TEXT: &str = r#"
    syntax = "proto3";
    package shop;
    import "google/protobuf/timestamp.proto";
    message Order {
      int64 id = 1;
      string status = 2;
      string user = 3;
      double amount = 4;
      repeated string tags = 5;
      string tenant = 6;
      repeated Item items = 7;
      google.protobuf.Timestamp at = 8;
      Source source = 9;
      string note = 10;
    }
    message Item { string sku = 1; uint32 count = 2; double price = 3; }
    enum Source { UNKNOWN = 0; WEB = 1; STORE = 2; }
"#;

const JSON: &str = r#"{
    "id": "1000000017", "status": "shipped", "user": "user-00017", "amount": 17.25, "tags": ["priority", "gift-wrapped"], "tenant": "acme",
    "items": [{"sku": "x-1-blue-large", "count": 2, "price": 4.5}, {"sku": "x-2-red-small", "count": 1, "price": 8.25}],
    "at": "2026-01-31T12:00:00.123Z", "source": "WEB",
    "note": "leave it at the door, ring twice, and mind the dog that sleeps behind the gate; the neighbours take parcels too, on weekdays"
}"#;

fn descriptor() -> MessageDescriptor {
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_proto(protox_parse::parse("shop.proto", TEXT).unwrap()).unwrap();
    pool.get_message_by_name("shop.Order").unwrap()
}

/// MessagePack of the same, by hand: a map of ten fields.
fn packed(json: &serde_json::Value, out: &mut Vec<u8>) {
    match json {
        serde_json::Value::Object(fields) => {
            out.push(0x80 | fields.len() as u8);
            for (name, value) in fields {
                packed(&serde_json::Value::from(name.as_str()), out);
                packed(value, out);
            }
        }
        serde_json::Value::Array(items) => {
            out.push(0x90 | items.len() as u8);
            items.iter().for_each(|item| packed(item, out));
        }
        serde_json::Value::String(text) => {
            out.extend_from_slice(&[0xd9, text.len() as u8]);
            out.extend_from_slice(text.as_bytes());
        }
        number => {
            out.push(0xcb);
            out.extend_from_slice(&number.as_f64().unwrap_or_default().to_be_bytes());
        }
    }
}

fn protobuf(c: &mut Criterion) {
    let descriptor = descriptor();
    let message =
        DynamicMessage::deserialize(descriptor.clone(), &mut serde_json::Deserializer::from_str(JSON))
            .unwrap();
    let wire = message.encode_to_vec();
    let order = Schema::parse(TEXT, &[], Options::default()).unwrap().message_by_indexes(&[0]).unwrap();
    let mut group = c.benchmark_group("protobuf");
    group.throughput(Throughput::Bytes(wire.len() as u64));
    let mut text = Vec::new();
    group.bench_function("ours", |b| {
        b.iter(|| {
            text.clear();
            order.decode(black_box(&wire), &mut text).unwrap();
            text.len()
        })
    });
    println!("{} bytes become {}: {}", wire.len(), text.len(), String::from_utf8_lossy(&text));
    group.bench_function("prost-reflect", |b| {
        b.iter(|| {
            let message = DynamicMessage::decode(descriptor.clone(), black_box(wire.as_slice())).unwrap();
            serde_json::to_vec(&message).unwrap().len()
        })
    });
    let mut wire = Vec::new();
    packed(&serde_json::from_str(JSON).unwrap(), &mut wire);
    group.bench_function("msgpack", |b| {
        b.iter(|| {
            text.clear();
            msgpack::decode(black_box(&wire), Options::default(), &mut text).unwrap();
            text.len()
        })
    });
    group.bench_function("json_schema", |b| {
        b.iter(|| tailrace_formats::json_schema::check(black_box(&text)).unwrap().len())
    });
    group.finish();
}

criterion_group!(benches, protobuf);
criterion_main!(benches);
