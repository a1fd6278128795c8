"""Any bytes, cut anywhere, give what a slow and plain reading of the standard gives."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace import ProtocolError, parser
from tailrace.parser import Frame, Parser

PIECES = [
    b"data", b"data:", b"data: ", b"event:", b"event: ", b"id:", b"id: ", b"id", b"retry:", b"retry: ", b":", b" ",
    b"  ", b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xc3\xa9", b"\xc3", b"\xff",
    b"\xe2\x80\xa8",
    b"\x85", b"\x0b", b"\x0c", b"\x1c", b"x", b"12", b"a:b", b"tailrace.gap", b"{}",
]  # fmt: skip


def by_the_standard(stream: bytes) -> tuple[list[Frame], int | None]:
    """The whole stream at once, as the grammar has it."""
    text = stream.decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = re.split(r"\r\n|\r|\n", text)[:-1]  # what has no end is dropped
    frames: list[Frame] = []
    data: list[str] = []
    retry, id, event = None, "", ""
    for line in lines:
        if line == "":
            frames.append(Frame(event, "\n".join(data) if data else None, id))
            event, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        match field:
            case "data":
                data.append(value)
            case "event":
                event = value
            case "id" if "\0" not in value:
                id = value
            case "retry" if re.fullmatch("[0-9]+", value):
                retry = int(value)
    return frames, retry


def fed(stream: bytes, cuts: list[int]) -> tuple[list[Frame], int | None]:
    it, frames = Parser(), []
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for begin, end in pairwise(edges):
        frames += it.feed(stream[begin:end])
    return frames, it.retry_ms


streams = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)


@given(streams, st.lists(st.integers(0, 400)))
def test_any_cutting_gives_the_same_frames(stream: bytes, cuts: list[int]) -> None:
    assert fed(stream, cuts) == by_the_standard(stream)


@given(streams)
def test_bytes_one_by_one(stream: bytes) -> None:
    assert fed(stream, list(range(len(stream)))) == by_the_standard(stream)


def test_a_frame_is_given_with_its_last_byte() -> None:
    for end in (b"\n", b"\r", b"\r\n"):
        it = Parser()
        assert it.feed(b"data: a" + end) == []
        assert it.feed(end[:1]) == [Frame("", "a", "")], end
        assert it.feed(end[1:] + b"data: b" + end + end) == [Frame("", "b", "")]


def test_a_cut_block_is_dropped_and_its_id_with_it() -> None:
    it = Parser("before")
    assert it.feed(b"id: a\ndata: 1\n\nid: b\ndata: 2\n") == [Frame("", "1", "a")]
    assert it.last_event_id == "a"
    it.restart()
    assert it.feed(b"\xef\xbb\xbfdata: 3\n\n") == [Frame("", "3", "a")]


def test_an_id_stays_until_another_comes() -> None:
    assert Parser("x").feed(b"data: 1\n\nid\ndata: 2\n\n") == [Frame("", "1", "x"), Frame("", "2", "")]


def test_an_endless_frame_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "MAX_FRAME", 1000)
    for chunks in ([b"data: " + b"x" * 600] * 2, [b"data: 12345678\n"] * 200):
        it = Parser()
        with pytest.raises(ProtocolError, match="larger than 1000 bytes"):
            for chunk in chunks:
                it.feed(chunk)
    it = Parser()
    for _ in range(1000):
        it.feed(b": a comm")
        it.feed(b"ent\n")
    assert it.feed(b"data: " + b"x" * 900 + b"\n\n") == [Frame("", "x" * 900, "")]


def test_large_events_take_linear_time() -> None:
    it, begin = Parser(), time.process_time()
    for _ in range(20_000):
        it.feed(b"x" * 1000)
    assert it.feed(b"\n\n") == [Frame("", None, "")]
    assert time.process_time() - begin < 2, "joining all of it with each piece takes a minute"
