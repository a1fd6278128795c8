"""A stream that is read with `async for`, under asyncio."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from types import TracebackType

import httpx

from .errors import GapError
from .items import Event, Gap, Item
from .reconnect import MAX_PROBLEM
from .request import AsyncToken, Values
from .session import ANSWER, OnState, Session, new_session, reason
from .sync import NETWORK


def astream(
    url: str,
    *,
    topics: Values = (),
    types: Values = (),
    keys: Values = (),
    where: Values = (),
    start: str | datetime | None = None,
    conflate: bool = False,
    last_event_id: str | None = None,
    resume: str | os.PathLike[str] | None = None,
    resume_every: float = 1.0,
    token: AsyncToken | None = None,
    heartbeat: float | None = 15.0,
    patience: float | None = None,
    on_state: OnState | None = None,
    client: httpx.AsyncClient | None = None,
) -> AsyncStream:
    """Opens a stream as `stream()` does, for `async with` and `async for`. `token` may be a coroutine function."""
    session = new_session(
        url,
        topics=topics,
        types=types,
        keys=keys,
        where=where,
        start=start,
        conflate=conflate,
        last_event_id=last_event_id,
        resume=resume,
        resume_every=resume_every,
        renews=callable(token),
        heartbeat=heartbeat,
        patience=patience,
        on_state=on_state,
    )
    return AsyncStream(session, token, client)


class AsyncStream:
    """The events of a stream, for one task. Made by `astream()`.

    An exception does not end it: reading may go on behind it, except after Refused and Unreachable. Cancelling a read
    loses nothing and leaves the connection alone: `asyncio.wait_for(anext(events), 1)` may be called again and again.
    """

    def __init__(self, session: Session, token: AsyncToken | None, client: httpx.AsyncClient | None) -> None:
        self._session = session
        self._token = token
        self._client = client if client is not None else httpx.AsyncClient()
        self._owns_client = client is None
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._present: str | None = None  # the token of this connection
        self._next_token: str | None = None  # of the next one, where it was asked for ahead of time
        self._reading: asyncio.Task[None] | None = None  # outlives the cancellation of who waits for it

    @property
    def last_event_id(self) -> str:
        """The id of the last event that was read. Resume with it."""
        return self._session.last_event_id

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """The next record. Raises GapError where records are missing; the other control events are passed over."""
        while (it := await self._next()) is not None:
            if isinstance(it, Event):
                return it
            if isinstance(it, Gap):
                raise GapError(it)
        raise StopAsyncIteration

    def all(self) -> AsyncIterator[Item]:
        """Events, and the control events between them: gaps, when the stream is live, when its data become stale."""
        return _All(self)

    def done(self) -> None:
        """What was read is handled: for who leaves the loop, and so does not ask for the next event."""
        self._session.done()

    async def aclose(self) -> None:
        """Ends the stream, and stores the position of what was handled. Raises PositionError."""
        self._session.close()
        try:
            await self._stop()
            await self._disconnect()
            if self._owns_client:
                await self._client.aclose()
        finally:
            # Not in a thread: a task that is cancelled would not wait for it, and the file would stay locked.
            if self._session.position is not None:
                self._session.position.close(time.monotonic())

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next(self) -> Item | None:
        session = self._session
        session.done()
        while not session.is_over:
            if session.is_due:
                await asyncio.to_thread(session.store)
            if not session.has_more:
                await self._read_on()
            # Nothing is awaited between this and the return, where a cancellation would lose it.
            elif (it := session.take()) is not None:
                return it
        return None

    async def _read_on(self) -> None:
        reading = self._reading = self._reading or asyncio.create_task(self._read())
        try:
            await asyncio.shield(reading)
        finally:
            if reading.done():
                self._reading = None

    async def _read(self) -> None:
        """Reads once, or connects."""
        session = self._session
        if self._chunks is None:
            await self._connect()
            return
        if session.renew:
            await self._renew()
            return
        try:
            chunk = await anext(self._chunks, None)
        except NETWORK as error:
            await self._disconnect()
            session.ended(reason(error))
            return
        if chunk is None:
            await self._disconnect()
            session.ended("the stream ended")
        else:
            session.received(chunk)

    async def _connect(self) -> None:
        session = self._session
        await asyncio.sleep(session.delay)
        session.connecting()
        try:
            self._present = self._next_token or await ask(self._token)
            self._next_token = None
            timeout = httpx.Timeout(ANSWER, read=session.read_timeout)
            headers = session.headers(self._present)
            request = self._client.build_request("GET", session.request.address(), headers=headers, timeout=timeout)
            response = await self._client.send(request, stream=True, follow_redirects=True)
        except NETWORK as error:
            session.failed(reason(error))
            return
        if session.is_stream(response.status_code, response.headers):
            self._response, self._chunks = response, response.aiter_bytes()
            session.answered()
        else:
            session.refused(response.status_code, response.headers, await problem_of(response))

    async def _renew(self) -> None:
        """Asks for a new token while the stream goes on, and resumes with it; without one, it ends with its token."""
        self._session.renew = False
        try:
            token = await ask(self._token)
        except NETWORK:
            return
        # With the same token, the stream would be told the same again, at once.
        if token != self._present:
            self._next_token = token
            await self._disconnect()
            self._session.replaced()

    async def _stop(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _disconnect(self) -> None:
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            with suppress(*NETWORK):
                await response.aclose()


class _All(AsyncIterator[Item]):
    def __init__(self, events: AsyncStream) -> None:
        self._events = events

    async def __anext__(self) -> Item:
        it = await self._events._next()
        if it is None:
            raise StopAsyncIteration
        return it


async def ask(token: AsyncToken | None) -> str | None:
    """The token to send."""
    if not callable(token):
        return token
    given = token()
    return await given if inspect.isawaitable(given) else given


async def problem_of(response: httpx.Response) -> bytes:
    """What an answer says that is no stream, up to MAX_PROBLEM; closes it."""
    body = b""
    with suppress(*NETWORK):
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_PROBLEM:
                break
    with suppress(*NETWORK):
        await response.aclose()
    return body
