"""Trouble with pages: none, some that fail for now or for good, gaps, and what is no page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from scripted import Server, answer, page, problem, record

import tailrace
from tailrace import Event, Gap, GapError, Page, ProtocolError, Refused, Unreachable

Paging = Callable[..., list[Page]]


def _sync(url: str, **options: Any) -> list[Page]:
    return list(tailrace.pages(url, **options))


def _async(url: str, **options: Any) -> list[Page]:
    async def read() -> list[Page]:
        return [it async for it in tailrace.apages(url, **options)]

    return asyncio.run(read())


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def read(request: pytest.FixtureRequest) -> Paging:
    paging: Paging = request.param
    return paging


def test_pages_follow_each_other_until_there_are_no_more(read: Paging) -> None:
    gap = {"at": 1, "code": "retention", "topic": "orders", "partition": 0, "from": 1, "to": 7}
    last = {"at": 2, "code": "deleted", "topic": "orders", "partition": 1}
    pages = [
        page({"type": "paid", **record(0)}, record(7), gaps=[gap, last], next="a", more=True),
        page(next="b", more=True),
        page(record(8, code="mismatch", field="key"), next="c"),
    ]
    with Server(*pages) as server:
        one, empty, three = read(server.records, topics="orders", start="-1h", limit=7, token="secret")
    zero, missing, seven, deleted = one.items
    assert isinstance(zero, Event)
    assert (zero.id, zero.type, zero.offset, zero.value, zero.data) == ("", "paid", 0, {"n": 0}, "")
    assert missing == Gap("", "retention", "orders", 0, 1, 7, None)
    assert isinstance(seven, Event)
    assert (seven.type, seven.offset) == (None, 7)
    assert isinstance(deleted, Gap)
    with pytest.raises(GapError, match="retention"):
        list(one)
    assert list(empty) == []
    assert [it.kind for it in three] == ["undecodable"]
    assert (three.next, three.more) == ("c", False)
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "a", "b"]
    asked = server.asked[0]
    assert (asked.all("topic"), asked.all("from"), asked.all("limit"), asked.all("wait")) == (
        ["orders"],
        ["-1h"],
        ["7"],
        [],
    )
    assert asked.all("envelope") == ["record"]
    assert (asked.headers["accept"], asked.headers["authorization"]) == ("application/json", "Bearer secret")


def test_with_a_wait_there_is_always_another(read: Paging) -> None:
    with Server(page(next="a"), page(next="b"), then=answer(404)) as server, pytest.raises(Refused):
        read(server.records, wait=2.5, last_event_id="z")
    assert [asked.headers["last-event-id"] for asked in server.asked] == ["z", "a", "b"]
    assert server.asked[0].all("wait") == ["2500ms"]


def test_what_fails_for_now_is_asked_for_again(read: Paging) -> None:
    acts = (
        problem(503, "overloaded", retry_after="0"),
        answer(502),
        page(record(1), next="a", more=True),
        answer(200, b"<html>", Content_Type="text/html"),
        problem(401, "unauthenticated"),
        page(record(2), next="b"),
    )
    with Server(*acts) as server:
        given = read(server.records, token=lambda: "new")
    assert [it.offset for each in given for it in each] == [1, 2]
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, None, None, "a", "a", "a"]


def test_an_answer_that_is_cut_is_asked_for_again(read: Paging) -> None:
    with Server(answer(200, b'{"rec', Content_Type="application/json", Content_Length="99"), page(next="a")) as server:
        (given,) = read(server.records)
    assert given.next == "a"


def test_what_fails_for_good(read: Paging) -> None:
    with Server(problem(400, "bad_parameter")) as server, pytest.raises(Refused, match="400"):
        read(server.records)
    with Server(answer(200, b"<html>", Content_Type="text/html")) as server, pytest.raises(Refused, match="no stream"):
        read(server.records)
    with Server(then=answer(503)) as server, pytest.raises(Unreachable):
        read(server.records, patience=0.1)
    for body in (b"[]", b"{", b"{}", b'{"records":[{}],"next":"a"}'):
        with Server(answer(200, body, Content_Type="application/json")) as server, pytest.raises(ProtocolError):
            read(server.records)


def test_what_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match="where to resume"):
        tailrace.pages("http://h/records", resume="x", last_event_id="y")
