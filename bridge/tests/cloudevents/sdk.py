"""The files of this folder, by the CloudEvents SDK: pip install cloudevents==2.2.0

  python3 sdk.py make    writes native.jsonl: events as the SDK's Kafka binding writes them, and as it reads them again
  python3 sdk.py verify  reads the events of ordinary.jsonl, which are Tailrace's own, and compares them with their records
"""

import base64
import json
import pathlib
import sys
from datetime import datetime, timedelta, timezone

from cloudevents.core.bindings import kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

HERE = pathlib.Path(__file__).parent
FORMAT = JSONFormat()
TIME = datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=timezone.utc)
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def event(data, **attributes):
    required = {"specversion": "1.0", "id": "e-1", "source": "https://shop.example/orders", "type": "com.example.paid"}
    # Without a time, the SDK would take the present one.
    return CloudEvent({**required, "time": TIME, **attributes}, data)


EVENTS = [
    event(None),
    event({"order": "A-17", "sum": 12.5, "note": "caf\u00e9 \u2615", "of": [1, None, True]}, datacontenttype="application/json"),
    event({"n": 1}, datacontenttype="application/vnd.example+json; charset=utf-8", subject="orders/A-17"),
    event("two\r\nlines \u2028 and \"quotes\"", datacontenttype="text/plain"),
    event("<a>\u00e9</a>", datacontenttype="application/xml", dataschema="https://shop.example/paid.xsd"),
    event(b"\xff\x00\xfe", datacontenttype="application/octet-stream"),
    event(b"\x02\x80\xff", datacontenttype="application/avro", partitionkey="A-17"),
    event({}, datacontenttype="application/json", time=TIME.astimezone(timezone(timedelta(hours=5, minutes=30)))),
    event({"a": 1}, datacontenttype="application/json", traceparent=PARENT, tracestate="rojo=1,congo=2"),
    event({"a": 1}, datacontenttype="application/json", id="\u2615 \"\\", comexampleextension="v", sequence="0042"),
    # Kafka's binding has no percent-encoding, unlike that of HTTP.
    event({"a": 1}, datacontenttype="application/json", source="https://shop.example/caf%C3%A9", subject="50%25 off, %22new%22"),
]


def encoded(data):
    return data if data is None else base64.b64encode(data).decode()


def line(message, read):
    headers = [[name, encoded(value)] for name, value in message.headers.items()]
    key = message.key.encode() if isinstance(message.key, str) else message.key
    written = json.loads(FORMAT.write(read))
    return json.dumps({"headers": headers, "key": encoded(key), "value": encoded(message.value or None), "event": written})


def make():
    lines = []
    for given in EVENTS:
        for write, read in ((kafka.to_binary, kafka.from_binary), (kafka.to_structured, kafka.from_structured)):
            message = write(given, FORMAT)
            lines.append(line(message, read(message, FORMAT)))
    (HERE / "native.jsonl").write_text("\n".join(lines) + "\n")


def verify():
    lines = (HERE / "ordinary.jsonl").read_text().splitlines()
    for text in lines:
        record = json.loads(text)
        read = FORMAT.read(CloudEvent, record["event"].encode())
        assert read.get_specversion() == "1.0" and read.get_id() and read.get_source() and read.get_type(), text
        key, value = (base64.b64decode(record[part]) if record[part] is not None else None for part in ("key", "value"))
        if read.get_subject() is not None:
            assert read.get_subject().encode() == key == read.get_extension("partitionkey").encode(), text
        else:
            assert read.get_extension("keybase64") == encoded(key), text
        media = read.get_datacontenttype()
        if value is None:
            assert read.get_data() is None and read.get_extension("valuekind") == "tombstone", text
        elif media == "application/json":
            assert read.get_data() == json.loads(value), text
        elif media == "text/plain; charset=utf-8":
            assert read.get_data().encode() == value, text
        else:
            assert media == "application/octet-stream" and read.get_data() == value, text
        if record["timestamp"] >= 0:
            assert round(read.get_time().timestamp() * 1000) == record["timestamp"], text
        # What the SDK has read, it writes again with nothing added or lost. But it gives the present time to an event without
        # one, writes times in another form (they are compared above), and does not write data that are null.
        written, event = json.loads(FORMAT.write(read)), json.loads(record["event"])
        assert ("time" in event) == (record["timestamp"] >= 0), text
        assert ("data" in event or "data_base64" in event) == (value is not None), text
        for members in (written, event):
            members.pop("time", None)
        if event.get("data", "") is None:
            del event["data"]
        assert written == event, text
    print(len(lines), "events")


{"make": make, "verify": verify}[sys.argv[1]]()
