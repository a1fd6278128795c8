"""A stream that is read with `for`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from types import TracebackType

import httpx

from .errors import GapError
from .items import Event, Gap, Item
from .reconnect import MAX_PROBLEM
from .request import Token, Values
from .session import ANSWER, OnState, Session, new_session, reason

#: What a network does. Everything else is an error of a program, and raised.
NETWORK = (httpx.RequestError, OSError)


def stream(
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
    token: Token | None = None,
    heartbeat: float | None = 15.0,
    patience: float | None = None,
    on_state: OnState | None = None,
    client: httpx.Client | None = None,
) -> Stream:
    """Opens a stream, which reconnects by itself, and resumes exactly.

    url: `http://localhost:8080/t/acme/events`.
    topics, types, keys, where: what to read; all of `where`, any of the others. One value or several.
    start: `latest` (the default), `earliest`, `snapshot`, `-15m`, `-100`, a time, an id: where to begin.
    conflate: after a disconnect, only the newest record of each key.
    last_event_id: where to resume; wins over `start`.
    resume: a file that keeps the position; wins over `start`. See `resume_every`.
    resume_every: seconds between two writes of the file. An event counts as handled once the next one is asked for.
        After a crash, what was handled within so many seconds may come again, besides the event in hand; with 0, the
        event in hand alone.
    token: for `Authorization`; a function is called before each connection, and before a token expires.
    heartbeat: the server sends something this often, in seconds (1 to 3600); after 2.5 times as long without a byte,
        the connection is dead. None: the server's heartbeat, and no watch.
    patience: raises Unreachable after so many seconds without a connection; None: tries for ever.
    on_state: called with `connecting`, `open`, `waiting` or `closed`, and a detail.
    client: your own httpx client, for proxies, certificates or HTTP/2. You close it.

    Raises ValueError, PositionError. Reading raises Refused, Unreachable, GapError, PositionError, ProtocolError.
    """
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
    return Stream(session, token, client)


class Stream:
    """The events of a stream, for one thread. Made by `stream()`.

    An exception does not end it: reading may go on behind it, except after Refused and Unreachable.
    """

    def __init__(self, session: Session, token: Token | None, client: httpx.Client | None) -> None:
        self._session = session
        self._token = token
        self._client = client if client is not None else httpx.Client()
        self._owns_client = client is None
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._present: str | None = None  # the token of this connection
        self._next_token: str | None = None  # of the next one, where it was asked for ahead of time

    @property
    def last_event_id(self) -> str:
        """The id of the last event that was read. Resume with it."""
        return self._session.last_event_id

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """The next record. Raises GapError where records are missing; the other control events are passed over."""
        while (it := self._next()) is not None:
            if isinstance(it, Event):
                return it
            if isinstance(it, Gap):
                raise GapError(it)
        raise StopIteration

    def all(self) -> Iterator[Item]:
        """Events, and the control events between them: gaps, when the stream is live, when its data become stale."""
        return _All(self)

    def done(self) -> None:
        """What was read is handled: for who leaves the loop, and so does not ask for the next event."""
        self._session.done()

    def close(self) -> None:
        """Ends the stream, and stores the position of what was handled. Raises PositionError."""
        self._disconnect()
        if self._owns_client:
            self._client.close()
        self._session.close()
        if self._session.position is not None:
            self._session.position.close(time.monotonic())

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> Item | None:
        session = self._session
        session.done()
        while not session.is_over:
            if session.is_due:
                session.store()
            if not session.has_more:
                self._read()
            elif (it := session.take()) is not None:
                return it
        return None

    def _read(self) -> None:
        """Reads once, or connects."""
        if self._response is None:
            self._connect()
            return
        if self._session.renew:
            self._renew()
            return
        try:
            chunk = next(self._chunks, None)
        except NETWORK as error:
            self._disconnect()
            self._session.ended(reason(error))
            return
        if chunk is None:
            self._disconnect()
            self._session.ended("the stream ended")
        else:
            self._session.received(chunk)

    def _connect(self) -> None:
        session = self._session
        time.sleep(session.delay)
        session.connecting()
        try:
            self._present = self._next_token or ask(self._token)
            self._next_token = None
            timeout = httpx.Timeout(ANSWER, read=session.read_timeout)
            headers = session.headers(self._present)
            request = self._client.build_request("GET", session.request.address(), headers=headers, timeout=timeout)
            response = self._client.send(request, stream=True, follow_redirects=True)
        except NETWORK as error:
            session.failed(reason(error))
            return
        if session.is_stream(response.status_code, response.headers):
            self._response, self._chunks = response, response.iter_bytes()
            session.answered()
        else:
            session.refused(response.status_code, response.headers, problem_of(response))

    def _renew(self) -> None:
        """Asks for a new token while the stream goes on, and resumes with it; without one, it ends with its token."""
        self._session.renew = False
        try:
            token = ask(self._token)
        except NETWORK:
            return
        # With the same token, the stream would be told the same again, at once.
        if token != self._present:
            self._next_token = token
            self._disconnect()
            self._session.replaced()

    def _disconnect(self) -> None:
        response, self._response, self._chunks = self._response, None, iter(())
        if response is not None:
            with suppress(*NETWORK):
                response.close()


class _All(Iterator[Item]):
    def __init__(self, events: Stream) -> None:
        self._events = events

    def __next__(self) -> Item:
        it = self._events._next()
        if it is None:
            raise StopIteration
        return it


def ask(token: Token | None) -> str | None:
    """The token to send."""
    return token() if callable(token) else token


def problem_of(response: httpx.Response) -> bytes:
    """What an answer says that is no stream, up to MAX_PROBLEM; closes it."""
    body = b""
    with suppress(*NETWORK):
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_PROBLEM:
                break
    with suppress(*NETWORK):
        response.close()
    return body
