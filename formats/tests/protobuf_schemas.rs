//! Schemas as registries have them, and as nobody should.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MessageOptions,
};
use tailrace_formats::{BadSchema, Options, protobuf::Schema};

fn parse(main: &str, references: &[(&str, &str)]) -> Result<Schema, BadSchema> {
    Schema::parse(main, references, Options::default())
}

/// What one message of a schema says, by name.
fn decode(schema: &Schema, message: &str, wire: &[u8]) -> String {
    let mut out = Vec::new();
    schema.message_by_name(message).unwrap().decode(wire, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn refused(main: &str, references: &[(&str, &str)]) -> String {
    parse(main, references).unwrap_err().0
}

#[test]
fn what_a_registry_knows_by_itself_need_not_be_given() {
    let files = [
        ("confluent/meta.proto", "confluent.Meta"),
        ("confluent/type/decimal.proto", "confluent.type.Decimal"),
        ("google/protobuf/any.proto", "google.protobuf.Any"),
        ("google/protobuf/api.proto", "google.protobuf.Api"),
        ("google/protobuf/descriptor.proto", "google.protobuf.FileDescriptorSet"),
        ("google/protobuf/duration.proto", "google.protobuf.Duration"),
        ("google/protobuf/empty.proto", "google.protobuf.Empty"),
        ("google/protobuf/field_mask.proto", "google.protobuf.FieldMask"),
        ("google/protobuf/source_context.proto", "google.protobuf.SourceContext"),
        ("google/protobuf/struct.proto", "google.protobuf.Struct"),
        ("google/protobuf/timestamp.proto", "google.protobuf.Timestamp"),
        ("google/protobuf/type.proto", "google.protobuf.Type"),
        ("google/protobuf/wrappers.proto", "google.protobuf.BoolValue"),
        ("google/type/calendar_period.proto", "google.type.CalendarPeriod"),
        ("google/type/color.proto", "google.type.Color"),
        ("google/type/date.proto", "google.type.Date"),
        ("google/type/datetime.proto", "google.type.DateTime"),
        ("google/type/dayofweek.proto", "google.type.DayOfWeek"),
        ("google/type/decimal.proto", "google.type.Decimal"),
        ("google/type/expr.proto", "google.type.Expr"),
        ("google/type/fraction.proto", "google.type.Fraction"),
        ("google/type/interval.proto", "google.type.Interval"),
        ("google/type/latlng.proto", "google.type.LatLng"),
        ("google/type/money.proto", "google.type.Money"),
        ("google/type/month.proto", "google.type.Month"),
        ("google/type/phone_number.proto", "google.type.PhoneNumber"),
        ("google/type/postal_address.proto", "google.type.PostalAddress"),
        ("google/type/quaternion.proto", "google.type.Quaternion"),
        ("google/type/timeofday.proto", "google.type.TimeOfDay"),
    ];
    for (file, of) in files {
        let main = format!("syntax = \"proto3\"; import \"{file}\"; message M {{ {of} field = 1; }}");
        assert!(parse(&main, &[]).is_ok(), "{file}");
        // A registry may give it all the same.
        let given = format!("syntax = \"proto3\"; package {};", of.rsplit_once('.').unwrap().0);
        let _ = parse(&main, &[(file, &given)]);
    }
    let main = "syntax = \"proto3\"; import \"confluent/type/decimal.proto\"; message M { confluent.type.Decimal d = 1; }";
    let schema = parse(main, &[]).unwrap();
    assert_eq!(decode(&schema, "M", b"\x0a\x05\x0a\x01\x01\x18\x02"), r#"{"d":{"value":"AQ==","scale":2}}"#);
}

#[test]
fn options_of_others_are_passed_over() {
    let main = r#"
        syntax = "proto3";
        package shop;
        import "confluent/meta.proto";
        option java_package = "x";
        option (confluent.file_meta).doc = "of the file";
        message Order {
          option (confluent.message_meta) = { doc: "an order", params: { key: "a" value: "b" }, tags: ["PII"] };
          string name = 1 [(confluent.field_meta) = { tags: "PII" }, deprecated = true, (unknown.option) = 5];
          Kind kind = 2 [default = TEN, json_name = "sort"];
          enum Kind { option (confluent.enum_meta).doc = "x"; ZERO = 0 [(a.b) = {}]; TEN = 10; }
          oneof o { option (c) = 1; int32 x = 3; }
          extensions 100 to 200;
        }
        service Orders { rpc Get(Order) returns (Missing) { option (google.api.http) = { get: "/v1" }; } }
    "#;
    // Neither defaults nor extension ranges are of proto3: whoever registered it had a compiler that minds.
    let main = main.replace("default = TEN, ", "").replace("extensions 100 to 200;", "");
    let schema = parse(&main, &[]).unwrap();
    assert_eq!(decode(&schema, "shop.Order", b"\x0a\x01a\x10\x0a"), r#"{"name":"a","sort":"TEN"}"#);
}

#[test]
fn descriptors_in_base64_are_schemas_too() {
    let set = FileDescriptorSet::decode(include_bytes!("golden/protobuf/golden.binpb").as_slice()).unwrap();
    let encoded = |name: &str| {
        let file = set.file.iter().find(|file| file.name() == name).unwrap();
        STANDARD.encode(file.encode_to_vec())
    };
    let (shop, common, deeper, deepest) =
        (encoded("shop.proto"), encoded("common.proto"), encoded("deeper.proto"), encoded("deepest.proto"));
    let text = include_str!("golden/protobuf/deeper.proto");
    for deeper in [deeper.as_str(), text] {
        let references =
            [("common.proto", common.as_str()), ("deeper.proto", deeper), ("deepest.proto", &deepest)];
        let schema = parse(&shop, &references).unwrap();
        assert_eq!(decode(&schema, "golden.shop.Order", b"\x22\x03\x0a\x01a"), r#"{"note":{"text":"a"}}"#);
        // In a descriptor the entries of maps count: Customer.LabelsEntry comes first.
        assert_eq!(schema.message_by_indexes(&[0, 1]).unwrap().name(), "golden.shop.Customer.Address");
    }
    assert!(refused("AAAA", &[]).contains("descriptor"));
}

#[test]
fn entries_that_a_registry_wrote_out_are_maps_and_count() {
    let main = r#"
        syntax = "proto3";
        message Order {
          repeated LabelsEntry labels = 1;
          message LabelsEntry { option map_entry = true; string key = 1; int32 value = 2; }
          message Item { string sku = 1; }
        }
    "#;
    let schema = parse(main, &[]).unwrap();
    assert_eq!(decode(&schema, "Order", b"\x0a\x05\x0a\x01a\x10\x05"), r#"{"labels":{"a":5}}"#);
    assert_eq!(schema.message_by_indexes(&[0, 1]).unwrap().name(), "Order.Item");
}

#[test]
fn a_schema_that_is_wrong_is_refused_with_a_reason() {
    for (main, reason) in [
        ("message", "the schema: expected an identifier, but reached end of file"),
        ("syntax = \"proto3\"; message A { B b = 1; }", "B"),
        ("syntax = \"proto3\"; import \"x.proto\";", "imports x.proto, which is not there"),
        ("syntax = \"proto4\";", "proto4"),
        ("syntax = \"proto3\"; message A { int32 a = 1; int32 b = 1; }", "1"),
        ("{\"type\": \"record\"}", "the schema:1:1"),
        ("syntax = \"proto3\"; message A {} message A {}", "A"),
    ] {
        let refused = refused(main, &[]);
        assert!(refused.contains(reason), "{refused}");
    }
    let missing = refused(
        "syntax = \"proto3\"; import \"a.proto\";",
        &[("a.proto", "syntax = \"proto3\"; import \"b.proto\";")],
    );
    assert_eq!(missing, "a.proto: imports b.proto, which is not there");
    assert!(Schema::from_descriptor_set(b"", Options::default()).is_err());
    assert!(Schema::from_descriptor_set(b"\xff", Options::default()).is_err());
    // Nothing in it is a schema, of which no message can be.
    assert!(parse("", &[]).unwrap().message_by_indexes(&[0]).is_err());
}

#[test]
fn imports_that_go_in_a_circle_end() {
    let file = |import: &str, name: &str| {
        format!("syntax = \"proto3\"; import public \"{import}\"; message {name} {{}}")
    };
    let (a, b) = (file("b.proto", "A"), file("a.proto", "B"));
    let main = "syntax = \"proto3\"; import \"a.proto\"; message M { A a = 1; B b = 2; }";
    let _ = parse(main, &[("a.proto", &a), ("b.proto", &b)]);
    let itself = file("a.proto", "A");
    let _ = parse(main, &[("a.proto", &itself)]);
    let _ = parse("import \"the schema\";", &[("the schema", "import \"the schema\";")]);
}

#[test]
fn sizes_and_depths_are_bounded() {
    // On a stack as a thread of the runtime has it.
    std::thread::Builder::new().stack_size(2 << 20).spawn(hostile).unwrap().join().unwrap();
}

fn hostile() {
    let nested = "message A { ".repeat(100_000) + &"}".repeat(100_000);
    assert!(parse(&nested, &[]).is_err());
    let groups = "message M {".to_owned() + &"optional group A = 1 { ".repeat(10_000) + &"}".repeat(10_001);
    assert!(parse(&groups, &[]).is_err());
    for text in [
        "/*",
        "/**/",
        "{",
        "[",
        "(",
        "option a = {",
        "extend a {",
        "message A { oneof a { group A = 1 {",
        "\"",
        "'",
        "\\",
        "<",
        "//\n",
    ] {
        let _ = parse(&text.repeat((1 << 20) / text.len()), &[]);
        let _ = parse(&format!("option a = {}", text.repeat(100_000)), &[]);
    }
    assert!(refused(&" ".repeat(5 << 20), &[]).contains("bytes"));
    let chain: Vec<(String, String)> = (0..999)
        .map(|at| {
            (
                format!("{at}.proto"),
                format!("syntax = \"proto3\"; import public \"{}.proto\"; message M{at} {{}}", at + 1),
            )
        })
        .collect();
    let mut references: Vec<(&str, &str)> =
        chain.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    references.truncate(998);
    references.push(("998.proto", "syntax = \"proto3\"; message Last {}"));
    let main = "syntax = \"proto3\"; import \"0.proto\"; message M { Last last = 1; }";
    assert!(parse(main, &references).is_ok());
    references.push(("more.proto", ""));
    assert!(refused(main, &references).contains("files"));
    deep_descriptors();
}

/// A descriptor that nests deeper than any text can.
fn deep_descriptors() {
    for depth in [30, 90, 1_000] {
        let leaf = DescriptorProto { name: Some("A".to_owned()), ..Default::default() };
        let mut message = leaf.clone();
        for _ in 0..depth {
            message = DescriptorProto { nested_type: vec![message], ..leaf.clone() };
        }
        let file = FileDescriptorProto { message_type: vec![message.clone()], ..Default::default() };
        let _ = parse(&STANDARD.encode(file.encode_to_vec()), &[]);
        // Dropped as it was made, level by level.
        let mut next = Some(message);
        while let Some(mut message) = next {
            next = message.nested_type.pop();
        }
    }
}

#[test]
fn descriptors_that_no_compiler_makes_do_no_harm() {
    let field = |number: i32, kind: i32, name: Option<&str>| FieldDescriptorProto {
        name: Some(format!("f{number}")),
        number: Some(number),
        label: Some(3),
        r#type: Some(kind),
        type_name: name.map(str::to_owned),
        ..Default::default()
    };
    let entry = Some(MessageOptions { map_entry: Some(true), ..Default::default() });
    let message = |name: &str, fields: Vec<FieldDescriptorProto>, options: Option<MessageOptions>| {
        DescriptorProto { name: Some(name.to_owned()), field: fields, options, ..Default::default() }
    };
    let main = |others: Vec<DescriptorProto>| {
        let mut messages = vec![message("M", vec![field(1, 11, Some(".E"))], None)];
        messages.extend(others);
        let file = FileDescriptorProto {
            syntax: Some("proto3".to_owned()),
            message_type: messages,
            ..Default::default()
        };
        STANDARD.encode(file.encode_to_vec())
    };
    let entries = [
        vec![],
        vec![field(1, 9, None)],
        vec![field(1, 9, None), field(2, 9, None)],
        vec![field(1, 11, Some(".E")), field(2, 11, Some(".E"))],
        vec![field(1, 99, None), field(2, -1, None)],
        vec![field(-1, 9, None), field(0, 9, None), field(i32::MAX, 9, None)],
    ];
    for fields in entries {
        let Ok(schema) = parse(&main(vec![message("E", fields, entry.clone())]), &[]) else { continue };
        for wire in
            [b"\x0a\x00".as_slice(), b"\x0a\x06\x0a\x01a\x12\x01b\x0a\x00", b"\x0a\x04\x0a\x02\x0a\x00"]
        {
            let mut out = Vec::new();
            if schema.message_by_name("M").unwrap().decode(wire, &mut out).is_ok() {
                serde_json::from_slice::<serde_json::Value>(&out).unwrap();
            }
        }
    }
}

#[test]
fn googles_names_with_other_content_do_no_harm() {
    let main = r#"
        syntax = "proto3";
        package google.protobuf;
        message Value { oneof kind { Value value = 1; string text = 2; } }
        message Struct { repeated Struct structs = 1; int32 more = 2; }
        message ListValue { ListValue list = 1; }
        message Int64Value { Int64Value value = 1; }
        message Timestamp { Timestamp seconds = 1; string nanos = 2; }
        message Any { Any type_url = 1; Any value = 2; }
        message Empty { string text = 1; }
    "#;
    let schema = parse(main, &[]).unwrap();
    let mut deep = Vec::new();
    for _ in 0..30 {
        deep = [&[0x0a, deep.len() as u8], deep.as_slice()].concat();
    }
    for name in ["Value", "Struct", "ListValue", "Int64Value", "Timestamp", "Any", "Empty"] {
        for wire in [b"".as_slice(), b"\x0a\x00", b"\x12\x00\x0a\x00\x12\x00", &deep] {
            let mut out = Vec::new();
            let decoded =
                schema.message_by_name(&format!("google.protobuf.{name}")).unwrap().decode(wire, &mut out);
            if decoded.is_ok() {
                serde_json::from_slice::<serde_json::Value>(&out).expect(name);
            }
        }
    }
}

#[test]
fn a_schema_with_very_many_messages_is_read() {
    let mut main = "syntax = \"proto3\";".to_owned();
    for at in 0..2_000 {
        write!(
            main,
            "message M{at} {{ M{} next = {}; map<string, M0> all = 3; }}",
            (at + 1) % 2_000,
            at % 2 + 1
        )
        .unwrap();
    }
    let schema = parse(&main, &[]).unwrap();
    assert_eq!(schema.message_by_indexes(&[1999]).unwrap().name(), "M1999");
}
