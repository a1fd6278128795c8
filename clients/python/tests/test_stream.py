"""Trouble with a stream.

Before: no server, a wrong address, a server that is not one, refusals for good and for now, a token that is
bad or cannot be had.
During: cuts at any byte, resets, silence, a drain, errors, an expiring token, a cancelled read, what cannot be read.
After: the end for good, a close, a reader that has gone; and between two runs, `test_position.py`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import time
import zlib
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from conftest import Reader, offsets
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Act, Server, answer, control, event, first, problem, stream

import tailrace
from tailrace import (
    Control,
    Ended,
    Event,
    Gap,
    GapError,
    ProtocolError,
    Refused,
    Status,
    Synced,
    Unreachable,
)
from tailrace.reconnect import Reconnect

# What is asked for


def test_what_is_asked_for(read: Reader) -> None:
    with Server(stream(first("a"))) as server:
        read(
            server.url + "?topic=metrics&retry=1s",
            topics=["orders", "a&b"],
            types="paid",
            keys=["k"],
            where=["value.total>100", "header.region=eu,us"],
            start=datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))),
            conflate=True,
            heartbeat=2.5,
            token=" secret\n",
        )
    asked, again = server.asked
    assert asked.path == "/t/acme/events"
    assert asked.all("topic") == ["metrics", "orders", "a&b"]
    assert (asked.all("type"), asked.all("key")) == (["paid"], ["k"])
    assert asked.all("where") == ["value.total>100", "header.region=eu,us"]
    assert asked.all("from") == ["2026-01-31T12:00:00+02:00"]
    assert (asked.all("conflate"), asked.all("envelope"), asked.all("heartbeat")) == (["key"], ["record"], ["2500ms"])
    assert asked.all("retry") == ["1s"]
    assert asked.headers["accept"] == "text/event-stream"
    assert asked.headers["accept-encoding"] == "gzip"
    assert asked.headers["authorization"] == "Bearer secret"
    assert "last-event-id" not in asked.headers
    assert again.headers["last-event-id"] == "a"
    assert again.all("from") == asked.all("from"), "the server begins there if it cannot read the id"


@pytest.mark.parametrize(
    ("url", "options", "why"),
    [
        ("localhost:8080/t/acme/events", {}, "no address of a stream"),
        ("ws://localhost/t/acme/ws", {}, "no address of a stream"),
        ("http:///t/acme/events", {}, "no address of a stream"),
        ("http://h/e?access_token=x", {}, "access_token="),
        ("http://h/e?envelope=none", {}, "envelope="),
        ("http://h/e", {"start": datetime(2026, 1, 1)}, "time zone"),
        ("http://h/e", {"heartbeat": 0.5}, "heartbeat"),
        ("http://h/e", {"resume": "x", "last_event_id": "y"}, "where to resume"),
    ],
)
def test_what_cannot_be_meant(url: str, options: dict[str, Any], why: str) -> None:
    for open_it in (tailrace.stream, tailrace.astream):
        with pytest.raises(ValueError, match=why):
            open_it(url, **options)


# What comes


def test_events_and_control_events(read: Reader) -> None:
    pieces = [
        event(1, type="order.paid"),
        control("tailrace.gap", {"code": "retention", "topic": "orders", "partition": 1, "from": 100, "to": 150}, "g"),
        event(2, value="text", key=None, headers={"a": {"base64": "/w=="}, "b": None}, timestamp=None),
        event(3, value={"base64": "AAE="}, value_kind="binary"),
        event(4, value={"base64": "AAE="}),
        event(5, value_kind="tombstone").replace(b'"value": {"n": 5}', b'"value": null'),
        event(6, type="tailrace.left"),
        event(7, type="tailrace.undecodable", code="mismatch", field="value", value={"base64": "AA=="},
              value_kind="binary"),
        control("", {**json.loads(event(8).split(b"\n")[0][6:]), "type": "x"}, "i8"),
        control("tailrace.synced", {"replayed": 8}),
        control("tailrace.status", {"code": "lagging"}),
        control("tailrace.heartbeat", {"time": 1}),
        control("tailrace.future", [1]),
        control("tailrace.drain", {"code": "draining", "retry_ms": 20}),
    ]  # fmt: skip
    with Server(stream(first("a"), *pieces)) as server:
        items = read(server.url)
    one, gap, two, three, four, five, six, seven, eight, synced, status, beat, future, ended = items
    assert one == Event("i1", "order.paid", "orders", 0, 1, "k1", {"tenant": "acme"}, 1767225600001, {"n": 1}, "value",
                        None, None, one.data)  # fmt: skip
    assert json.loads(one.data)["offset"] == 1
    assert one.time == datetime(2026, 1, 1, 0, 0, 0, 1000, tzinfo=timezone.utc)
    assert gap == Gap("g", "retention", "orders", 1, 100, 150, None)
    assert str(gap) == "retention: orders[1], the records from 100 up to 150 will not come"
    assert (two.value, two.key, two.headers, two.time) == ("text", None, {"a": b"\xff", "b": None}, None)
    assert (three.value, three.kind) == (b"\0\1", "binary")
    assert (four.value, four.kind) == ({"base64": "AAE="}, "value"), "JSON that looks like bytes"
    assert (five.value, five.kind, five.is_removal) == (None, "tombstone", True)
    assert (six.kind, six.is_removal, six.type, one.is_removal) == ("left", True, None, False)
    assert (seven.kind, seven.value, seven.code, seven.field) == ("undecodable", b"\0", "mismatch", "value")
    assert eight.type == "x"
    assert synced == Synced("i8", 8)
    assert status == Status("i8", "lagging", None)
    assert (beat, future) == (
        Control("i8", "tailrace.heartbeat", '{"time": 1}'),
        Control("i8", "tailrace.future", "[1]"),
    )
    assert ended == Ended("i8", "tailrace.drain", "draining", None, 20, None)


def test_the_loop_of_events_passes_over_what_is_none_and_never_over_a_gap(read: Reader) -> None:
    gap = control("tailrace.gap", {"code": "unknown_id"}, "g")
    begin = stream(first("a"), event(1), control("tailrace.synced", {"replayed": 1}), event(2))
    with Server(begin) as server:
        assert offsets(read(server.url, all=False)) == [1, 2]
    with Server(stream(first("a"), event(1), gap, event(2))) as server:
        with pytest.raises(GapError, match="unknown_id: the position is not known; read with .all") as error:
            read(server.url, all=False)
        assert error.value.gap == Gap("g", "unknown_id", None, None, None, None, None)


def test_reading_goes_on_behind_a_gap_and_behind_what_cannot_be_read() -> None:
    gap = control("tailrace.gap", {"code": "unknown_id"}, "g")
    bad = b'data: {"topic"\nid: b\n\n'
    with Server(stream(first("a"), event(1), gap, bad, event(2))) as server, tailrace.stream(server.url) as events:
        assert next(events).offset == 1
        with pytest.raises(GapError):
            next(events)
        with pytest.raises(ProtocolError, match="up to the position 'b' cannot be read"):
            next(events)
        assert next(events).offset == 2
    with Server(stream(first("a"), gap, bad, event(2))) as server:

        async def read() -> None:
            async with tailrace.astream(server.url) as events:
                with pytest.raises(GapError):
                    await anext(events)
                with pytest.raises(ProtocolError):
                    await anext(events)
                assert (await anext(events)).offset == 2

        asyncio.run(read())


@pytest.mark.parametrize(
    "data",
    [b"nonsense", b"[]", b"{}", b"1", b"[" * 100_000,
     b'{"topic":"o","partition":0,"offset":1,"key":null,"timestamp":' + b"1" * 5000 + b"}"],
)  # fmt: skip
def test_what_cannot_be_read_says_where(data: bytes) -> None:
    for name in (b"", b"event: tailrace.gap\n"):
        frame = name + b"data: " + data + b"\nid: b\n\n"
        with Server(stream(first("a"), frame)) as server, tailrace.stream(server.url) as events:
            with pytest.raises(ProtocolError, match="'b'"):
                next(events)


def test_a_timestamp_beyond_the_calendar_is_still_a_number(read: Reader) -> None:
    with Server(stream(first("a"), event(1, timestamp=1767225600000000))) as server:
        (it,) = read(server.url)
    assert it.timestamp == 1767225600000000
    with pytest.raises(OverflowError):
        _ = it.time


# Cuts


EVENTS = [event(offset, value=f"é{offset}", type="t" if offset % 2 else "") for offset in range(12)]


class Resuming:
    """A server that has these events, resumes behind the last id, and cuts after so many bytes."""

    def __init__(self, cuts: list[int], *, end: str) -> None:
        self.cuts, self.end = list(cuts), end

    def __call__(self, wire: socket.socket, last: str) -> None:
        begin = int(last[1:]) + 1 if last else 0
        body = first(last or "i-1", retry=1) + b"".join(EVENTS[begin:])
        cut = self.cuts.pop(0) if self.cuts else None
        if cut is None and begin == len(EVENTS):
            answer(204)(wire)
        else:
            stream(body[: len(body) if cut is None else cut], end=self.end if cut is not None else "close")(wire)


def serve(resuming: Resuming) -> Server:
    server: Server

    def act(wire: socket.socket) -> None:
        resuming(wire, server.asked[-1].headers.get("last-event-id", ""))

    server = Server(then=act)
    return server


@settings(max_examples=25)
@given(st.lists(st.integers(0, 600), max_size=4))
def test_cuts_at_any_byte_lose_nothing_and_repeat_nothing(cuts: list[int]) -> None:
    with serve(Resuming(cuts, end="close")) as server, tailrace.stream(server.url, start="earliest") as events:
        assert [it.value for it in events] == [f"é{offset}" for offset in range(12)]
    # One for each cut, one for the rest, if there is any, and the end.
    assert len(server.asked) - len(cuts) in (1, 2)


def test_resets_lose_nothing(read: Reader) -> None:
    with serve(Resuming([5, 40, 300, 200], end="reset")) as server:
        assert offsets(read(server.url)) == list(range(12))


def test_a_compressed_stream_is_read_as_it_comes_and_may_be_cut(read: Reader) -> None:
    coder = zlib.compressobj(wbits=31)
    pieces = [coder.compress(piece) + coder.flush(zlib.Z_SYNC_FLUSH) for piece in (first("a"), event(1), event(2))]
    came: list[float] = []
    sent: list[float] = []

    def note(wire: socket.socket) -> None:
        sent.append(time.monotonic())
        wire.sendall(pieces[2][:-8])
        time.sleep(0.3)

    with Server(
        stream(*pieces[:2], coding="gzip", until=note), stream(gzip.compress(event(3)), coding="gzip")
    ) as server:
        with tailrace.stream(server.url) as events:
            for it in events:
                came.append(time.monotonic())
                assert it.offset in (1, 3)
    assert len(came) == 2
    assert came[0] < sent[0] + 0.25, "an event is given before the next ones come"
    with Server(stream(*pieces[:2], coding="gzip"), stream(b"no gzip", coding="gzip"), stream(event(3))) as server:
        assert offsets(read(server.url)) == [1, 3]


def test_silence_is_a_dead_connection_and_comments_are_none(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.session.SILENT_HEARTBEATS", 0.3)
    beats = stream(first("a"), *[b":\n"] * 10, event(1), pause=0.1, end="hang")
    with Server(beats, stream(first("b"), event(2))) as server:
        begin = time.monotonic()
        assert offsets(read(server.url, heartbeat=1)) == [1, 2]
        assert 1.3 < time.monotonic() - begin < 5
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "i1", "i2"]


# The delays


def test_the_delay_of_the_server_is_waited_for(read: Reader) -> None:
    drain = control("tailrace.drain", {"code": "draining", "retry_ms": 300})
    with Server(stream(first("a", retry=10), b"retry: 300\n", drain)) as server:
        read(server.url)
    assert 0.29 < server.asked[1].at - server.asked[0].at < 2


def test_delays_grow_with_jitter_and_begin_anew_after_a_good_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    it = Reconnect(None, renews=False)
    delays: list[float] = []

    def fail(random: float) -> float:
        it._random = lambda: random
        it.failed("no", 0.0)
        delays.append(it.delay)
        return it.delay

    assert [fail(1.0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert fail(0.0) == 15
    it.worked()
    assert it.delay == 0
    it.ended("cut", 2.0, 0.0)
    assert it.delay == 2
    assert fail(0.0) == 0.5, "the second attempt of a row"
    for _ in range(10_000):
        fail(1.0)


def test_retry_after_is_the_least(read: Reader) -> None:
    with Server(problem(429, "rate_limited", retry_after="1"), stream(first("a"), event(1))) as server:
        assert offsets(read(server.url)) == [1]
    assert 0.95 < server.asked[1].at - server.asked[0].at < 3


@pytest.mark.parametrize("after", ["soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "²"])
def test_a_strange_retry_after_is_none(after: str) -> None:
    it = Reconnect(None, renews=False)
    it.refused(503, {"Retry-After": after}, b"", 0.0)
    assert 0 < it.delay <= 0.01


def test_patience(read: Reader) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    begin = time.monotonic()
    with pytest.raises(Unreachable, match="(?i)connect"):
        read(f"http://127.0.0.1:{port}/events", patience=0.3)
    assert time.monotonic() - begin < 5
    # A good connection, however old, is not counted.
    with Server(stream(first("a"), pause=0.5), answer(502), stream(first("a"), event(1))) as server:
        assert offsets(read(server.url, patience=0.3)) == [1]
    with Server(stream(first("a")), then=answer(502)) as server, pytest.raises(Unreachable, match="502"):
        read(server.url, patience=0.1)


# Refusals


@pytest.mark.parametrize("status", [400, 403, 404, 405, 414])
def test_refusals_for_good(read: Reader, status: int) -> None:
    refusal = problem(status, "bad_parameter", detail="no such parameter", parameter="topics", trace_id="abc")
    with Server(refusal) as server:
        with pytest.raises(Refused) as error:
            read(server.url)
    it = error.value
    assert (it.status, it.code, it.title, it.detail) == (status, "bad_parameter", "Bad_Parameter", "no such parameter")
    assert (it.parameter, it.trace_id) == ("topics", "abc")
    assert str(it) == f"{status} Bad_Parameter: no such parameter (topics=)"
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"title":1}', b"x" * 1_000_000])
def test_a_refusal_without_a_reason(read: Reader, body: bytes) -> None:
    with Server(answer(404, body, Content_Type="application/json")) as server:
        with pytest.raises(Refused, match="404 Not Found"):
            read(server.url)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_refusals_for_now(read: Reader, status: int) -> None:
    with Server(answer(status), problem(status, "overloaded"), stream(first("a"), event(1))) as server:
        assert offsets(read(server.url)) == [1]


def test_another_server_at_the_address_is_a_mistake_and_later_a_proxy(read: Reader) -> None:
    page = answer(200, b"<html>", Content_Type="text/html")
    with Server(page) as server, pytest.raises(Refused, match="200 The answer is no stream"):
        read(server.url)
    with Server(stream(first("a"), event(1)), page, stream(first("a"), event(2))) as server:
        assert offsets(read(server.url)) == [1, 2]


def test_redirects_are_followed(read: Reader) -> None:
    with Server(stream(first("a"), event(1))) as there:
        with Server(then=answer(307, Location=there.url)) as server:
            assert offsets(read(server.url)) == [1]


def test_204_ends_the_stream(read: Reader) -> None:
    with Server(answer(204)) as server:
        states: list[str] = []
        assert read(server.url, on_state=lambda state, _: states.append(state)) == []
    assert states == ["connecting", "closed"]


def test_states(read: Reader) -> None:
    states: list[tuple[str, str]] = []
    error = control("tailrace.error", {"code": "overloaded", "message": "later", "retry_ms": 10, "trace_id": "t"})
    with Server(stream(first("a"), error)) as server:
        (ended,) = read(server.url, on_state=lambda *state: states.append(state))
    assert ended == Ended("a", "tailrace.error", "overloaded", "later", 10, "t")
    assert states == [
        ("connecting", ""),
        ("open", ""),
        ("waiting", "0.0 s: the server says overloaded: later"),
        ("connecting", ""),
        ("closed", "the server has ended the stream for good (204)"),
    ]


def test_the_log_says_what_is_wrong_and_never_the_token(read: Reader, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="tailrace")
    hint = control("tailrace.status", {"code": "ok", "message": "no record of this tenant yet"})
    with Server(answer(502), stream(first("a"), hint, control("tailrace.status", {"code": "ok"}))) as server:
        read(server.url, token="secret")
    lines = [(record.levelname, record.message) for record in caplog.records]
    assert [level for level, _ in lines] == ["WARNING", "WARNING", "INFO"]
    assert "502 Bad Gateway" in lines[0][1]
    assert lines[1][1] == "no record of this tenant yet"
    assert "secret" not in caplog.text


# Tokens


class Tokens:
    """Gives one after the other; raises what is an exception."""

    def __init__(self, *given: str | Exception) -> None:
        self.left = list(given)

    def __call__(self) -> str:
        it = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(it, Exception):
            raise it
        return it


def sent(server: Server) -> list[str]:
    return [asked.headers["authorization"].removeprefix("Bearer ") for asked in server.asked]


def test_401_asks_for_a_new_token_where_one_can_be_had(read: Reader) -> None:
    with Server(problem(401, "unauthenticated"), stream(first("a"), event(1))) as server:
        assert offsets(read(server.url, token=Tokens("old", "new"))) == [1]
    assert sent(server) == ["old", "new", "new"]
    for token in ("old", None):
        with Server(problem(401, "unauthenticated")) as server, pytest.raises(Refused, match="401"):
            read(server.url, token=token)


def test_a_token_that_cannot_be_had_is_waited_for_and_a_mistake_is_raised(read: Reader) -> None:
    with Server(stream(first("a"), event(1))) as server:
        assert offsets(read(server.url, token=Tokens(OSError("down"), httpx.ReadTimeout("slow"), "good"))) == [1]
    with Server() as server, pytest.raises(KeyError):
        read(server.url, token=Tokens(KeyError("token")))


def test_a_coroutine_function_gives_tokens() -> None:
    async def token() -> str:
        await asyncio.sleep(0)
        return "later"

    async def read() -> list[Event]:
        async with tailrace.astream(server.url, token=token) as events:
            return [it async for it in events]

    with Server(stream(first("a"), event(1))) as server:
        assert offsets(asyncio.run(read())) == [1]
    assert sent(server) == ["later", "later"]


def expiring(wait: float, *more: bytes) -> Act:
    expiring = control("tailrace.status", {"code": "token_expiring", "message": "soon", "remaining_ms": 30000})

    def rest(wire: socket.socket) -> None:
        time.sleep(wait)
        for piece in (expiring, *more):
            wire.sendall(piece)
        wire.recv(1)

    return stream(first("a"), event(1), until=rest)


def test_a_token_is_renewed_before_it_expires(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.session.RENEW", 0.05)
    with Server(expiring(0.2), stream(first("a"), event(2))) as server:
        begin = time.monotonic()
        assert offsets(read(server.url, token=Tokens("one", "two"))) == [1, 2]
        assert time.monotonic() - begin < 3, "it does not wait for the stream to end"
    assert sent(server) == ["one", "two", "two"]
    assert server.asked[1].headers["last-event-id"] == "i1"


def test_without_a_new_token_the_stream_goes_on(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.session.RENEW", 0.05)
    for tokens in (Tokens("one"), Tokens("one", OSError("down"), "two")):
        expired = control("tailrace.error", {"code": "token_expired", "message": "", "retry_ms": 10, "trace_id": "t"})

        def rest(wire: socket.socket, expired: bytes = expired) -> None:
            time.sleep(0.1)
            wire.sendall(control("tailrace.status", {"code": "token_expiring"}))
            time.sleep(0.1)
            wire.sendall(event(2) + expired)

        with Server(stream(first("a"), event(1), until=rest), stream(first("a"), event(3))) as server:
            assert offsets(read(server.url, token=tokens)) == [1, 2, 3]
    # Of a connection that has just begun, no token is renewed: that would be a busy loop.
    with Server(expiring(0.0, event(2)), stream(first("a"))) as server:
        with tailrace.stream(server.url, token=Tokens("one", "two")) as events:
            assert [next(events).offset, next(events).offset] == [1, 2]
    assert len(server.asked) == 1


# A reader that stops


def test_a_cancelled_read_loses_nothing_and_keeps_the_connection() -> None:
    def slowly(wire: socket.socket) -> None:
        for offset in range(2, 6):
            time.sleep(0.12)
            wire.sendall(event(offset))

    async def read() -> tuple[list[int], int]:
        got: list[int] = []
        cancelled = 0
        async with tailrace.astream(server.url) as events:
            while len(got) < 5:
                try:
                    got.append((await asyncio.wait_for(anext(events), 0.05)).offset)
                except (asyncio.TimeoutError, TimeoutError):
                    cancelled += 1
        return got, cancelled

    with Server(stream(first("a"), event(1), until=slowly)) as server:
        got, cancelled = asyncio.run(read())
    assert got == [1, 2, 3, 4, 5]
    assert cancelled >= 3
    assert len(server.asked) == 1


def test_closing_ends_a_read_that_waits() -> None:
    async def read() -> None:
        async with tailrace.astream(server.url) as events:
            with pytest.raises((asyncio.TimeoutError, TimeoutError)):
                await asyncio.wait_for(anext(events), 0.2)

    with Server(stream(first("a"), end="hang")) as server:
        begin = time.monotonic()
        asyncio.run(read())
        assert time.monotonic() - begin < 2


def test_after_a_close_nothing_comes() -> None:
    with Server(stream(first("a"), event(1), event(2))) as server:
        events = tailrace.stream(server.url)
        assert next(events).offset == 1
        events.close()
        events.close()
        assert list(events) == []
        assert events.last_event_id == "i1"


def test_a_client_of_ones_own_is_used_and_left_open() -> None:
    with Server(stream(first("a"), event(1))) as server, httpx.Client(headers={"X-Mine": "yes"}) as client:
        with tailrace.stream(server.url, client=client) as events:
            assert offsets(list(events)) == [1]
        assert not client.is_closed
        assert server.asked[0].headers["x-mine"] == "yes"
    with Server(stream(first("a"), event(1))) as server:

        async def read() -> None:
            async with httpx.AsyncClient() as client:
                async with tailrace.astream(server.url, client=client) as events:
                    assert offsets([it async for it in events]) == [1]
                assert not client.is_closed

        asyncio.run(read())
