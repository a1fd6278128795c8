"""What a reader may have to catch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .items import Gap


class TailraceError(Exception):
    """The base of all errors of this package."""


class Refused(TailraceError):
    """The server refuses the request, and asking again would not change that."""

    def __init__(
        self,
        status: int,
        *,
        code: str | None = None,
        title: str | None = None,
        detail: str | None = None,
        parameter: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        self.status = status
        #: Stable, for programs: `unknown_topic`. None where the answer is not the server's own, but a proxy's.
        self.code = code
        self.title = title
        self.detail = detail
        #: The parameter that cannot be used, where one is to blame.
        self.parameter = parameter
        #: By which the server's log finds the request.
        self.trace_id = trace_id
        said = ": ".join(part for part in (title, detail) if part) or "the answer is no stream"
        super().__init__(f"{status} {said}" + (f" ({parameter}=)" if parameter else ""))


class Unreachable(TailraceError):
    """There was no connection for longer than `patience`."""

    def __init__(self, reason: str) -> None:
        #: Why the last attempt failed.
        self.reason = reason
        super().__init__(reason)


class GapError(TailraceError):
    """Records will not come, since Kafka no longer has them, and the program reads with a loop that expects none."""

    def __init__(self, gap: Gap) -> None:
        self.gap = gap
        super().__init__(f"{gap}; read with .all() to handle gaps")


class PositionError(TailraceError):
    """The file of `resume=` cannot be used."""

    def __init__(self, path: Path, why: str) -> None:
        self.path = path
        super().__init__(f"{path}: {why}")


class ProtocolError(TailraceError):
    """The server says what this version of the package does not understand."""
