"""Makes cases.json: what the library msgpack writes, and the JSON that a page should see for it.

    pip install -r requirements.txt && python make.py

The library has no JSON of its own: what is no JSON is turned into it here, as src/msgpack.rs documents it. Numbers are as text, with all
their digits. The bytes of some cases are put together here, and read by the library.
"""

import base64
import datetime
import json
import math
import pathlib
import re
import struct

import msgpack

HERE = pathlib.Path(__file__).parent
CASES = []


class Pairs(list):
    """A map as it is written: with keys of any type, also twice."""


def read(wire):
    return msgpack.unpackb(wire, object_pairs_hook=Pairs, strict_map_key=False, timestamp=0, unicode_errors="strict")


def b64(data):
    return base64.b64encode(data).decode()


def instant(stamp):
    at = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=stamp.seconds)
    text = at.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    nanos = stamp.nanoseconds
    digits = 0 if nanos == 0 else 3 if nanos % 1_000_000 == 0 else 6 if nanos % 1000 == 0 else 9
    fraction = f".{nanos:09d}"[:digits + 1] if digits else ""
    return f"{text}{fraction}Z"


def page(value):
    """The value as JSON text."""
    match value:
        case None | bool() | int() | str():
            return json.dumps(value, ensure_ascii=False)
        case float() if math.isnan(value):
            return '"NaN"'
        case float() if math.isinf(value):
            return '"Infinity"' if value > 0 else '"-Infinity"'
        case float():
            return json.dumps(value)
        case bytes():
            return json.dumps(b64(value))
        case msgpack.Timestamp() if -62_135_596_800 <= value.seconds <= 253_402_300_799:
            return json.dumps(instant(value))
        case msgpack.Timestamp():
            return f'{{"ext":-1,"base64":{json.dumps(b64(value.to_bytes()))}}}'
        case msgpack.ExtType():
            return f'{{"ext":{value.code},"base64":{json.dumps(b64(value.data))}}}'
        case Pairs():
            return "{" + ",".join(f"{key(name)}:{page(inner)}" for name, inner in value) + "}"
        case list():
            return "[" + ",".join(page(inner) for inner in value) + "]"
    raise TypeError(value)


def key(value):
    text = page(value)
    return text if text.startswith('"') else json.dumps(text, ensure_ascii=False)


def case(name, wire):
    CASES.append({"case": name, "wire": wire.hex(), "json": page(read(wire))})


def packed(name, value, **options):
    case(name, msgpack.packb(value, **options))


for name, value in {
    "nil": None, "true": True, "false": False, "empty string": "", "empty array": [], "empty map": {}, "empty binary": b"",
    "escapes": "\0\x1f\x7f\"\\/\b\f\n\r\t \u20ac \U0001f600", "binary": bytes(range(256)), "nested": {"a": [1, {"b": [[], {}]}], "c": None},
}.items():
    packed(name, value)
for bits in [5, 7, 8, 15, 16, 31, 32, 53, 63]:
    for number in [2**bits - 1, 2**bits, 2**bits + 1, -(2**bits) + 1, -(2**bits), -(2**bits) - 1]:
        if -(2**63) <= number < 2**64:
            packed(f"integer {number}", number)
packed("the largest integer", 2**64 - 1)
for number in [0.0, -0.0, 0.1, 1.0, 1e300, 5e-324, math.inf, -math.inf, math.nan]:
    packed(f"double {number}", number)
for number in [0.0, -0.0, 0.5, 16777216.0, 2.0**100, math.inf, -math.inf, math.nan]:
    packed(f"float {number}", number, use_single_float=True)
for size in [31, 32, 255, 256, 65535, 65536]:
    packed(f"string of {size}", "x" * size)
    packed(f"binary of {size}", b"x" * size)
for size in [15, 16, 65535, 65536]:
    packed(f"array of {size}", [None] * size)
for size in [15, 16, 300]:
    packed(f"map of {size}", {str(number): number for number in range(size)})
for size in [0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 256, 65536]:
    packed(f"extension of {size}", msgpack.ExtType(5, b"x" * size))
packed("extension 127", msgpack.ExtType(127, b"x"))
for seconds, nanos in [(0, 0), (1, 0), (2**32 - 1, 0), (2**32, 0), (0, 1), (1_709_210_096, 500_000_000), (2**34 - 1, 999_999_999), (2**34, 0), (-1, 999_999_999),
                       (253_402_300_799, 1000), (253_402_300_800, 0), (-62_135_596_800, 0), (-62_135_596_801, 0), (2**63 - 1, 0), (-(2**63), 0)]:
    packed(f"timestamp {seconds} {nanos}", msgpack.Timestamp(seconds, nanos))
packed("a moment", datetime.datetime(2026, 7, 1, 10, 20, 30, 123456, datetime.timezone.utc), datetime=True)
packed("in a map", {"at": msgpack.Timestamp(1, 5), "data": b"ab"})
for value in [1, -1, True, None, 1.5, math.nan, b"ab", msgpack.Timestamp(1, 0), 2**64 - 1]:
    packed(f"key {value!r}", {value: "v"})
packed("keys of all kinds", {"a": 1, 1: 2, False: 3, None: 4})
packed("key array", {(1, "a\"b", None): {}})
case("key map", b"\x81\x81\xa1a\x01\x02")
case("key within a key", b"\x81\x81\x81\xa1a\x01\x02\x03")
case("keys twice", b"\x83\xa1a\x01\xa1b\x02\xa1a\x03")
case("longer forms than need be", b"\x9b\xcc\x01\xcd\x00\x01\xce\x00\x00\x00\x01\xcf" + bytes(7) + b"\x01\xd0\x01\xd3" + bytes(7) + b"\x01"
     + b"\xd9\x01a\xda\x00\x01a\xdb\x00\x00\x00\x01a\xdc\x00\x00\xdf\x00\x00\x00\x00")
case("float32 of a tenth", b"\xca" + struct.pack(">f", 0.5))

def runs(text, unit):
    """A long text as parts, each with how often it is there: most of it is the same unit many times."""
    parts, end = [], 0
    for run in re.finditer(rf"({unit})\1{{50,}}", text):
        parts += [[text[end:run.start()], 1], [run[1], len(run[0]) // len(run[1])]]
        end = run.end()
    return parts + [[text[end:], 1]]


for made in CASES:
    made["wire"] = runs(made["wire"], "[0-9a-f]{2}")
    made["json"] = runs(made["json"], ".{1,5}?")
with open(HERE / "cases.json", "w", encoding="utf-8") as out:
    out.write("[\n" + ",\n".join(json.dumps(case) for case in CASES) + "\n]\n")
print(len(CASES), "cases")
