"""Pages of records: the same records by single requests, for jobs, and for networks that break streams."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from .aio import ask as ask_async
from .errors import GapError, ProtocolError
from .items import Event, Gap, gap, record
from .position import PositionFile
from .reconnect import Reconnect
from .request import AsyncToken, Request, Token, Values
from .session import ANSWER, reason
from .sync import NETWORK, ask


@dataclass(frozen=True, slots=True)
class Page:
    """Records, and where they end."""

    #: Events, and gaps between them.
    items: tuple[Event | Gap, ...]
    #: Whether there may be more, at once.
    more: bool
    #: The id where the page ends: of the next page, or of a stream.
    next: str

    def __iter__(self) -> Iterator[Event]:
        """Raises GapError where records are missing."""
        for it in self.items:
            if isinstance(it, Gap):
                raise GapError(it)
            yield it


def pages(
    url: str,
    *,
    topics: Values = (),
    types: Values = (),
    keys: Values = (),
    where: Values = (),
    start: str | datetime | None = None,
    last_event_id: str | None = None,
    resume: str | os.PathLike[str] | None = None,
    limit: int = 1000,
    wait: float | None = None,
    token: Token | None = None,
    patience: float | None = None,
    client: httpx.Client | None = None,
) -> Iterator[Page]:
    """Reads page after page, of up to `limit` records, until there are no more.

    url: `http://localhost:8080/t/acme/records`.
    wait: go on for ever; an answer waits for the first record, up to so many seconds (55 at most).
    resume: a file that keeps the position, written once the next page is asked for. A stream may go on with it.
    All others are those of `stream()`.

    Raises ValueError, PositionError, Refused, Unreachable, ProtocolError.
    """
    pager = _Pager(
        url,
        topics=topics,
        types=types,
        keys=keys,
        where=where,
        start=start,
        last_event_id=last_event_id,
        resume=resume,
        limit=limit,
        wait=wait,
        patience=patience,
        renews=callable(token),
    )
    return _read(pager, token, client)


def apages(
    url: str,
    *,
    topics: Values = (),
    types: Values = (),
    keys: Values = (),
    where: Values = (),
    start: str | datetime | None = None,
    last_event_id: str | None = None,
    resume: str | os.PathLike[str] | None = None,
    limit: int = 1000,
    wait: float | None = None,
    token: AsyncToken | None = None,
    patience: float | None = None,
    client: httpx.AsyncClient | None = None,
) -> AsyncIterator[Page]:
    """Reads as `pages()` does, for `async for`."""
    pager = _Pager(
        url,
        topics=topics,
        types=types,
        keys=keys,
        where=where,
        start=start,
        last_event_id=last_event_id,
        resume=resume,
        limit=limit,
        wait=wait,
        patience=patience,
        renews=callable(token),
    )
    return _aread(pager, token, client)


def _read(pager: _Pager, token: Token | None, client: httpx.Client | None) -> Iterator[Page]:
    reader = client if client is not None else httpx.Client()
    try:
        while not pager.is_over:
            time.sleep(pager.delay)
            try:
                headers = pager.headers(ask(token))
                answer = reader.get(pager.address, headers=headers, timeout=pager.timeout, follow_redirects=True)
            except NETWORK as error:
                pager.failed(reason(error))
                continue
            if (page := pager.answered(answer)) is not None:
                yield page
                pager.done()
    finally:
        pager.close()
        if client is None:
            reader.close()


async def _aread(pager: _Pager, token: AsyncToken | None, client: httpx.AsyncClient | None) -> AsyncIterator[Page]:
    reader = client if client is not None else httpx.AsyncClient()
    try:
        while not pager.is_over:
            await asyncio.sleep(pager.delay)
            try:
                headers = pager.headers(await ask_async(token))
                answer = await reader.get(pager.address, headers=headers, timeout=pager.timeout, follow_redirects=True)
            except NETWORK as error:
                pager.failed(reason(error))
                continue
            if (page := pager.answered(answer)) is not None:
                yield page
                await asyncio.to_thread(pager.done)
    finally:
        pager.close()
        if client is None:
            await reader.aclose()


class _Pager:
    """What is known from one page to the next. Does no I/O but for the file."""

    def __init__(
        self,
        url: str,
        *,
        topics: Values,
        types: Values,
        keys: Values,
        where: Values,
        start: str | datetime | None,
        last_event_id: str | None,
        resume: str | os.PathLike[str] | None,
        limit: int,
        wait: float | None,
        patience: float | None,
        renews: bool,
    ) -> None:
        if resume is not None and last_event_id is not None:
            raise ValueError("resume= and last_event_id= both say where to resume")
        waits = [("wait", None if wait is None else f"{round(wait * 1000)}ms"), ("limit", str(limit))]
        self._request = Request.of(
            url, "application/json", topics=topics, types=types, keys=keys, where=where, start=start, others=waits
        )
        self._position = PositionFile(resume, self._request.identity, 0.0) if resume is not None else None
        self._id = last_event_id or (self._position.id if self._position else "")
        self._reconnect = Reconnect(patience, renews=renews)
        self._follows = wait is not None
        self.is_over = False
        self.address = self._request.address()
        self.timeout = httpx.Timeout(ANSWER, read=ANSWER + (wait or 0.0))

    @property
    def delay(self) -> float:
        return self._reconnect.delay

    def headers(self, token: str | None) -> dict[bytes, bytes]:
        return self._request.headers(token, self._id)

    def failed(self, reason: str) -> None:
        self._reconnect.failed(reason, time.monotonic())

    def answered(self, answer: httpx.Response) -> Page | None:
        """The page, if this is one."""
        is_page = answer.status_code == 200 and "json" in answer.headers.get("Content-Type", "")
        if not is_page:
            self._reconnect.refused(answer.status_code, answer.headers, answer.content, time.monotonic())
            return None
        page = _page(answer.content)
        self._reconnect.worked()
        self._id = page.next
        self.is_over = not page.more and not self._follows
        return page

    def done(self) -> None:
        """The page was handled."""
        if self._position is not None:
            self._position.note(self._id)
            self._position.write(time.monotonic())

    def close(self) -> None:
        if self._position is not None:
            self._position.close(time.monotonic())


def _page(content: bytes) -> Page:
    try:
        it: dict[str, Any] = json.loads(content)
        items: list[Event | Gap] = [record(each) for each in it["records"]]
        # From the last one, so that the indexes of those before it stay right.
        for each in reversed(it.get("gaps", [])):
            items.insert(each["at"], gap(each))
        return Page(tuple(items), it.get("more", False), it["next"])
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise ProtocolError(f"the page cannot be read: {type(error).__name__}: {error}") from error
