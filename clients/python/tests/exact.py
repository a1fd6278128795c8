"""Reads a real server, with the position in a file, and prints each value; tests/python_package.rs compares.

exact.py WAY ADDRESS FILE, where WAY is `stream`, `astream` or `pages`. May be killed at any moment, and started again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time

import tailrace

WAY, ADDRESS, FILE = sys.argv[1:]
#: What a page has, so that a kill repeats no more.
LIMIT = 20


def handle(value: object) -> None:
    time.sleep(0.005)  # a kill here must not lose the event,
    print(value, flush=True)
    time.sleep(0.001)  # and one here repeats it


def stream() -> None:
    with tailrace.stream(ADDRESS, topics="orders", start="earliest", resume=FILE, resume_every=0) as events:
        for event in events:
            handle(event.value)


async def astream() -> None:
    async with tailrace.astream(ADDRESS, topics="orders", start="earliest", resume=FILE, resume_every=0) as events:
        async for event in events:
            handle(event.value)


def pages() -> None:
    for page in tailrace.pages(ADDRESS, topics="orders", start="earliest", resume=FILE, limit=LIMIT, wait=1):
        for event in page:
            handle(event.value)


logging.basicConfig(level=logging.INFO)
tailrace.reconnect.LONGEST = 1.0  # a bridge that was killed is back within seconds
match WAY:
    case "stream":
        stream()
    case "astream":
        asyncio.run(astream())
    case "pages":
        pages()
