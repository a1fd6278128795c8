"""What a stream knows from one connection to the next. Does no I/O: `sync.py` and `aio.py` read for it.

In this order, over and over: `connecting`; then `answered`, `received` as often as bytes come, and `ended`, or only
`refused` or `failed`. In between, while `has_more`, `take` gives what has come; `done` says that all of it is handled.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from .items import Ended, Item, Status, item
from .parser import Frame, Parser
from .position import PositionFile
from .reconnect import Reconnect, log
from .request import Request, Values

State = Literal["connecting", "open", "waiting", "closed"]
OnState = Callable[[State, str], None]

#: A connection counts as dead after this many heartbeats without a byte.
SILENT_HEARTBEATS = 2.5
#: The time until a server answers, in seconds, where no heartbeat says how long to wait.
ANSWER = 30.0
#: A connection must be this old, in seconds, for a new token ahead of time: else short tokens would make a busy loop.
RENEW = 1.0


class Session:
    """The state of one stream."""

    def __init__(
        self,
        request: Request,
        *,
        last_event_id: str,
        position: PositionFile | None,
        patience: float | None,
        heartbeat: float | None,
        renews: bool,
        on_state: OnState | None,
    ) -> None:
        self.request = request
        self.position = position
        self.heartbeat = heartbeat
        #: Whether it has ended for good.
        self.is_over = False
        #: Whether the server has said that the token expires.
        self.renew = False
        self._renews = renews
        self._on_state = on_state
        id = last_event_id or (position.id if position else "")
        self._parser = Parser(id)
        self._frames: deque[Frame] = deque()
        #: The id of the last event that the program has seen, or whose turn has come.
        self.last_event_id = id
        self._opened_at = 0.0
        self._reconnect = Reconnect(patience, renews=renews)
        self._reason = ""

    @property
    def delay(self) -> float:
        """To wait before the next attempt, in seconds."""
        return self._reconnect.delay

    @property
    def read_timeout(self) -> float:
        """The longest time without a byte, in seconds."""
        return ANSWER if self.heartbeat is None else self.heartbeat * SILENT_HEARTBEATS

    def connecting(self) -> None:
        """An attempt begins."""
        self._enter("connecting", "")

    def headers(self, token: str | None) -> dict[bytes, bytes]:
        """Of the next request."""
        return self.request.headers(token, self._parser.last_event_id)

    def is_stream(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether this is the answer that was asked for."""
        return status == 200 and headers.get("Content-Type", "").lower().startswith("text/event-stream")

    def answered(self) -> None:
        """The stream begins."""
        self._parser.restart()
        self._opened_at = time.monotonic()
        self._enter("open", "")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """The answer is no stream. Raises Refused, Unreachable."""
        if status == 204:
            self.close("the server has ended the stream for good (204)")
            return
        self._reconnect.refused(status, headers, body, time.monotonic())
        self._wait()

    def failed(self, reason: str) -> None:
        """There was no answer. Raises Unreachable."""
        self._reconnect.failed(reason, time.monotonic())
        self._wait()

    def received(self, chunk: bytes) -> None:
        """Bytes of the stream. Raises ProtocolError."""
        frames = self._parser.feed(chunk)
        if frames:
            self._reconnect.worked()
            self._frames.extend(frames)

    def ended(self, reason: str) -> None:
        """The stream has ended, or its connection has. Raises Unreachable."""
        retry = self._parser.retry_ms
        reason, self._reason = self._reason or reason, ""
        self._reconnect.ended(reason, None if retry is None else retry / 1000, time.monotonic())
        self._wait()

    def replaced(self) -> None:
        """The connection was given up for one with a new token."""
        self._reconnect.delay = 0.0

    def take(self) -> Item | None:
        """The next item, or None for a frame that has none. Raises ProtocolError, behind what cannot be read."""
        frame = self._frames.popleft()
        self.last_event_id = frame.id
        if frame.data is None:
            self.done()
            return None
        it = item(frame, frame.data)
        self._heed(it)
        return it

    @property
    def has_more(self) -> bool:
        """Whether something can be taken."""
        return bool(self._frames)

    def done(self) -> None:
        """Everything that was taken is handled."""
        if self.position is not None:
            self.position.note(self.last_event_id)

    @property
    def is_due(self) -> bool:
        """Whether it is time to store the position."""
        return self.position is not None and self.position.is_due(time.monotonic())

    def store(self) -> None:
        """Stores the position. Raises PositionError."""
        if self.position is not None:
            self.position.write(time.monotonic())

    def close(self, why: str = "") -> None:
        """No more of it. What has come and was not taken is dropped: it comes again on a resume."""
        if not self.is_over:
            self.is_over = True
            self._frames.clear()
            self._enter("closed", why)

    def _heed(self, it: Item) -> None:
        if isinstance(it, Ended):
            self._reason = f"the server says {it.code}" + (f": {it.message}" if it.message else "")
        elif isinstance(it, Status):
            if it.code == "token_expiring":
                self.renew = self._renews and time.monotonic() - self._opened_at >= RENEW
            elif it.message or it.code != "ok":
                log.warning("%s", it.message or f"the server says {it.code}")

    def _wait(self) -> None:
        self._enter("waiting", f"{self._reconnect.delay:.1f} s: {self._reconnect.reason}")

    def _enter(self, state: State, detail: str) -> None:
        if self._on_state is not None:
            self._on_state(state, detail)


def new_session(
    url: str,
    *,
    topics: Values,
    types: Values,
    keys: Values,
    where: Values,
    start: str | datetime | None,
    conflate: bool,
    last_event_id: str | None,
    resume: str | os.PathLike[str] | None,
    resume_every: float,
    renews: bool,
    heartbeat: float | None,
    patience: float | None,
    on_state: OnState | None,
) -> Session:
    """The session of a stream. Raises ValueError, PositionError."""
    if heartbeat is not None and not 1 <= heartbeat <= 3600:
        raise ValueError("a heartbeat is 1 to 3600 seconds")
    if resume is not None and last_event_id is not None:
        raise ValueError("resume= and last_event_id= both say where to resume")
    beat = None if heartbeat is None else f"{round(heartbeat * 1000)}ms"
    others = [("conflate", "key" if conflate else None), ("heartbeat", beat)]
    request = Request.of(
        url, "text/event-stream", topics=topics, types=types, keys=keys, where=where, start=start, others=others
    )
    return Session(
        request,
        last_event_id=last_event_id or "",
        position=PositionFile(resume, request.identity, resume_every) if resume is not None else None,
        patience=patience,
        heartbeat=heartbeat,
        renews=renews,
        on_state=on_state,
    )


def reason(error: Exception) -> str:
    """Why a connection failed, for the log."""
    return str(error) or type(error).__name__
