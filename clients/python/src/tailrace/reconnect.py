"""When there is another attempt after one that failed, and when there is none. Does no I/O, and is told the time."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Mapping
from http import HTTPStatus

from .errors import Refused, Unreachable

log = logging.getLogger("tailrace")

#: The delay before the first new attempt, in seconds; it doubles with each one.
FIRST = 0.5
#: The longest delay: a reader is back within half a minute after its server.
LONGEST = 30.0
#: Statuses at which no attempt can succeed. 401 is not among them where a new token can be had.
FINAL_STATUSES = frozenset({204, 400, 403, 404, 405, 414})
#: The most bytes of an answer that are read for the reason of a refusal.
MAX_PROBLEM = 64 * 1024


class Reconnect:
    """The attempts since a connection was last good."""

    def __init__(self, patience: float | None, *, renews: bool) -> None:
        self._patience = patience
        self._renews = renews
        self._attempts = 0
        self._failing_since: float | None = None
        self._was_good = False
        self._random: Callable[[], float] = random.random
        #: To wait before the next attempt, in seconds.
        self.delay = 0.0
        #: Why the last attempt failed.
        self.reason = ""

    def worked(self) -> None:
        """Something useful came."""
        self._attempts = 0
        self._failing_since = None
        self._was_good = True
        self.delay = 0.0

    def ended(self, reason: str, retry: float | None, now: float) -> None:
        """A connection has ended. After a good one, the server's delay is waited once, which it jitters itself."""
        if retry is not None and self._attempts == 0:
            self._attempts = 1
            self._wait(reason, retry, now)
        else:
            self.failed(reason, now)

    def failed(self, reason: str, now: float, at_least: float = 0.0) -> None:
        """An attempt has failed. Raises Unreachable when patience is over."""
        full = min(LONGEST, FIRST * 2 ** min(self._attempts, 16))
        self._attempts += 1
        # Half of it is random: readers that were cut off together do not come back at the same moment.
        self._wait(reason, max(full * (0.5 + self._random() / 2), at_least), now)

    def refused(self, status: int, headers: Mapping[str, str], body: bytes, now: float) -> None:
        """The answer was not what was asked for. Raises Refused if none will be, Unreachable when patience is over."""
        problem = _problem(headers, body)
        title = _word(problem, "title") or (_title(status) if status != 200 else "The answer is no stream")
        refusal = Refused(
            status,
            code=_word(problem, "code"),
            title=title,
            detail=_word(problem, "detail"),
            parameter=_word(problem, "parameter"),
            trace_id=_word(problem, "trace_id"),
        )
        is_unauthorized = status == 401 and not self._renews
        # Another server's page, where there never was a stream, is a wrong address; later, it is a proxy's.
        is_elsewhere = status == 200 and not self._was_good
        if status in FINAL_STATUSES or is_unauthorized or is_elsewhere:
            raise refusal
        after = headers.get("Retry-After", "")
        self.failed(str(refusal), now, float(after) if after.isdecimal() else 0.0)

    def _wait(self, reason: str, delay: float, now: float) -> None:
        self.delay, self.reason = delay, reason
        since = self._failing_since = now if self._failing_since is None else self._failing_since
        if self._patience is not None and now + delay - since > self._patience:
            raise Unreachable(reason)
        # The first attempt after a good connection is everyday life.
        level = logging.WARNING if self._attempts > 1 or not self._was_good else logging.INFO
        log.log(level, "next attempt in %.1f s: %s", delay, reason)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"


def _problem(headers: Mapping[str, str], body: bytes) -> dict[str, object]:
    if "json" not in headers.get("Content-Type", ""):
        return {}
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _word(problem: dict[str, object], name: str) -> str | None:
    word = problem.get(name)
    return word if isinstance(word, str) else None
