"""Frames to what a program reads: events, and the control events of the protocol."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, cast

from .errors import ProtocolError
from .parser import Frame

#: What a value is: `value` is JSON, or text that is not JSON.
Kind = Literal["value", "tombstone", "binary", "masked", "undecodable", "left"]

#: The events of the protocol that stand for a record.
RECORDS = ("tailrace.binary", "tailrace.tombstone", "tailrace.masked", "tailrace.undecodable", "tailrace.left")
#: The control events of the protocol that have a type here; others are `Control`.
CONTROLS = ("tailrace.gap", "tailrace.synced", "tailrace.status", "tailrace.drain", "tailrace.error")
#: The protocol that this version understands: all events with a name of the server's own. Newer ones come as `Control`.
PROTOCOL = frozenset({*RECORDS, *CONTROLS, "tailrace.heartbeat"})

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Event:
    """A record."""

    #: The position behind this record, in every partition: where to resume. Empty in a page, which has `next`.
    id: str
    #: The record's event type, if it has one.
    type: str | None
    topic: str
    partition: int
    offset: int
    #: Bytes where it is not UTF-8.
    key: str | bytes | None
    #: Of a repeated header, the last one.
    headers: dict[str, str | bytes | None]
    #: In milliseconds since 1970; None where Kafka has none.
    timestamp: int | None
    #: JSON as Python has it, other text as str, bytes where it is neither; None for what has no value.
    value: Any
    kind: Kind
    #: Of an `undecodable` one: why, such as `unknown_schema`, and what: `key`, `value` or `both`.
    code: str | None
    field: str | None
    #: The JSON text that the server sent, with all of this. Empty in a page.
    data: str

    @property
    def time(self) -> datetime | None:
        """The timestamp. Raises OverflowError beyond the year 9999: Kafka takes any number from a producer."""
        return None if self.timestamp is None else _EPOCH + timedelta(milliseconds=self.timestamp)

    @property
    def is_removal(self) -> bool:
        """Whether the key has no value any more: a tombstone, or a newest record that does not match `where`."""
        return self.kind in ("tombstone", "left")


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that will not come, since Kafka no longer has them."""

    id: str
    #: `retention`, `recreated`, `truncated`, `deleted` or `unknown_id`.
    code: str
    #: None for `unknown_id`, as all others.
    topic: str | None
    partition: int | None
    #: The first offset that does not come.
    begin: int | None
    #: The offset behind the last one that does not come, for `retention`.
    end: int | None
    #: The new position, for `recreated` and `truncated`: new records have offsets that the old ones had.
    next: int | None

    def __str__(self) -> str:
        if self.topic is None:
            return f"{self.code}: the position is not known"
        begin = "" if self.begin is None else f" from {self.begin}"
        end = "" if self.end is None else f" up to {self.end}"
        return f"{self.code}: {self.topic}[{self.partition}], the records{begin}{end} will not come"


@dataclass(frozen=True, slots=True)
class Synced:
    """The stream has caught up: what follows is live."""

    id: str
    replayed: int


@dataclass(frozen=True, slots=True)
class Status:
    """`kafka_unavailable` and `lagging`: what was read becomes stale. `ok`: it is current again."""

    id: str
    code: str
    message: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The server ends this connection. The next one resumes, after `retry_ms`."""

    id: str
    #: `tailrace.drain`, a regular end, or `tailrace.error`.
    type: str
    code: str
    message: str | None
    retry_ms: int | None
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Control:
    """A control event that this version has no type for."""

    id: str
    type: str
    data: str


Item = Event | Gap | Synced | Status | Ended | Control


def item(frame: Frame, data: str) -> Item:
    """The item of a frame that has these data. Raises ProtocolError."""
    try:
        if frame.event in CONTROLS:
            return _control(frame.id, frame.event, json.loads(data))
        if frame.event.startswith("tailrace.") and frame.event not in RECORDS:
            return Control(frame.id, frame.event, data)
        return record(json.loads(data), frame.event, frame.id, data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        where = f"the event {frame.event!r} up to the position {frame.id!r}"
        raise ProtocolError(f"{where} cannot be read: {type(error).__name__}: {error}") from error


def record(it: dict[str, Any], name: str = "", id: str = "", data: str = "") -> Event:
    """The event of a record in the protocol's envelope."""
    of_protocol = name in RECORDS
    return Event(
        id=id,
        type=it.get("type") or (None if of_protocol or name in ("", "message") else name),
        topic=it["topic"],
        partition=it["partition"],
        offset=it["offset"],
        key=_text(it["key"]),
        headers={name: _text(value) for name, value in it.get("headers", {}).items()},
        timestamp=it["timestamp"],
        value=_value(it),
        kind=_kind(it, name),
        code=it.get("code"),
        field=it.get("field"),
        data=data,
    )


def _kind(it: dict[str, Any], name: str) -> Kind:
    if "code" in it:
        return "undecodable"
    return "left" if name == "tailrace.left" else cast(Kind, it.get("value_kind", "value"))


def _value(it: dict[str, Any]) -> Any:
    value = it.get("value")
    # Only then are they bytes: any JSON value may look like them.
    return _text(value) if it.get("value_kind") == "binary" else value


def _text(it: Any) -> Any:
    return b64decode(it["base64"]) if isinstance(it, dict) else it


def _control(id: str, name: str, it: dict[str, Any]) -> Item:
    if name == "tailrace.gap":
        return gap(it, id)
    if name == "tailrace.synced":
        return Synced(id, it["replayed"])
    if name == "tailrace.status":
        return Status(id, it["code"], it.get("message"))
    return Ended(id, name, it["code"], it.get("message"), it.get("retry_ms"), it.get("trace_id"))


def gap(it: dict[str, Any], id: str = "") -> Gap:
    """The gap of a `tailrace.gap`, or of a page."""
    return Gap(id, it["code"], it.get("topic"), it.get("partition"), it.get("from"), it.get("to"), it.get("next"))
