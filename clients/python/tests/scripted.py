"""A server that does what a test says: one act for each connection, then 204, at which readers end."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    parameters: list[tuple[str, str]]
    headers: dict[str, str]
    at: float

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.parameters if known == name]


Act = Callable[[socket.socket], None]


class Server:
    def __init__(self, *acts: Act, then: Act | None = None) -> None:
        self._acts = list(acts)
        self._then = then or answer(204)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self.asked: list[Asked] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/t/acme/events"

    @property
    def records(self) -> str:
        return f"http://127.0.0.1:{self.port}/t/acme/records"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: socket.socket) -> None:
        with wire:
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (piece := wire.recv(65536)):
                        return
                    head += piece
                self.asked.append(_request(head))
                act = self._acts.pop(0) if self._acts else self._then
                act(wire)
            except OSError:
                pass


def _request(head: bytes) -> Asked:
    first, *lines = head.decode().split("\r\n")
    parts = urlsplit(first.split(" ")[1])
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    return Asked(parts.path, parse_qsl(parts.query), headers, time.monotonic())


def answer(status: int, body: bytes = b"", **headers: str) -> Act:
    """A whole answer."""

    def act(wire: socket.socket) -> None:
        all_headers = {"Content-Length": str(len(body)), "Connection": "close", **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in all_headers.items())
        wire.sendall(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body)

    return act


def problem(status: int, code: str, **more: str) -> Act:
    retry = more.pop("retry_after", None)
    body = json.dumps({"title": code.title(), "status": status, "code": code, **more}).encode()
    headers = {"Retry-After": retry} if retry is not None else {}
    return answer(status, body, Content_Type="application/problem+json", **headers)


def page(*records: object, next: str, more: bool = False, gaps: object = None) -> Act:
    it: dict[str, object] = {"records": records, "next": next}
    if more:
        it["more"] = True
    if gaps:
        it["gaps"] = gaps
    return answer(200, json.dumps(it).encode(), Content_Type="application/json")


def stream(*pieces: bytes, end: str = "close", pause: float = 0.0, coding: str = "", until: Act | None = None) -> Act:
    """An event stream in these pieces; then it is closed, reset, or hangs."""

    def act(wire: socket.socket) -> None:
        coded = f"Content-Encoding: {coding}\r\n" if coding else ""
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{coded}Connection: close\r\n\r\n".encode())
        for piece in pieces:
            wire.sendall(piece)
            time.sleep(pause)
        if until is not None:
            until(wire)
        if end == "reset":
            # Not before the reader has what was sent: a reset takes away what was not read yet.
            time.sleep(0.05)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif end == "hang":
            wire.recv(1)

    return act


def first(id: str, retry: int = 10) -> bytes:
    """The first frame of every stream."""
    return f"retry: {retry}\nid: {id}\n\n".encode()


def record(offset: int, value: object = None, **more: object) -> dict[str, object]:
    return {
        "topic": "orders",
        "partition": 0,
        "offset": offset,
        "timestamp": 1767225600000 + offset,
        "key": f"k{offset}",
        "headers": {"tenant": "acme"},
        "value": {"n": offset} if value is None else value,
        **more,
    }


def event(offset: int, value: object = None, *, type: str = "", **more: object) -> bytes:
    """A record with the id `i` and its offset."""
    return control(type, {**record(offset, value), **more}, f"i{offset}")


def control(type: str, data: object, id: str = "") -> bytes:
    name = f"event: {type}\n" if type else ""
    of = f"id: {id}\n" if id else ""
    return f"{name}data: {json.dumps(data)}\n{of}\n".encode()
