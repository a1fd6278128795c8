"""A position that outlives the process, in a file."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import IO, Any

from .errors import PositionError

_FORMAT = 1
#: The largest file that can be one of these: ids are a few KiB at most.
_LARGEST = 1024 * 1024


class PositionFile:
    """One stream's position. Nobody else may use the file until it is closed.

    A crash, of the process or the machine, leaves the position of some earlier write, whole.
    """

    def __init__(self, path: str | os.PathLike[str], identity: dict[str, object], every: float) -> None:
        """Locks and reads the file. `every`: seconds between two writes.

        Raises PositionError.
        """
        self._path = Path(path).resolve()  # so that a link stays a link
        self._identity = identity
        self._every = every
        self._written_at: float | None = None
        # Written by another thread where an event loop must not wait for the disk.
        self._writing = threading.Lock()
        with self._explained():
            self._lock = _locked(self._path)
        try:
            #: The position to resume at; empty where nothing was stored.
            self.id = self._read()
        except PositionError:
            self._lock.close()
            raise
        self._stored = self.id

    def note(self, id: str) -> None:
        """Takes the position behind what was handled."""
        self.id = id or self.id

    def is_due(self, now: float) -> bool:
        """Whether it is time to write."""
        is_late = self._written_at is None or now - self._written_at >= self._every
        return is_late and self.id != self._stored

    def write(self, now: float) -> None:
        """Stores the position that was noted last. Raises PositionError; the stored one is then as it was."""
        with self._writing, self._explained():
            id = self.id
            if id == self._stored:
                return
            text = json.dumps({"tailrace": _FORMAT, **self._identity, "id": id}, indent=1)
            new = self._path.with_name(self._path.name + ".new")
            with new.open("w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            _sync_folder(self._path.parent)
            self._stored, self._written_at = id, now

    def close(self, now: float) -> None:
        """Stores what was noted, and lets others use the file. Raises PositionError."""
        try:
            self.write(now)
        finally:
            self._lock.close()

    def _read(self) -> str:
        with self._explained():
            try:
                with self._path.open("rb") as file:
                    raw = file.read(_LARGEST)
            except FileNotFoundError:
                return ""
        if not raw.strip():
            raise PositionError(self._path, "is empty, so what was read before is not known; delete it to begin anew")
        try:
            stored: Any = json.loads(raw)
            form, id = stored.pop("tailrace"), stored.pop("id")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise PositionError(self._path, "is not a position; delete it to begin anew") from None
        if form != _FORMAT:
            raise PositionError(self._path, f"has the form {form!r}, which this version does not know")
        if stored != self._identity:
            raise PositionError(self._path, f"is the position of another stream: {stored}, not {self._identity}")
        if not isinstance(id, str) or not re.fullmatch(r"[!-~]+", id):
            raise PositionError(self._path, f"has the id {id!r}, which is none; delete it to begin anew")
        return id

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except OSError as error:
            raise PositionError(self._path, error.strerror or str(error)) from error


def _sync_folder(folder: Path) -> None:
    """Makes the new name last. Windows has no such call, and NTFS keeps names in its journal."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _locked(path: Path) -> IO[bytes]:
    """A lock that the system releases however the process ends. Raises PositionError where another has it."""
    # A file of its own, since the other one is replaced; it stays, since whoever deletes a lock may delete another's.
    lock = path.with_name(path.name + ".lock").open("ab")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        lock.close()
        raise PositionError(path, "is in use by another reader") from None
    return lock
