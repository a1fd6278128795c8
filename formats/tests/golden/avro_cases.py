"""The schemas and values of Avro's golden files."""

import dataclasses
import struct
from typing import Any

I32 = (-(2**31), 2**31 - 1)
I64 = (-(2**63), 2**63 - 1)
DAY = 86_400


@dataclasses.dataclass
class Raw:
    """A value as fastavro writes it: a branch that it could not tell is a tuple of its name and the value."""

    raw: Any


@dataclasses.dataclass
class Case:
    """A schema with its values: bytes that are written by hand here, or values to be written."""

    schema: Any
    values: list
    # Each after those that it refers to.
    references: list = dataclasses.field(default_factory=list)
    # Whether fastavro's JSON encoding is a second opinion on this case. Its writer of JSON has no numbers that are not finite, ends
    # in endless recursion for types that contain themselves, and takes an empty key for none.
    json_encoding: bool = True


def raw(*values):
    return [Raw(value) for value in values]


def record(name, /, **fields):
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields.items()]}


def long(value):
    value = (value << 1) ^ (value >> 63)
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def string(value):
    return long(len(value.encode())) + value.encode()


def twos(value):
    """An integer as the fewest bytes of two's complement."""
    return value.to_bytes((8 + (value + (value < 0)).bit_length()) // 8, "big", signed=True)


def primitives():
    yield "null", Case("null", raw(None))
    yield "boolean", Case({"type": "boolean"}, raw(True, False))
    yield "int", Case("int", raw(0, 1, -1, 63, 64, -64, -65, 8191, 8192, *I32))
    wide = [2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**31, 2**62, *I64]
    yield "long", Case("long", raw(0, -1, *wide))
    yield "float", Case("float", raw(0.0, -0.0, 1.0, 0.10000000149011612, 3.4028234663852886e38, 1e-45,
                                     16777216.0, float("nan"), float("inf"), float("-inf")), json_encoding=False)
    yield "double", Case("double", raw(0.0, -0.0, 1.0, 0.1, 1e16, 1e21, 123456789.125, 5e-324, 1e-7,
                                       1.7976931348623157e308, 9007199254740993.0, float("nan"),
                                       float("inf"), float("-inf")), json_encoding=False)
    texts = ["", "a", "quote\" back\\slash /", "\x00\x01\x08\t\n\x0b\x0c\r\x1f\x7f", "Gruß 世界 🚀 \u2028\u2029",
             "e\u0301\u200d\ufeff", "\U0010ffff", "x" * 300]
    yield "string", Case("string", raw(*texts))
    yield "bytes", Case("bytes", raw(b"", b"a", b"ab", b"abc", bytes(range(256))))
    yield "enum", Case({"type": "enum", "name": "Suit", "symbols": ["SPADES", "HEARTS", "_d1"], "default": "HEARTS"},
                       raw("SPADES", "HEARTS", "_d1"))
    yield "fixed", Case({"type": "fixed", "name": "Md5", "namespace": "a.b", "size": 4}, raw(b"\x00\x7f\x80\xff", b"abcd"))


def records():
    inner = record("Inner", a="int", b="string")
    yield "record", Case(record("Outer", before="null", inner=inner, again="Inner", after="boolean"),
                         raw({"before": None, "inner": {"a": 1, "b": "x"}, "again": {"a": 2, "b": ""}, "after": True}))
    yield "record_empty", Case(record("Holds", nothing=record("Nothing"), more={"type": "array", "items": "Nothing"}),
                               raw({"nothing": {}, "more": [{}, {}]}))
    node = record("Node", value="long", next=["null", "Node"])
    chain = None
    for value in range(40):
        chain = {"value": value, "next": chain}
    yield "recursive_list", Case(node, raw({"value": 1, "next": None}, {"value": 1, "next": {"value": 2, "next": None}}, chain),
                                 json_encoding=False)
    tree = record("Tree", name="string", children={"type": "array", "items": "Tree"}, byKey={"type": "map", "values": "Tree"})
    leaf = {"name": "leaf", "children": [], "byKey": {}}
    yield "recursive_tree", Case(tree, raw(leaf, {"name": "root", "children": [leaf, leaf], "byKey": {"k": leaf}}), json_encoding=False)
    husband = record("Man", name="string", wife=["null", record("Woman", name="string", man=["null", "Man"])])
    yield "recursive_mutual", Case(husband, raw(
        {"name": "A", "wife": {"name": "B", "man": {"name": "C", "wife": None}}}, {"name": "D", "wife": None}), json_encoding=False)


def unions():
    yield "union_null_first", Case(record("R", a=["null", "string"], b=["null", "long"]),
                                   raw({"a": None, "b": None}, {"a": "", "b": 2**60}))
    yield "union_null_last", Case(record("R", a=["string", "null"], b=["double", "null"]),
                                  raw({"a": None, "b": 0.5}, {"a": "null", "b": None}))
    shapes = [record("Circle", r="double"), record("Square", side="double"), "null"]
    shapes[1]["namespace"] = "shapes.flat"
    yield "union_records", Case({"type": "array", "items": shapes}, raw([
        ("Circle", {"r": 1.5}), ("shapes.flat.Square", {"side": 2.0}), None]))
    # Every branch by hand, since values alone do not say which branch they are.
    several = ["null", "boolean", "int", "long", "float", "double", "string", "bytes",
               {"type": "array", "items": "int"}, {"type": "map", "values": ["null", "string"]},
               {"type": "enum", "name": "n.E", "symbols": ["A", "B"]}, {"type": "fixed", "name": "F", "size": 2},
               record("R", a="int")]
    contents = [b"", b"\x01", long(-5), long(2**40), struct.pack("<f", 1.5), struct.pack("<d", -2.25), string("ü"),
                long(2) + b"\xffA", long(2) + long(1) + long(2) + long(0),
                long(2) + string("a") + long(0) + string("b") + long(1) + string("x") + long(0),
                long(1), b"\x80z", long(7)]
    yield "union_several", Case(several, [long(at) + content for at, content in enumerate(contents)])
    yield "union_logical", Case(["null", {"type": "long", "logicalType": "timestamp-millis"},
                                 {"type": "int", "logicalType": "date"},
                                 {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3},
                                 {"type": "string", "logicalType": "uuid"}],
                                [long(0), long(1) + long(1), long(2) + long(1), long(3) + long(1) + b"\x05",
                                 long(4) + string("00112233-4455-6677-8899-aabbccddeeff")])


def collections():
    ints = {"type": "array", "items": "int"}
    in_blocks = long(2) + long(1) + long(2) + long(-3) + long(3) + long(3) + long(4) + long(5) + long(1) + long(6) + long(0)
    yield "array", Case(ints, [*raw([], [1], list(range(300))), in_blocks])
    yield "array_nested", Case({"type": "array", "items": ints}, raw([], [[]], [[1], [], [2, 3]]))
    yield "array_nulls", Case({"type": "array", "items": "null"}, [*raw([None]), long(3) + long(-2) + long(0) + long(0)])
    strings = {"type": "map", "values": "string"}
    blocks = long(1) + string("a") + string("x") + long(-1) + long(4) + string("b") + string("y") + long(0)
    yield "map", Case(strings, [*raw({}, {"k": "v"}, {"e": "", "quote\"": "\n", "ключ": "значение"}), blocks])
    yield "map_empty_key", Case(strings, raw({"": "", "a": "b"}), json_encoding=False)
    yield "map_of_maps", Case({"type": "map", "values": {"type": "map", "values": ["null", "long"]}},
                              raw({"a": {}, "b": {"c": None, "d": 5}}))


def decimals():
    def of_bytes(scale, precision=4000):
        return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}

    numbers = [0, 1, -1, 9, 10, 99, 100, -100, 127, 128, -128, -129, 12345, -12345, 2**63 - 1, -(2**63), 2**64, 2**127 - 1,
               -(2**127), 2**127, 10**38 - 1, -(10**38), 10**57, 10**76 - 1, -(10**76) + 1, 2**1023, -(2**2000) + 1]
    for scale in (0, 2, 10, 38):
        yield f"decimal_{scale}", Case(of_bytes(scale), raw(*map(twos, numbers)))
    yield "decimal_no_scale", Case({"type": "bytes", "logicalType": "decimal", "precision": 4}, raw(twos(1234)))
    padded = [b"\x00\x00\x05", b"\xff\xff\xfb", b"\x00" * 40, b"\xff" * 40]
    yield "decimal_padded", Case(of_bytes(1), raw(*padded))
    for size, precision in ((1, 2), (8, 18), (16, 38), (32, 76), (100, 240)):
        schema = {"type": "fixed", "name": "D", "size": size, "logicalType": "decimal", "precision": precision, "scale": 2}
        ends = [0, 1, -1, 10**precision - 1, -(10**precision) + 1]
        yield f"decimal_fixed_{size}", Case(schema, raw(*(n.to_bytes(size, "big", signed=True) for n in ends)))
    big = [(0, 0), (5, 1), (-5, 3), (12345, 2), (10**40, 20), (7, -3)]
    yield "big_decimal", Case({"type": "bytes", "logicalType": "big-decimal"},
                              raw(*(long(len(twos(n))) + twos(n) + long(scale) for n, scale in big)))


def times():
    def of(kind, name):
        return {"type": kind, "logicalType": name}

    leap = [11016, 11017, 19782, 19783, -25509, -25508, 47540, 47541]  # around 2000-02-29, 2024-02-29, 1900-02-28, 2100-02-28
    years = [-719162, -719163, -719528, -719529, 2932896, 2932897, 365_242_134, -366_000_000]
    yield "date", Case(of("int", "date"), raw(0, 1, -1, *leap, *years, *I32))
    yield "time_millis", Case(of("int", "time-millis"), raw(0, 1, 999, 1000, 43_200_000, 86_399_999))
    yield "time_micros", Case(of("long", "time-micros"), raw(0, 1, 10**6, 86_399_999_999))
    for unit, per_second in (("millis", 10**3), ("micros", 10**6), ("nanos", 10**9)):
        seconds = [0, 1, -1, 951_782_400, 951_868_799, 1_709_208_000, -2_208_988_800, 4_107_542_400]
        counts = [s * per_second + f for s in seconds for f in (0, 1, per_second - 1)]
        if unit != "nanos":
            # The ends of Python's calendar, and of four digits.
            counts += [s * per_second for s in (-62_135_596_800, -62_135_596_801, 253_402_300_799, 253_402_300_800,
                                                -62_167_219_200, -62_167_219_201)]
        for prefix in ("timestamp", "local-timestamp"):
            name = f"{prefix}-{unit}"
            yield name.replace("-", "_"), Case(of("long", name), raw(*counts, *I64))
    durations = [(0, 0, 0), (1, 2, 3500), (14, 400, 86_400_001), (2**32 - 1,) * 3]
    yield "duration", Case({"type": "fixed", "name": "Span", "size": 12, "logicalType": "duration"},
                           raw(*(struct.pack("<III", *d) for d in durations)))
    uuids = ["00112233-4455-6677-8899-aabbccddeeff", "ffffffff-ffff-ffff-ffff-ffffffffffff"]
    yield "uuid", Case(of("string", "uuid"), raw(*uuids))
    yield "uuid_fixed", Case({"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"},
                             raw(*(bytes.fromhex(u.replace("-", "")) for u in uuids)))


def ignored():
    """Logical types that do not count."""

    def of(kind, name, **more):
        return {"type": kind, "logicalType": name, **more}

    fixed = {"type": "fixed", "size": 3}
    fields = dict(
        unknown=of("int", "temperature"), on_int=of("int", "timestamp-millis"), on_long=of("long", "date"),
        on_string=of("string", "decimal", precision=3), scale=of("bytes", "decimal", precision=2, scale=3),
        zero=of("bytes", "decimal", precision=0), without=of("bytes", "decimal"), on_enum={
            "type": "enum", "name": "E", "symbols": ["A"], "logicalType": "uuid"},
        short={**fixed, "name": "Short", "logicalType": "uuid"}, span={**fixed, "name": "Span", "logicalType": "duration"},
        wide={**fixed, "name": "Wide", "logicalType": "decimal", "precision": 8, "scale": 2},
        widest={**fixed, "name": "Widest", "logicalType": "decimal", "precision": 6, "scale": 2},
        on_array={"type": "array", "items": "int", "logicalType": "date"}, on_double=of("double", "time-micros"))
    value = dict(unknown=1, on_int=2, on_long=3, on_string="4", scale=b"\x05", zero=b"\x06", without=b"\x07", on_enum="A",
                 short=b"abc", span=b"def", wide=b"\x00\x01\x00", widest=b"\x00\x01\x00", on_array=[1], on_double=2.5)
    yield "ignored", Case(record("Ignored", **fields), raw(value))


def names():
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "again", "type": ["null", "Inner"]}]}
    other = {"type": "enum", "name": "Kind", "namespace": "z", "symbols": ["K"]}
    full = {"type": "fixed", "name": "q.Full", "namespace": "ignored", "size": 1}
    outer = {"type": "record", "name": "Outer", "namespace": "a.b", "doc": "A doc.", "aliases": ["Older", "x.Oldest"], "fields": [
        {"name": "inner", "type": inner, "aliases": ["was"]}, {"name": "other", "type": ["null", other]},
        {"name": "full", "type": full}, {"name": "by_full", "type": ["null", "a.b.Inner"]},
        {"name": "by_space", "type": ["int", "z.Kind"]}, {"name": "more", "type": "q.Full", "order": "ignore", "x-own": {"type": 5}}]}
    value = {"inner": {"again": {"again": None}}, "other": "K", "full": b"1", "by_full": {"again": None}, "by_space": "K", "more": b"2"}
    yield "names", Case(outer, raw(value))
    defaults = {"type": "record", "name": "Defaults", "fields": [
        {"name": "n", "type": "null", "default": None}, {"name": "i", "type": "int", "default": 1},
        {"name": "d", "type": "double", "default": 1}, {"name": "s", "type": "string", "default": "x"},
        {"name": "b", "type": "bytes", "default": "\u00ff"}, {"name": "u", "type": ["null", "string"], "default": None},
        {"name": "a", "type": {"type": "array", "items": "int"}, "default": [1, 2]},
        {"name": "m", "type": {"type": "map", "values": "int"}, "default": {"a": 1}},
        {"name": "r", "type": record("Nested", x="int"), "default": {"x": 5}},
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}, "default": "B"},
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0}]}
    yield "defaults", Case(defaults, raw({"n": None, "i": 2, "d": 0.5, "s": "", "b": b"\x00", "u": "y", "a": [], "m": {},
                                          "r": {"x": 6}, "e": "A", "t": 1}))
    # Two versions of one subject: each value by the schema that it was written with.
    first = record("User", id="long", name="string")
    second = {"type": "record", "name": "User", "fields": [
        {"name": "id", "type": "long"}, {"name": "fullName", "type": "string", "aliases": ["name"]},
        {"name": "email", "type": ["null", "string"], "default": None}]}
    yield "evolution_1", Case(first, raw({"id": 1, "name": "Ann"}))
    yield "evolution_2", Case(second, raw({"id": 1, "fullName": "Ann", "email": None}, {"id": 2, "fullName": "Ben", "email": "b@x"}))


def references():
    address = {"type": "record", "name": "Address", "namespace": "geo", "fields": [
        {"name": "city", "type": "string"},
        {"name": "kind", "type": {"type": "enum", "name": "AddressKind", "symbols": ["HOME", "WORK"]}}]}
    person = {"type": "record", "name": "Person", "namespace": "people", "fields": [
        {"name": "name", "type": "string"}, {"name": "home", "type": ["null", "geo.Address"]},
        {"name": "boss", "type": ["null", "Person"]}]}
    order = {"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "by", "type": "people.Person"}, {"name": "to", "type": {"type": "array", "items": "geo.Address"}},
        {"name": "kind", "type": "geo.AddressKind"}]}
    home = {"city": "Ghent", "kind": "HOME"}
    ann = {"name": "Ann", "home": home, "boss": {"name": "Ben", "home": None, "boss": None}}
    yield "references", Case(order, raw({"by": ann, "to": [home, {"city": "", "kind": "WORK"}], "kind": "WORK"}),
                             references=[address, person], json_encoding=False)
    yield "references_union", Case(["people.Person", "geo.Address"],
                                   raw(("people.Person", ann), ("geo.Address", home)), references=[address, person],
                                   json_encoding=False)
    yield "references_name", Case("geo.Address", raw(home), references=[address])


def all_cases():
    groups = [primitives, records, unions, collections, decimals, times, ignored, names, references]
    return {name: case for group in groups for name, case in group()}
