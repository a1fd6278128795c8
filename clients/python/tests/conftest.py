from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

import tailrace
from tailrace import Event, Item, reconnect

# The same examples each time, and no deadline, since other programs share the processor. With HYPOTHESIS_PROFILE=search
# it looks for others.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("search", max_examples=20_000, database=None, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

Reader = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays of a test's length; that they grow is tested with the real ones."""
    monkeypatch.setattr(reconnect, "FIRST", 0.01)


def _sync(url: str, /, **options: Any) -> list[Item]:
    is_all = options.pop("all", True)
    with tailrace.stream(url, **options) as events:
        return list(events.all() if is_all else events)


def _async(url: str, /, **options: Any) -> list[Item]:
    is_all = options.pop("all", True)

    async def read() -> list[Item]:
        async with tailrace.astream(url, **options) as events:
            items: AsyncIterator[Item] = events.all() if is_all else events
            return [it async for it in items]

    return asyncio.run(read())


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def read(request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Reads a stream to its end, both ways: `read(url, **options)`; with `all=False` by the loop of events alone."""
    yield request.param


def offsets(items: list[Any]) -> list[int]:
    return [it.offset for it in items if isinstance(it, Event)]
