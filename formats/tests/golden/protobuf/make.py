"""Makes cases.json and golden.binpb: wire bytes, and the JSON that Google's own library has for them.

    pip install -r requirements.txt && python make.py

The bytes of most cases are what the library writes. Those that ordinary writers do not make are put together here, and read by it.
"""

import json
import math
import pathlib
import struct
import tempfile

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, empty_pb2, field_mask_pb2
from google.protobuf import json_format, message_factory, struct_pb2, timestamp_pb2, wrappers_pb2
from grpc_tools import protoc
import grpc_tools

HERE = pathlib.Path(__file__).parent
FILES = ["deepest.proto", "deeper.proto", "common.proto", "shop.proto", "scalars.proto", "known.proto", "legacy.proto"]
GOOGLES = str(pathlib.Path(grpc_tools.__file__).parent / "_proto")

CASES = []


def compiled():
    """All files as a descriptor set, and a pool of them."""
    target = HERE / "golden.binpb"
    arguments = ["protoc", f"-I{HERE}", f"-I{GOOGLES}", "--include_imports", f"--descriptor_set_out={target}"]
    assert protoc.main(arguments + FILES) == 0
    found = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in found.file:
        pool.Add(file)
    return pool


POOL = compiled()


def of(name):
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def case(name, file, message, wire=None):
    """A message, or a class and the bytes that it reads."""
    if wire is None:
        # Maps are in no order otherwise.
        wire = message.SerializePartialToString(deterministic=True)
    else:
        message = message.FromString(wire)
    text = json_format.MessageToJson(message, indent=None, ensure_ascii=False, descriptor_pool=POOL)
    CASES.append({
        "case": name,
        "file": file,
        "message": message.DESCRIPTOR.full_name,
        "wire": wire.hex(),
        "json": text,
    })


# What is on the wire, by hand.

def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def tag(number, wire):
    return varint(number << 3 | wire)


def number(field, value):
    return tag(field, 0) + varint(value)


def text(field, value):
    value = value.encode() if isinstance(value, str) else value
    return tag(field, 2) + varint(len(value)) + value


EDGES = {
    "a_double": [1.0, -0.0, 0.1, -1.5e300, 5e-324, 1.7976931348623157e308, 123456789012345680.0, math.inf, -math.inf, math.nan],
    "a_float": [1.0, -0.0, 0.1, 3.4028234663852886e38, 1e-45, 16777216.0, math.inf, -math.inf, math.nan],
    "an_int32": [1, -1, 2**31 - 1, -(2**31)],
    "an_int64": [1, -1, 2**53 + 1, 2**63 - 1, -(2**63)],
    "a_uint32": [1, 2**32 - 1],
    "a_uint64": [1, 2**53 + 1, 2**64 - 1],
    "a_sint32": [1, -1, 2**31 - 1, -(2**31)],
    "a_sint64": [1, -1, 2**63 - 1, -(2**63)],
    "a_fixed32": [1, 2**32 - 1],
    "a_fixed64": [1, 2**64 - 1],
    "a_sfixed32": [1, -1, 2**31 - 1, -(2**31)],
    "a_sfixed64": [1, -1, 2**63 - 1, -(2**63)],
    "a_bool": [True],
    "a_string": ["a", "\u0000\u001f\u007f\"\\/\b\f\n\r\t", "\u20ac \U0001f600 \u2028\u2029", "e\u0301", "<script>"],
    "some_bytes": [b"\0", b"\xff\xfe\xfd\xfc", b"ab", b"?>?>"],
    "level": [1, 1000, -1, -(2**31), 7, 2**31 - 1],
}


def scalars():
    Scalars, Optional, Packed, Unpacked = (of(f"golden.{name}") for name in ["Scalars", "Optional", "Packed", "Unpacked"])
    file = "scalars.proto"
    case("nothing", file, Scalars())
    for field, values in EDGES.items():
        for value in values:
            case(f"{field} {value!r}", file, Scalars(**{field: value}))
    case("all", file, Scalars(**{field: values[-1] for field, values in EDGES.items()}))
    zeros = {"a_double": 0.0, "a_float": 0.0, "an_int32": 0, "an_int64": 0, "a_bool": False, "a_string": "", "some_bytes": b"", "level": 0}
    case("zeros that are there", file, Scalars, b"".join([
        tag(1, 1) + bytes(8), tag(2, 5) + bytes(4), number(3, 0), number(4, 0), number(13, 0), text(14, ""), text(15, ""), number(16, 0),
    ]))
    case("optional zeros", file, Optional(**zeros))
    case("optional nothing", file, Optional())
    for kind in [Packed, Unpacked]:
        fields = [field for field in EDGES if field in kind.DESCRIPTOR.fields_by_name]
        for field in fields:
            case(f"{kind.DESCRIPTOR.name} {field}", file, kind(**{field: EDGES[field] + EDGES[field][:1]}))
        case(f"all of {kind.DESCRIPTOR.name}", file, kind(**{field: EDGES[field] for field in fields}))
    packed = Packed(**{field: EDGES[field] for field in EDGES if field in Unpacked.DESCRIPTOR.fields_by_name})
    loose = Unpacked(**{field: EDGES[field] for field in EDGES if field in Unpacked.DESCRIPTOR.fields_by_name})
    case("packed bytes for an unpacked field", file, Unpacked, packed.SerializeToString())
    case("unpacked bytes for a packed field", file, Packed, loose.SerializeToString())
    case("packed and unpacked by turns", file, Packed, text(3, b"\1\2") + number(3, 3) + text(3, b"") + text(3, b"\4") + number(3, 5))
    case("a packed field with nothing in it", file, Packed, text(3, b""))
    case("the last one wins", file, Scalars, number(3, 1) + text(14, "a") + number(3, 2) + text(14, "b") + number(3, 0))
    case("the last one is zero", file, Scalars, number(3, 5) + number(3, 0))
    case("the last optional one is zero", file, Optional, number(3, 5) + number(3, 0))
    case("fields backwards", file, Scalars, number(16, 1) + text(14, "x") + number(13, 1) + number(3, 9) + tag(1, 1) + struct.pack("<d", 2.5))
    unknown = number(99, 5) + text(98, "unknown") + tag(97, 1) + bytes(8) + tag(96, 5) + bytes(4)
    unknown += tag(95, 3) + number(1, 1) + tag(94, 3) + text(2, "in") + tag(94, 4) + tag(95, 4)
    case("unknown fields", file, Scalars, unknown + number(3, 7) + unknown + text(14, "known") + unknown)
    case("another wire type is an unknown field", file, Scalars, text(3, "abc") + number(14, 7) + tag(1, 5) + bytes(4) + number(4, 1))
    case("unknown fields between values", file, Packed, number(3, 1) + number(99, 1) + number(3, 2) + text(14, "a") + number(99, 2) + text(14, "b"))
    case("values by turns", file, Packed, text(14, "a") + number(3, 1) + text(14, "b") + number(3, 2) + text(14, "c") + number(4, 3) + number(3, 4))
    case("bits beyond 32 are cut", file, Scalars, number(3, 2**40 + 5) + number(5, 2**40 + 6) + number(7, 2**40 + 7) + number(13, 2**40) + number(16, 2**40 + 1))
    case("varints longer than need be", file, Scalars, tag(3, 0) + b"\x85\x80\x80\x00" + tag(14, 2) + b"\x81\x00" + b"x" + b"\xa0\x00" + b"\x01")


def legacy():
    Legacy = of("golden.Legacy")
    file = "legacy.proto"
    case("a required field is missing", file, Legacy())
    case("defaults that are there", file, Legacy(name="", count=0, kind=1, raw=b""))
    message = Legacy(name="n", count=41, kind=-7, packed=[1, -1], loose=[2, -2], renamed="r", snake_case_name_2x="s", far=6)
    message.result.url = "u"
    message.result.part.add(size=1)
    message.result.part.add()
    message.modes["a"] = 1
    case("all of proto2", file, message)
    for choice in [{"text": ""}, {"number": 0}, {"other": Legacy(name="inner", number=2**60)}]:
        case(f"oneof {list(choice)}", file, Legacy(name="n", **choice))
    extended = Legacy(name="e")
    pool_extension = lambda name: POOL.FindExtensionByName(name)
    extended.Extensions[pool_extension("golden.extra")] = 0
    extended.Extensions[pool_extension("golden.more")].add(name="m")
    extended.Extensions[pool_extension("golden.Scope.within")] = "w"
    case("extensions", file, extended)
    group = tag(6, 3) + text(1, "one") + tag(2, 3) + number(1, 1) + tag(2, 4) + tag(6, 4)
    again = tag(6, 3) + text(1, "two") + tag(2, 3) + number(1, 2) + tag(2, 4) + tag(6, 4)
    case("groups merge", file, Legacy, group + text(1, "n") + again)
    case("packed by turns", file, Legacy, number(4, 1) + text(5, b"\1\2") + text(4, b"\3") + number(5, 4))


def shop():
    Order, Tree, Maps, Customer = (of(f"golden.shop.{name}") for name in ["Order", "Tree", "Maps", "Customer"])
    file = "shop.proto"
    order = Order(order_id=2**60, after="x", codes=[1, 2, 3])
    order.customer.name = "Ada"
    order.customer.labels["b"] = "2"
    order.customer.labels["a"] = "1"
    order.customer.address.street = "Main"
    order.customer.countries.add(code="SE", known=True)
    order.items.add(sku="a", count=1).price.units = -5
    order.items.add()
    order.items.add(sku="c")
    order.note.text = "public import of a public import"
    order.created_at.FromJsonString("2024-02-29T12:34:56.789Z")
    order.cash.currency = "SEK"
    order.parent.parent.order_id = 1
    case("an order", file, order)
    case("empty messages are there", file, Order(customer=Customer(), parent=Order(), cash={}))
    item = of("golden.shop.Order.Item.Third")
    case("a message of the index 1, 0, 2", file, item(third=3))
    for choice in [{"card": ""}, {"free": False}, {"voucher": {"code": "v"}}]:
        case(f"oneof {list(choice)}", file, Order(**choice))
    cash = lambda currency, units: text(8, (text(1, currency) if currency else b"") + (number(2, units) if units else b""))
    case("the last of a oneof", file, Order, text(6, "card") + cash("a", 1) + number(9, 0))
    case("the last of a oneof, earlier numbers", file, Order, number(9, 1) + text(6, "card") + text(10, "after"))
    case("a member of a oneof merges with itself", file, Order, cash("a", 0) + cash("", 7))
    case("but not when another came between", file, Order, cash("a", 1) + text(6, "card") + cash("", 7))
    case("nor when one came between, and then again", file, Order, cash("a", 1) + text(6, "x") + cash("", 7) + text(10, "y") + cash("b", 0))
    customer = lambda *parts: text(2, b"".join(parts))
    case("messages merge", file, Order,
         customer(text(1, "a"), text(3, text(1, "street"))) + number(1, 5)
         + customer(text(1, "b"), text(4, text(1, "SE")), text(3, b"")) + customer(text(4, number(2, 1)), text(2, text(1, "k") + text(2, "v"))))
    case("merged messages merge within", file, Order,
         text(13, text(13, number(1, 1))) + text(13, text(13, text(10, "x"))) + text(13, text(13, b"") + number(1, 3)))
    case("items by turns", file, Order, text(3, text(1, "a")) + number(12, 1) + text(3, b"") + text(12, b"\2\3") + text(3, text(1, "c")))

    tree = Tree(value=1, left=Tree(value=2, right=Tree(value=3)), more=[Tree(), Tree(value=4, more=[Tree(value=5)])])
    tree.named["x"].named["y"].value = 6
    tree.named[""].value = 7
    case("a tree", file, tree)
    deep = Tree(value=0)
    for value in range(1, 40):
        deep = Tree(value=value, left=deep)
    case("a deep tree", file, deep)

    integers = {"int32": 31, "sint32": 31, "sfixed32": 31, "int64": 63, "sint64": 63, "sfixed64": 63}
    maps = Maps()
    for kind, bits in integers.items():
        for key in [0, 1, -1, 2**bits - 1, -(2**bits)]:
            getattr(maps, f"by_{kind}")[key] = f"of {key}"
    for kind, bits in {"uint32": 32, "fixed32": 32, "uint64": 64, "fixed64": 64}.items():
        for key in [0, 1, 2**bits - 1]:
            getattr(maps, f"by_{kind}")[key] = f"of {key}"
    maps.by_bool[True] = "yes"
    maps.by_bool[False] = "no"
    for key in ["", "a", "\"quoted\"\n", "\u20ac\U0001f600"]:
        maps.by_string[key] = key
    case("maps of each type of key", file, maps)
    maps = Maps()
    maps.doubles["nan"], maps.doubles["zero"], maps.doubles["tenth"] = math.nan, 0.0, 0.1
    maps.bytes["a"], maps.bytes["empty"] = b"\xff", b""
    maps.kinds["home"], maps.kinds["work"], maps.kinds["what"] = 0, 1, 5
    maps.customers["ada"].name = "Ada"
    maps.customers["nobody"]
    maps.longs["most"], maps.longs["zero"] = 2**63 - 1, 0
    maps.times["then"].seconds = 1
    maps.times["epoch"]
    case("maps of each kind of value", file, maps)
    entry = lambda *parts: b"".join(parts)
    case("the last entry of a key wins", file, Maps, text(1, number(1, 5) + text(2, "a")) + text(1, number(1, 6) + text(2, "b")) + text(1, number(1, 5) + text(2, "c")))
    case("the last entry does not merge", file, Maps,
         text(16, text(1, "k") + text(2, text(1, "name"))) + text(16, text(1, "k") + text(2, text(3, b""))))
    case("entries without key or value", file, Maps, text(1, b"") + text(13, text(1, "k")) + text(16, text(1, "k")) + text(15, text(1, "k")) + text(12, text(2, "v")) + text(11, text(2, "b")))
    case("entries backwards, twice, with more", file, Maps,
         text(1, text(2, "old") + number(9, 9) + number(1, 1) + text(2, "new") + number(1, 2)) + number(99, 1) + text(1, text(2, "z")))
    case("a value within an entry merges", file, Maps, text(16, text(1, "k") + text(2, text(1, "n")) + text(2, text(3, text(1, "s")))))


def known():
    Known, Scalars = of("golden.Known"), of("golden.Scalars")
    file = "known.proto"

    def timestamp(seconds, nanos):
        return {"seconds": seconds, "nanos": nanos}

    instants = [(0, 0), (1, 1), (-1, 999999999), (1709210096, 500000000), (1709210096, 1000), (253402300799, 999999999), (-62135596800, 0)]
    for instant in instants:
        case(f"timestamp {instant}", file, Known(timestamp=timestamp(*instant)))
    for length in [(0, 0), (1, 0), (-1, -500000000), (0, -1), (315576000000, 999999999), (-315576000000, -999999999), (3, 1000000), (0, 10000)]:
        case(f"duration {length}", file, Known(duration=timestamp(*length)))
    for paths in [[], ["a"], ["user.display_name", "photo", "a_b_c.d_e"]]:
        case(f"field mask {paths}", file, Known(mask={"paths": paths}))
    for value in [None, True, False, 0, 1.5, -1e300, "", "text\n", [], [1, [None, "x", {}], True], {}, {"a": {"b": [1, {"c": None}]}, "": 0}]:
        holder = Known()
        parsed = struct_pb2.Value()
        json_format.Parse(json.dumps(value), parsed)
        holder.value.ParseFromString(parsed.SerializeToString(deterministic=True))
        case(f"value {value!r}", file, holder)
    case("an empty value", file, Known(value={}))
    holder = Known()
    json_format.ParseDict({"object": {"a": 1, "b": [None]}, "list": [1, "a", None, {"x": True}], "values": {"k": None, "l": [0]}}, holder, descriptor_pool=POOL)
    case("objects and lists", file, holder)
    case("an empty object and an empty list", file, Known(object={}, list={}))
    case("empty", file, Known(empty={}))
    case("nulls", file, Known(nothing=0, nothings=[0, 0], null=0))
    case("an object in parts", file, Known, text(4, text(1, text(1, "a") + text(2, number(4, 1)))) + text(4, text(1, text(1, "b") + text(2, text(3, "x")))))
    case("a value, then another", file, Known, text(5, tag(2, 1) + struct.pack("<d", 2.0)) + text(5, text(3, "last")))
    case("a timestamp in parts", file, Known, text(1, number(1, 5)) + text(1, number(2, 7)) + text(1, number(1, 6) + number(9, 9)))
    wrappers = {
        "a_double": [0.0, 0.5, math.inf], "a_float": [0.0, 0.1, math.nan], "an_int64": [0, 2**63 - 1], "a_uint64": [0, 2**64 - 1],
        "an_int32": [0, -1], "a_uint32": [0, 2**32 - 1], "a_bool": [False, True], "a_string": ["", "s"], "some_bytes": [b"", b"\xff"],
    }
    for field, values in wrappers.items():
        for value in values:
            case(f"wrapped {field} {value!r}", file, Known(**{field: {"value": value}}))
    case("a wrapped zero that is there", file, Known, text(12, number(1, 0)) + text(17, text(1, "")) + text(10, tag(1, 1) + bytes(8)))
    case("lists of them", file, Known(timestamps=[timestamp(1, 0), timestamp(2, 0)], longs=[{}, {"value": 5}]))
    case("a oneof of them", file, Known(wait={}))

    def any_of(name, message, prefix="type.googleapis.com/"):
        return {"type_url": prefix + name, "value": message.SerializeToString(deterministic=True)}

    inner = Scalars(an_int64=5, a_string="in", level=1)
    case("any", file, Known(any=any_of("golden.Scalars", inner)))
    case("any of an empty message", file, Known(any=any_of("golden.Scalars", Scalars(), "example.org/x/")))
    case("an empty any", file, Known(any={}))
    for name, message in {
        "Timestamp": timestamp_pb2.Timestamp(seconds=1), "Duration": duration_pb2.Duration(nanos=5000), "Empty": empty_pb2.Empty(),
        "FieldMask": field_mask_pb2.FieldMask(paths=["a_b"]), "Int64Value": wrappers_pb2.Int64Value(value=7), "StringValue": wrappers_pb2.StringValue(),
        "Struct": json_format.ParseDict({"a": [1]}, struct_pb2.Struct()), "Value": struct_pb2.Value(string_value="v"), "ListValue": json_format.ParseDict([1], struct_pb2.ListValue()),
    }.items():
        case(f"any of {name}", file, Known(any=any_of(f"google.protobuf.{name}", message)))
    outer = any_pb2.Any(**any_of("golden.Scalars", inner))
    case("any within any", file, Known(any=any_of("google.protobuf.Any", outer)))
    case("any of what has any", file, Known(anys=[any_of("golden.Known", Known(any=any_of("golden.Scalars", inner))), any_of("golden.Scalars", inner)]))
    case("an any in parts", file, Known, text(9, text(1, "a/golden.Scalars")) + text(9, text(2, inner.SerializeToString())))


scalars()
legacy()
shop()
known()
with open(HERE / "cases.json", "w", encoding="utf-8") as out:
    out.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=True) for case in CASES) + "\n]\n")
print(len(CASES), "cases")
