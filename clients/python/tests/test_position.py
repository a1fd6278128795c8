"""Trouble with a position in a file: absent, empty, another's, in use, not writable, gone; and what a crash leaves."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Reader, offsets
from scripted import Server, control, event, first, page, stream

import tailrace
from tailrace import GapError, PositionError
from tailrace.position import PositionFile

IDENTITY: dict[str, object] = {"url": "http://h/t/acme", "topics": ["orders"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.pos"


def stored(path: Path) -> Any:
    return json.loads(path.read_text())["id"]


def test_the_second_run_goes_on_where_the_first_one_ended(read: Reader, path: Path) -> None:
    with Server(stream(first("a"), event(1), event(2))) as server:
        assert offsets(read(server.url, topics=["orders", "metrics", "orders"], resume=path)) == [1, 2]
        assert json.loads(path.read_text()) == {
            "tailrace": 1,
            "url": server.url.removesuffix("/events"),
            "topics": ["metrics", "orders"],
            "id": "i2",
        }
        server._acts.append(stream(first("i2"), event(3)))
        read(server.url + "?topic=metrics", topics="orders", where="value.total>100", start="-15m", resume=path)
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "i2", "i2", "i3"]
    assert sorted(file.name for file in path.parent.iterdir()) == ["orders.pos", "orders.pos.lock"]


def test_the_first_position_is_stored_before_there_is_an_event(path: Path) -> None:
    with (
        Server(stream(first("a"), event(1))) as server,
        tailrace.stream(server.url, resume=path, resume_every=99) as it,
    ):
        next(it)
        assert stored(path) == "a", (
            "of a process that is killed now, nothing is lost that comes until the next one begins"
        )


def test_an_event_is_handled_once_the_next_one_is_asked_for(path: Path) -> None:
    pieces = (first("a"), event(1), event(2), event(3))
    with Server(stream(*pieces)) as server, tailrace.stream(server.url, resume=path, resume_every=0) as events:
        for it in events:
            assert stored(path) == {1: "a", 2: "i1", 3: "i2"}[it.offset]
            if it.offset == 3:
                break
    assert stored(path) == "i2"
    path.unlink()
    with Server(stream(*pieces)) as server, tailrace.stream(server.url, resume=path) as events:
        next(events)
        events.done()
    assert stored(path) == "i1"

    async def read() -> None:
        async with tailrace.astream(server.url, resume=path, resume_every=0) as events:
            async for it in events:
                assert stored(path) == {1: "a", 2: "i1", 3: "i2"}[it.offset]
                if it.offset == 3:
                    events.done()
                    break

    path.unlink()
    with Server(stream(*pieces)) as server:
        asyncio.run(read())
    assert stored(path) == "i3"


def test_what_raises_is_not_handled(path: Path) -> None:
    gap = control("tailrace.gap", {"code": "unknown_id"}, "g")
    pieces = (first("a"), event(1), event(2), gap)
    with Server(stream(*pieces)) as server, pytest.raises(ZeroDivisionError):
        with tailrace.stream(server.url, resume=path) as events:
            for it in events:
                _ = 1 / (it.offset - 2)
    assert stored(path) == "i1"
    path.unlink()
    with Server(stream(*pieces)) as server, pytest.raises(GapError), tailrace.stream(server.url, resume=path) as events:
        list(events)
    assert stored(path) == "i2", "the gap comes again, until somebody has handled it"

    async def read() -> None:
        async with tailrace.astream(server.url, resume=path) as events:
            async for it in events:
                _ = 1 / (it.offset - 2)

    path.unlink()
    with Server(stream(*pieces)) as server, pytest.raises(ZeroDivisionError):
        asyncio.run(read())
    assert stored(path) == "i1"


def test_positions_without_events_are_stored_too(read: Reader, path: Path) -> None:
    with Server(stream(first("a"), event(1), b"id: b\n\n", b"id: c\n\n")) as server:
        read(server.url, resume=path)
    assert stored(path) == "c"


def test_writes_are_rare_unless_each_is_asked_for(read: Reader, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    replace = Path.replace

    def replaced(self: Path, to: Path) -> Path:
        written.append(stored(self))
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", replaced)
    pieces = (first("a"), *(event(offset) for offset in range(50)))
    with Server(stream(*pieces)) as server:
        read(server.url, resume=path, resume_every=99)
    assert written == ["a", "i49"]
    written.clear()
    path.unlink()
    with Server(stream(*pieces)) as server:
        read(server.url, resume=path, resume_every=0)
    assert written == ["a", *(f"i{offset}" for offset in range(50))]


# What is there before


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{", "is not a position"),
        (b"[1]", "is not a position"),
        (b"null", "is not a position"),
        (b"\xff\xfe", "is not a position"),
        (b"[" * 100_000, "is not a position"),
        (b'{"id":"x"}', "is not a position"),
        (b'{"tailrace":2,"id":"x"}', "form 2"),
        (b'{"tailrace":1,"id":"x"}', "another stream"),
        (b'{"tailrace":1,"url":"http://h/t/acme","topics":["orders"],"id":""}', "the id ''"),
        (b'{"tailrace":1,"url":"http://h/t/acme","topics":["orders"],"id":"a\\nb"}', "the id"),
        (b'{"tailrace":1,"url":"http://h/t/acme","topics":["orders"],"id":7}', "the id 7"),
    ],
)
def test_a_file_that_is_no_position_is_refused_and_left_alone(path: Path, content: bytes, why: str) -> None:
    path.write_bytes(content)
    for _ in range(2):  # the lock was given back
        with pytest.raises(PositionError, match=why) as error:
            tailrace.stream("http://h/t/acme/events", topics="orders", resume=path)
        assert str(error.value).startswith(str(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("url", "topics"),
    [
        ("http://h/t/globex/events", ["orders"]),
        ("http://other/t/acme/events", ["orders"]),
        ("https://h/t/acme/events", ["orders"]),
        ("http://h/t/acme/events", ["orders", "metrics"]),
        ("http://h/t/acme/events", []),
    ],
)
def test_the_position_of_another_stream_is_refused(path: Path, url: str, topics: list[str]) -> None:
    it = PositionFile(path, IDENTITY, 0)
    it.note("x")
    it.close(0)
    tailrace.stream("http://h/t/acme/events", topics="orders", types="other", resume=path).close()
    with pytest.raises(PositionError, match=r"another stream: .*acme.*, not .*"):
        tailrace.stream(url, topics=topics, resume=path)


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for place in ("absent/orders.pos", "file/orders.pos", "folder"):
        with pytest.raises(PositionError, match=r"No such file|Not a directory|Is a directory"):
            tailrace.stream("http://h/t/acme/events", resume=tmp_path / place)
    with pytest.raises(PositionError):
        tailrace.stream("http://h/t/acme/events", resume="/proc/orders.pos")


def test_a_link_stays_a_link(read: Reader, path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere" / "orders.pos")
    with Server(stream(first("a"), event(1))) as server:
        read(server.url, resume=path)
    assert path.is_symlink()
    assert stored(path) == "i1"


def test_what_a_crash_has_left_is_no_hindrance(read: Reader, path: Path) -> None:
    path.with_name("orders.pos.new").write_text('{"tailr')
    path.with_name("orders.pos.lock").write_text("")
    with Server(stream(first("a"), event(1))) as server:
        read(server.url, resume=path)
    assert stored(path) == "i1"


# While it runs


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_a_failing_write_is_raised_and_leaves_the_position_of_before(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    it = PositionFile(path, IDENTITY, 0)
    it.note("before")
    it.write(0)
    it.note("later")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os if step == "fsync" else Path, step, fail)
        with pytest.raises(PositionError, match="No space left on device"):
            it.write(1)
    assert stored(path) == "before"
    it.write(2)
    assert stored(path) == "later"
    it.close(3)


def test_a_position_that_cannot_be_stored_stops_the_reader(
    read: Reader, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with Server(stream(first("a"), event(1))) as server, pytest.raises(PositionError, match="Input/output error"):
        read(server.url, resume=path)
    monkeypatch.undo()
    PositionFile(path, IDENTITY, 0).close(0)  # and the file is free again


def test_a_file_that_somebody_deletes_is_written_again(path: Path) -> None:
    pieces = (first("a"), event(1), event(2))
    with Server(stream(*pieces)) as server, tailrace.stream(server.url, resume=path, resume_every=0) as events:
        next(events)
        path.unlink()
        next(events)
        assert stored(path) == "i1"


def test_two_readers_cannot_have_one_file(path: Path) -> None:
    with Server(stream(first("a"))) as server:
        with tailrace.stream(server.url, resume=path):
            for open_it in (tailrace.stream, tailrace.astream):
                with pytest.raises(PositionError, match="in use by another reader"):
                    open_it(server.url, resume=path)
        tailrace.stream(server.url, resume=path).close()


def test_a_killed_process_gives_the_file_back(path: Path) -> None:
    program = f"""
import sys, tailrace
events = tailrace.stream("http://h/t/acme/events", topics="orders", resume={str(path)!r})
print("open", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(PositionError, match="in use by another reader"):
            tailrace.stream("http://h/t/acme/events", topics="orders", resume=path)
        child.send_signal(signal.SIGKILL)
        child.wait()
    tailrace.stream("http://h/t/acme/events", topics="orders", resume=path).close()


# Pages


def test_pages_and_streams_go_on_with_each_other_s_file(path: Path) -> None:
    one = {"topic": "o", "partition": 0, "offset": 1, "timestamp": None, "key": None, "headers": {}, "value": 1}
    with Server(page(one, next="p1", more=True), page(one, next="p2")) as server:
        for number, _ in enumerate(tailrace.pages(server.records, resume=path), 1):
            if number == 2:
                assert stored(path) == "p1"
        assert stored(path) == "p2"
        server._acts.append(stream(first("p2"), event(3)))
        with tailrace.stream(server.url, resume=path) as events:
            assert offsets(list(events)) == [3]
        server._acts.append(page(one, next="p3"))

        async def read() -> None:
            async for _ in tailrace.apages(server.records, resume=path):
                pass

        asyncio.run(read())
        assert stored(path) == "p3"
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "p1", "p2", "i3", "i3"]


def test_a_page_in_hand_is_not_handled(path: Path) -> None:
    with Server(page(next="p1", more=True), page(next="p2", more=True)) as server:
        reading = tailrace.pages(server.records, resume=path)
        next(reading)
        next(reading)
        with pytest.raises(PositionError, match="in use"):
            next(tailrace.pages(server.records, resume=path))
        del reading
    assert stored(path) == "p1"
    with httpx.Client() as client, pytest.raises(PositionError, match="another stream"):
        next(tailrace.pages("http://h/t/globex/records", resume=path, client=client))
