#!/usr/bin/env python3
"""Writes the golden files of Avro: schemas, values' bytes, and the JSON that they must become.

    pip install avro==1.12.* fastavro==1.*
    python formats/tests/golden/avro_golden.py

Bytes are read by Apache's own library, with logical types taken out of the schema, so that its values are what is written. This
script turns them to JSON by the rules of formats/src/avro/mod.rs. Where a library of Python knows a logical type and can hold the
value, its own text must be the same; fastavro must read the same values, and write the same JSON encoding. None of our own code
takes part.

For each case there are NAME.avsc, NAME.1.avsc and so on for the schemas that it refers to, and NAME.jsonl with a line for each
value: the bytes, and their JSON in each form.
"""

import base64
import datetime
import decimal
import io
import json
import pathlib
import re
import shutil
import struct
import uuid
import warnings

import avro.io
import avro.name
import avro.schema
import fastavro

import avro_cases as cases

warnings.filterwarnings("ignore", category=avro.errors.AvroWarning)
FOLDER = pathlib.Path(__file__).parent / "avro"
PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
DAY = 86_400


# What is written


class Branch:
    """A union's value, and which of the branches it is."""

    def __init__(self, index, value):
        self.index = index
        self.value = value


class Reader(avro.io.DatumReader):
    """Apache's reader, which tells the branches of unions too."""

    def read_union(self, writers_schema, readers_schema, decoder):
        index = decoder.read_long()
        branch = writers_schema.schemas[index]
        return Branch(index, self.read_data(branch, branch, decoder))


def without_logical(schema):
    """The schema as it is written: without logical types."""
    if isinstance(schema, list):
        return [without_logical(part) for part in schema]
    if isinstance(schema, dict):
        dropped = ("logicalType", "precision", "scale", "default", "aliases")
        return {key: without_logical(part) for key, part in schema.items() if key not in dropped}
    return schema


def bare(value):
    """The value without the branches of its unions."""
    if isinstance(value, Branch):
        return bare(value.value)
    if isinstance(value, list):
        return [bare(item) for item in value]
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items()}
    return value


# A schema's names


class Schema:
    """A schema with the types that it names."""

    def __init__(self, schema, references):
        self.types = {}
        self.root = schema
        for text in [*references, schema]:
            self.define(text, "")

    def define(self, schema, space):
        if isinstance(schema, list):
            for branch in schema:
                self.define(branch, space)
        elif isinstance(schema, dict):
            kind = schema["type"]
            if kind in ("record", "enum", "fixed"):
                name = self.full(schema["name"], schema.get("namespace", space))
                self.types[name] = (name, schema)
                for field in schema.get("fields", []):
                    self.define(field["type"], name.rpartition(".")[0])
            elif kind in ("array", "map"):
                self.define(schema["items" if kind == "array" else "values"], space)
            elif not isinstance(kind, str):
                self.define(kind, space)

    @staticmethod
    def full(name, space):
        return name if "." in name or not space else f"{space}.{name}"

    def resolve(self, schema, space):
        """A type's kind, its object, its full name, and the namespace within it."""
        if isinstance(schema, list):
            return "union", schema, None, space
        if isinstance(schema, str):
            if schema in PRIMITIVES:
                return schema, {"type": schema}, schema, space
            name, schema = self.types.get(self.full(schema, space)) or self.types[schema]
            return schema["type"], schema, name, name.rpartition(".")[0]
        kind = schema["type"]
        if not isinstance(kind, str):
            return self.resolve(kind, space)
        if kind in ("record", "enum", "fixed"):
            name = self.full(schema["name"], schema.get("namespace", space))
            return kind, schema, name, name.rpartition(".")[0]
        if kind in PRIMITIVES or kind in ("array", "map"):
            return kind, schema, kind, space
        return self.resolve(kind, space)


# The rules


def text(string):
    return json.dumps(string, ensure_ascii=False)


def number(value, code):
    if value != value:
        return '"NaN"'
    if value in (float("inf"), float("-inf")):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    if code == "d":
        return repr(value)
    # The shortest that is the same number in 32 bits.
    for digits in range(1, 10):
        short = f"{value:.{digits}g}"
        if of_32_bits(float(short)) == value:
            return short if re.search(r"[.e]", short) else short + ".0"
    raise ValueError(value)


def of_32_bits(value):
    """The nearest number of 32 bits, or None where it is beyond them all."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return None


def pad(value, digits):
    return str(value).rjust(digits, "0")


def date(days):
    # Python's calendar has years 1 to 9999; the calendar repeats itself after 400 years.
    eras, rest = divmod(days, 146_097)
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=rest)
    year = day.year + 400 * eras
    name = pad(year, 4) if 0 <= year <= 9999 else ("-" if year < 0 else "+") + pad(abs(year), 6)
    return f"{name}-{pad(day.month, 2)}-{pad(day.day, 2)}"


def clock(count, per_second):
    seconds, fraction = divmod(count, per_second)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    digits = len(str(per_second)) - 1
    return f"{pad(hour, 2)}:{pad(minute, 2)}:{pad(second, 2)}.{pad(fraction, digits)}"


def timestamp(count, per_second):
    days, rest = divmod(count, DAY * per_second)
    return f"{date(days)}T{clock(rest, per_second)}"


def scaled(unscaled, scale):
    with decimal.localcontext(decimal.Context(prec=10_000)):
        return format(decimal.Decimal(unscaled).scaleb(-scale), "f")


def zigzag(data):
    """A long at the start of some bytes, and the bytes behind it."""
    value = avro.io.BinaryDecoder(stream := io.BytesIO(data)).read_long()
    return value, stream.read()


def big_decimal(data):
    length, data = zigzag(data)
    scale, _ = zigzag(data[length:])
    return scaled(int.from_bytes(data[:length], "big", signed=True), scale)


def duration(data):
    months, days, millis = struct.unpack("<III", data)
    return f"P{months}M{days}DT{millis // 1000}.{pad(millis % 1000, 3)}S"


UNITS = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}


def logical(kind, schema, value):
    """The text of a logical type, or None where it is not one that counts."""
    name = schema.get("logicalType")
    unit = UNITS.get(str(name).rpartition("-")[2])
    if name == "decimal" and kind in ("bytes", "fixed"):
        precision, scale = schema.get("precision"), schema.get("scale", 0)
        if not isinstance(precision, int) or not 0 <= scale <= precision or precision < 1:
            return None
        if kind == "fixed" and 10**precision > 2 ** (8 * schema["size"] - 1):
            return None
        return scaled(int.from_bytes(value, "big", signed=True), scale)
    rules = {
        ("big-decimal", "bytes"): big_decimal,
        ("uuid", "string"): str,
        ("date", "int"): date,
        ("time-millis", "int"): lambda count: clock(count, unit),
        ("time-micros", "long"): lambda count: clock(count, unit),
    }
    for name_of_unit in UNITS:
        rules[(f"timestamp-{name_of_unit}", "long")] = lambda count: timestamp(count, unit) + "Z"
        rules[(f"local-timestamp-{name_of_unit}", "long")] = lambda count: timestamp(count, unit)
    if kind == "fixed" and schema["size"] == 16:
        rules[("uuid", "fixed")] = lambda data: str(uuid.UUID(bytes=data))
    if kind == "fixed" and schema["size"] == 12:
        rules[("duration", "fixed")] = duration
    rule = rules.get((name, kind))
    return rule(value) if rule else None


class Writer:
    """Writes values as JSON, in one of both forms."""

    def __init__(self, schema, plain):
        self.schema = schema
        self.plain = plain

    def write(self, schema, value, space=""):
        kind, schema, name, space = self.schema.resolve(schema, space)
        if self.plain and kind not in ("union", "record", "array", "map"):
            told = logical(kind, schema, value)
            if told is not None:
                opinions(schema, value, told)
                return text(told)
        match kind:
            case "null":
                return "null"
            case "boolean":
                return "true" if value else "false"
            case "int" | "long":
                return str(value)
            case "float" | "double":
                return number(value, kind[0])
            case "string" | "enum":
                return text(value)
            case "bytes" | "fixed" if self.plain:
                return text(base64.b64encode(value).decode())
            case "bytes" | "fixed":
                return text(value.decode("latin-1"))
            case "array":
                return "[" + ",".join(self.write(schema["items"], item, space) for item in value) + "]"
            case "map":
                items = [text(key) + ":" + self.write(schema["values"], item, space) for key, item in value.items()]
                return "{" + ",".join(items) + "}"
            case "record":
                fields = [
                    text(field["name"]) + ":" + self.write(field["type"], value[field["name"]], space)
                    for field in schema["fields"]
                ]
                return "{" + ",".join(fields) + "}"
            case "union":
                branch = schema[value.index]
                written = self.write(branch, value.value, space)
                kind, _, name, _ = self.schema.resolve(branch, space)
                return written if self.plain or kind == "null" else "{" + text(name) + ":" + written + "}"


# Second opinions


def opinions(schema, raw, told):
    """Each library that knows the logical type must have the same text for it."""
    schema = {key: part for key, part in schema.items() if key not in ("default", "aliases")}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, without_logical(schema), raw)
    of_apache = avro.schema.parse(json.dumps(schema))
    reads = [
        lambda stream: fastavro.schemaless_reader(stream, schema),
        lambda stream: avro.io.DatumReader(of_apache).read(avro.io.BinaryDecoder(stream)),
    ]
    for read in reads:
        try:
            value = read(io.BytesIO(out.getvalue()))
        except (OverflowError, ValueError, struct.error):
            continue  # Python's calendar ends before Avro's.
        other = library_text(schema, value, told)
        if other is not None and other != told:
            # fastavro has all times since year 1; Apache's reader rounds large timestamps by way of a double.
            raise AssertionError(f"{schema}: {raw}: {told}, but a library has {other}")


def library_text(schema, value, told):
    places = len(told.rpartition(".")[2].rstrip("Z"))
    unit = {3: "milliseconds", 6: "microseconds"}.get(places)
    match value:
        case decimal.Decimal():
            return format(value, "f")
        case uuid.UUID():
            return str(value)
        case datetime.datetime() if unit:
            ending = "Z" if value.tzinfo else ""
            return value.replace(tzinfo=None).isoformat(timespec=unit) + ending
        case datetime.date() if not isinstance(value, datetime.datetime):
            return value.isoformat()
        case datetime.time() if unit:
            return value.isoformat(timespec=unit)
    return None


def same(left, right):
    """Whether two values are the same, a NaN and itself among them."""
    return repr(left) == repr(right)


# The files


def parse(schema, references):
    names = avro.name.Names()
    for reference in references:
        avro.schema.make_avsc_object(without_logical(reference), names)
    if isinstance(schema, str) and names.has_name(schema, None):
        return names.get_name(schema, None)
    return avro.schema.make_avsc_object(without_logical(schema), names)


def fastavro_schema(schema, references):
    named, parsed = {}, {}
    for reference in references:
        part = fastavro.parse_schema(without_logical(reference), named_schemas=named)
        parsed[part["name"]] = part
    # It forgets what the branches of a union, and a name that is the whole schema, refer to.
    if isinstance(schema, str) and schema in parsed:
        return parsed[schema]
    if isinstance(schema, list) and references:
        return [parsed[branch] for branch in schema]
    return fastavro.parse_schema(without_logical(schema), named_schemas=named)


def encoded(schema, value):
    if isinstance(value, bytes):
        return value
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value.raw)
    return out.getvalue()


def write_case(name, case):
    schema, references = case.schema, case.references
    of_apache, of_fastavro = parse(schema, references), fastavro_schema(schema, references)
    names = Schema(schema, references)
    lines = []
    for value in case.values:
        data = encoded(of_fastavro, value)
        stream = io.BytesIO(data)
        read = Reader(of_apache).read(avro.io.BinaryDecoder(stream))
        assert not stream.read(), name
        again = fastavro.schemaless_reader(io.BytesIO(data), of_fastavro)
        assert same(bare(read), again), f"{name}: {bare(read)} and {again}"
        plain = Writer(names, True).write(schema, read)
        in_avro = Writer(names, False).write(schema, read)
        if case.json_encoding:
            encoding_opinion(of_fastavro, value, in_avro)
        lines.append(json.dumps({"bytes": data.hex(), "plain": plain, "avro": in_avro}, ensure_ascii=False))
    (FOLDER / f"{name}.avsc").write_text(json.dumps(schema, ensure_ascii=False, indent=1) + "\n")
    # The other way around than they depend on each other.
    for at, reference in enumerate(reversed(references), 1):
        (FOLDER / f"{name}.{at}.avsc").write_text(json.dumps(reference, ensure_ascii=False, indent=1) + "\n")
    (FOLDER / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines))


def encoding_opinion(schema, value, told):
    """fastavro's JSON encoding of the value must be the same."""
    if isinstance(value, bytes):
        return
    out = io.StringIO()
    fastavro.json_writer(out, schema, [value.raw])
    other = json.loads(out.getvalue())
    assert same(json.loads(told), other), f"{told}, but fastavro has {other}"


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name, case in cases.all_cases().items():
        try:
            write_case(name, case)
        except Exception as why:
            why.add_note(name)
            raise


if __name__ == "__main__":
    main()
