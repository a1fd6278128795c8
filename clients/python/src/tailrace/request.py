"""What is asked for: the address of a stream or of pages, and its headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

#: One value or several.
Values = str | Iterable[str]
#: A token, or what gives one before each connection.
Token = str | Callable[[], str]
AsyncToken = str | Callable[[], str | Awaitable[str]]

#: Parameters that the package sets itself.
_OWN = ("access_token", "envelope", "event", "format", "last_event_id")


@dataclass(frozen=True, slots=True)
class Request:
    """One stream's, or one pager's."""

    url: str
    parameters: tuple[tuple[str, str], ...]
    accept: str

    @classmethod
    def of(
        cls,
        url: str,
        accept: str,
        *,
        topics: Values,
        types: Values,
        keys: Values,
        where: Values,
        start: str | datetime | None,
        others: Iterable[tuple[str, str | None]],
    ) -> Request:
        """Raises ValueError for an address that is none, or that has what belongs into an argument."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a stream: http://localhost:8080/t/acme/events")
        parameters = parse_qsl(parts.query, keep_blank_values=True)
        for name, _ in parameters:
            if name in _OWN:
                raise ValueError(f"{name}= cannot be a part of the address: it is set by the package")
        several = (("topic", topics), ("type", types), ("key", keys), ("where", where))
        parameters += [(name, value) for name, values in several for value in _listed(values)]
        parameters += [("envelope", "record")]
        parameters += [(name, value) for name, value in (("from", _start(start)), *others) if value is not None]
        return cls(parts._replace(query="", fragment="").geturl(), tuple(parameters), accept)

    @property
    def identity(self) -> dict[str, object]:
        """What a stored position belongs to. Streams and pages of one tenant have the same ids; filters may change."""
        topics = sorted({value for name, value in self.parameters if name == "topic"})
        return {"url": self.url.rpartition("/")[0], "topics": topics}

    def address(self, more: Iterable[tuple[str, str]] = ()) -> str:
        """The whole address."""
        return f"{self.url}?{urlencode([*self.parameters, *more])}"

    def headers(self, token: str | None, last_event_id: str) -> dict[bytes, bytes]:
        """The headers of one request."""
        # Of the codings that httpx may know, it reads only gzip in whatever pieces it comes: a frame of zstd must begin
        # in the read in which the one before it ends, and a proxy may cut between them.
        headers = {"Accept": self.accept, "Accept-Encoding": "gzip", "Cache-Control": "no-store"}
        if token:
            headers["Authorization"] = f"Bearer {token.strip()}"
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        return {name.encode(): value.encode() for name, value in headers.items()}


def _listed(values: Values) -> list[str]:
    return [values] if isinstance(values, str) else list(values)


def _start(start: str | datetime | None) -> str | None:
    if not isinstance(start, datetime):
        return start
    if start.tzinfo is None:
        raise ValueError("a start needs a time zone: datetime.now(timezone.utc)")
    return start.isoformat()
