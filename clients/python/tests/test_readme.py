"""Each recipe is run, against a server that has three orders, and prints what it should."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import Server, answer, control, event, first, page, record, stream

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
ORDERS = [{"total": 120}, {"total": 80}, {"total": 300}]

#: What the blocks print, in their order.
PRINTED = [
    "orders 0 0 paid k0 {'total': 120}\norders 0 1 paid k1 {'total': 80}\norders 0 2 paid k2 {'total': 300}\n",
    "120\n80\n300\n",
    "3 events\n",
    "to the database: {'total': 120}\nto the database: {'total': 80}\nto the database: {'total': 300}\n",
    "3 orders\n",
    "reload everything, since retention: orders[0], the records from 1 up to 7 will not come\n"
    "apply {'total': 120}\napply {'total': 80}\napply {'total': 300}\n"
    "caught up, from here on it is live\nwhat is shown becomes stale\nreconnecting: draining\n",
    "2 prices\n",
    "{'total': 120}\n{'total': 80}\n{'total': 300}\n",
    "500\n",
    "{'total': 120}\n",
    "connecting\nopen\n{'total': 120}\n{'total': 80}\n{'total': 300}\nwaiting\nconnecting\nclosed\n",
]

EVENTS = [event(offset, value, type="paid") for offset, value in enumerate(ORDERS)]
GAP = control("tailrace.gap", {"code": "retention", "topic": "orders", "partition": 0, "from": 1, "to": 7}, "g")
AFTER = [
    control("tailrace.synced", {"replayed": 3}),
    control("tailrace.status", {"code": "lagging"}),
    control("tailrace.drain", {"code": "draining", "retry_ms": 10}),
]


def server_of(block: str) -> Server:
    if "pages(" in block:
        records = [record(offset, value) for offset, value in enumerate(ORDERS)]
        return Server(page(*records[:2], next="a", more=True), page(records[2], next="b"))
    if ".all()" in block and "Gap" in block:
        return Server(stream(first("a"), GAP, *EVENTS, *AFTER))
    if "snapshot" in block:
        gone = [event(7), event(7, type="tailrace.left"), event(1, value_kind="tombstone")]
        return Server(stream(first("a"), *EVENTS, *gone, AFTER[0]))
    if "my/token" in block:
        return Server(answer(200, b"a token"), stream(first("a"), *EVENTS), answer(200, b"another"))
    return Server(stream(first("a"), *EVENTS))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    yield
    signal.signal(signal.SIGTERM, before)


def test_no_recipe_is_left_out() -> None:
    assert len(BLOCKS) == len(PRINTED)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
@pytest.mark.usefixtures("elsewhere")
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # the recipe for a database leaves it open until its program ends
def test_recipe(index: int) -> None:
    block = BLOCKS[index]
    if "asyncio.timeout" in block and sys.version_info < (3, 11):
        pytest.skip("asyncio.timeout")
    with server_of(block) as server, contextlib.redirect_stdout(io.StringIO()) as printed:
        code = block.replace("http://localhost:8080", server.url.removesuffix("/t/acme/events"))
        assert code != block
        program: dict[str, object] = {"__name__": "__main__"}
        exec(compile(code, f"README, block {index}", "exec"), program)
        if isinstance(db := program.get("db"), sqlite3.Connection):
            db.close()
    assert printed.getvalue() == PRINTED[index]
    if "my/token" in block:
        assert server.asked[1].headers["authorization"] == "Bearer a token"


def run(server: Server, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tailrace", server.url, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TAILRACE_TOKEN": "secret"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_command(tmp_path: Path) -> None:
    (line,) = re.findall(r"python -m tailrace http://localhost:8080/t/acme/events (.*) \| jq", README)
    with Server(stream(first("a"), GAP, *EVENTS)) as server:
        done = run(server, *line.split(), cwd=tmp_path)
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(it["id"], it["type"], it["offset"], it["value"]) for it in lines] == [
        ("i0", "paid", 0, ORDERS[0]),
        ("i1", "paid", 1, ORDERS[1]),
        ("i2", "paid", 2, ORDERS[2]),
    ]
    assert done.stderr == "retention: orders[0], the records from 1 up to 7 will not come\n"
    asked = server.asked[0]
    assert (asked.all("topic"), asked.all("from")) == (["orders"], ["-15m"])
    assert asked.headers["authorization"] == "Bearer secret"
    assert json.loads((tmp_path / "orders.pos").read_text())["id"] == "i2"


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    with Server(answer(404)) as server:
        done = run(server, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "404 Not Found\n"
        done = run(server, "--resume", "absent/x", cwd=tmp_path)
        assert done.returncode == 1
        assert "No such file or directory" in done.stderr
