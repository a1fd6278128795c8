"""This version belongs to one of the protocol: a change there must be answered here."""

from __future__ import annotations

import re
from pathlib import Path

import tailrace

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/protocol.md").read_text()


def section(title: str) -> str:
    return TEXT.split(f"\n### {title}\n")[1].split("\n### ")[0]


def test_the_package_knows_every_control_event() -> None:
    rows = [line.split("|")[1] for line in section("Control events").splitlines() if line.startswith("| `tailrace.")]
    assert frozenset(re.findall(r"`(tailrace\.\w+)`", " ".join(rows))) == tailrace.PROTOCOL
    assert len(tailrace.PROTOCOL) == 11


def test_every_parameter_is_an_argument_or_has_a_reason() -> None:
    rows = [line.split("|")[1] for line in section("Parameters").splitlines() if line.startswith("| `")]
    documented = set(re.findall(r"`(\w+)=`", " ".join(rows)))
    arguments = {"topic", "type", "key", "where", "from", "conflate", "last_event_id", "limit", "wait", "heartbeat"}
    # The package sets the envelope and the format itself, sends the token in a header, and sees the names of all;
    # the delay before a reconnect can be a part of the address.
    others = {"envelope", "format", "access_token", "event", "retry"}
    assert documented == arguments | others


def test_the_version_is_that_of_the_server() -> None:
    (workspace,) = re.findall(r'^\[workspace\.package\]\nversion = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.M)
    (project,) = re.findall(r'^version = "(.+)"$', (ROOT / "clients/python/pyproject.toml").read_text(), re.M)
    assert tailrace.__version__ == project == workspace
