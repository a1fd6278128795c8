"""Registers schemas and serialises values with Confluent's own serialisers: what producers write.

    python3 serialize.py REGISTRY_URL

Each line that it prints is a JSON object: the topic, the bytes of key and value in hexadecimal, and what a page should see of the value.
"""

import datetime
import decimal
import json
import sys
import uuid

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

client = SchemaRegistryClient({"url": sys.argv[1]})


def show(topic, serializer, value, seen, key=b""):
    context = SerializationContext(topic, MessageField.VALUE)
    data = serializer(value, context)
    print(json.dumps({"topic": topic, "key": key.hex(), "value": data.hex(), "seen": seen}))


def avro():
    text = json.dumps({
        "type": "record", "name": "Order", "namespace": "shop",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}},
            {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "note", "type": ["null", "string"], "default": None},
            {"name": "tags", "type": {"type": "map", "values": "int"}},
            {"name": "uid", "type": {"type": "string", "logicalType": "uuid"}},
        ],
    })
    serializer = AvroSerializer(client, text)
    for number in range(3):
        show("avro", serializer, {
            "id": 2**53 + number,
            "state": "PAID",
            "total": decimal.Decimal("12.50"),
            "at": datetime.datetime(2026, 7, 1, 10, 20, 30, 5000, tzinfo=datetime.timezone.utc),
            "note": None if number == 0 else "n\u00e4chste",
            "tags": {"a": number},
            "uid": uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"),
        }, {
            "id": 2**53 + number,
            "state": "PAID",
            "total": "12.50",
            "at": "2026-07-01T10:20:30.005Z",
            "note": None if number == 0 else "n\u00e4chste",
            "tags": {"a": number},
            "uid": "00112233-4455-6677-8899-aabbccddeeff",
        })
    # A later version of the schema: another id in the same topic.
    later = json.loads(text)
    later["fields"].append({"name": "more", "type": "boolean", "default": False})
    serializer = AvroSerializer(client, json.dumps(later))
    show("avro-later", serializer, {
        "id": 7, "state": "NEW", "total": decimal.Decimal("0.01"), "note": None, "tags": {}, "more": True,
        "at": datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc), "uid": uuid.UUID(int=0),
    }, {
        "id": 7, "state": "NEW", "total": "0.01", "note": None, "tags": {}, "more": True,
        "at": "1970-01-01T00:00:00.000Z", "uid": "00000000-0000-0000-0000-000000000000",
    })


def field(message, name, number, kind, type_name=None, repeated=False):
    added = message.field.add(name=name, number=number, type=kind)
    added.label = added.LABEL_REPEATED if repeated else added.LABEL_OPTIONAL
    if type_name:
        added.type_name = type_name


def protobuf():
    kinds = descriptor_pb2.FieldDescriptorProto
    common = descriptor_pb2.FileDescriptorProto(name="shop/common.proto", package="shop", syntax="proto3")
    money = common.message_type.add(name="Money")
    field(money, "currency_code", 1, kinds.TYPE_STRING)
    field(money, "units", 2, kinds.TYPE_INT64)
    orders = descriptor_pb2.FileDescriptorProto(name="shop/orders.proto", package="shop", syntax="proto3")
    orders.dependency.append("shop/common.proto")
    orders.dependency.append("google/protobuf/timestamp.proto")
    orders.message_type.add(name="Unused")
    outer = orders.message_type.add(name="Events")
    inner = outer.nested_type.add(name="Placed")
    field(inner, "order_id", 1, kinds.TYPE_INT64)
    field(inner, "price", 2, kinds.TYPE_MESSAGE, ".shop.Money")
    field(inner, "placed_at", 3, kinds.TYPE_MESSAGE, ".google.protobuf.Timestamp")
    field(inner, "lines", 4, kinds.TYPE_STRING, repeated=True)
    pool = descriptor_pool.Default()
    pool.Add(common)
    pool.Add(orders)
    placed = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Events.Placed"))
    serializer = ProtobufSerializer(placed, client, {"use.deprecated.format": False})
    for number in range(3):
        message = placed(order_id=number + 1, lines=["tea", "milk"][: number])
        message.price.currency_code = "EUR"
        message.price.units = 2**40
        message.placed_at.FromJsonString("2026-07-01T10:20:30Z")
        seen = {
            "orderId": number + 1,
            "price": {"currencyCode": "EUR", "units": 2**40},
            "placedAt": "2026-07-01T10:20:30Z",
        }
        if number:
            seen["lines"] = ["tea", "milk"][: number]
        show("protobuf", serializer, message, seen)


def json_schema():
    text = json.dumps({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Order",
        "type": "object",
        "properties": {"id": {"type": "integer"}, "note": {"type": "string"}},
        "required": ["id"],
    })
    serializer = JSONSerializer(text, client)
    for number in range(3):
        value = {"id": number, "note": "\u00fc\n"}
        show("json-schema", serializer, value, value)


def changes():
    """What Debezium writes of a row that is inserted, changed and deleted."""
    text = json.dumps({
        "type": "record", "name": "Envelope", "namespace": "shop.public.orders",
        "fields": [
            {"name": "before", "type": ["null", {
                "type": "record", "name": "Value",
                "fields": [{"name": "id", "type": "long"}, {"name": "state", "type": "string"}],
            }], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "op", "type": "string"},
        ],
    })
    key = json.dumps({
        "type": "record", "name": "Key", "namespace": "shop.public.orders", "fields": [{"name": "id", "type": "long"}],
    })
    key = AvroSerializer(client, key)({"id": 7}, SerializationContext("changes", MessageField.KEY))
    serializer = AvroSerializer(client, text)
    new, paid = {"id": 7, "state": "NEW"}, {"id": 7, "state": "PAID"}
    for before, after, op in [(None, new, "c"), (new, paid, "u"), (paid, None, "d")]:
        show("changes", serializer, {"before": before, "after": after, "op": op}, after, key)


avro()
protobuf()
json_schema()
changes()
