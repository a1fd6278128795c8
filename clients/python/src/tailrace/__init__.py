"""Reads Tailrace: Kafka topics as event streams that resume exactly.

    from tailrace import stream

    with stream("http://localhost:8080/t/acme/events", topics="orders", start="-15m", resume="orders.pos") as events:
        for event in events:
            print(event.key, event.value)

`astream` is the same for asyncio; `pages` and `apages` read by single requests.
"""

from .aio import AsyncStream, astream
from .errors import GapError, PositionError, ProtocolError, Refused, TailraceError, Unreachable
from .items import PROTOCOL, Control, Ended, Event, Gap, Item, Kind, Status, Synced
from .pages import Page, apages, pages
from .session import State
from .sync import Stream, stream

__version__ = "0.1.0"

__all__ = [
    "PROTOCOL",
    "AsyncStream",
    "Control",
    "Ended",
    "Event",
    "Gap",
    "GapError",
    "Item",
    "Kind",
    "Page",
    "PositionError",
    "ProtocolError",
    "Refused",
    "State",
    "Status",
    "Stream",
    "Synced",
    "TailraceError",
    "Unreachable",
    "__version__",
    "apages",
    "astream",
    "pages",
    "stream",
]
