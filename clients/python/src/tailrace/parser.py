"""Bytes to frames: an incremental parser of event streams, as the WHATWG standard has it."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ProtocolError

_BOM = b"\xef\xbb\xbf"

#: The most bytes of one frame. What the server decodes is 16 MiB of JSON at most; a producer may have written more.
MAX_FRAME = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Frame:
    """One block of an event stream."""

    #: The event's name; empty where it has none.
    event: str
    #: None: the block is no event and has moved the position at most.
    data: str | None
    #: The last event id, after this block.
    id: str


class Parser:
    """Gives the same frames however the bytes are cut into pieces."""

    def __init__(self, last_event_id: str = "") -> None:
        #: The id of the last complete block. It outlives the connection.
        self.last_event_id = last_event_id
        #: What the server said last in `retry:`. It outlives the connection.
        self.retry_ms: int | None = None
        self.restart()

    def restart(self) -> None:
        """Drops what an ended connection has left: a block counts only when it is complete."""
        self._head: bytes | None = b""  # what may be a byte order mark; None once that is decided
        self._after_cr = False
        self._pieces: list[bytes] = []  # of a line whose end has not come yet
        self._pending = 0  # their bytes
        self._id = self.last_event_id
        self._end_block()

    def feed(self, chunk: bytes) -> list[Frame]:
        """Gives the frames that these bytes complete.

        Raises ProtocolError if a frame is larger than MAX_FRAME.
        """
        chunk = self._without_bom(chunk)
        if self._after_cr and chunk:
            # The line has ended with the CR already.
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()  # of bytes: at CR, LF and CRLF only
        rest = None if chunk.endswith((b"\r", b"\n")) else lines.pop()
        frames: list[Frame] = []
        for line in lines:
            if self._pieces:
                line = b"".join((*self._pieces, line))
                self._pieces.clear()
                self._pending = 0
            if line:
                self._field(line)
            else:
                self._dispatch(frames)
        if rest is not None:
            self._pieces.append(rest)
            self._pending += len(rest)
            self._limit()
        return frames

    def _without_bom(self, chunk: bytes) -> bytes:
        if self._head is None:
            return chunk
        head = self._head + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            self._limit()
        elif name == b"event":
            self._event = value.decode(errors="replace")
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit():
            self.retry_ms = int(value[:9])  # eleven days at most: anything longer means the same

    def _dispatch(self, frames: list[Frame]) -> None:
        self.last_event_id = self._id
        data = b"\n".join(self._data).decode(errors="replace") if self._data else None
        frames.append(Frame(self._event, data, self._id))
        self._end_block()

    def _end_block(self) -> None:
        self._event = ""
        self._data: list[bytes] = []
        self._size: int = 0  # of the data

    def _limit(self) -> None:
        if self._size + self._pending > MAX_FRAME:
            raise ProtocolError(f"an event is larger than {MAX_FRAME} bytes")
