"""python -m tailrace URL: records as JSON lines. Gaps and everything else that is no record go to stderr."""

from __future__ import annotations

import argparse
import json
import os
import sys

from . import Event, TailraceError, stream


def main() -> int:
    """Reads until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tailrace", description=__doc__)
    parser.add_argument("url", help="http://localhost:8080/t/acme/events; the token is taken from TAILRACE_TOKEN")
    for name in ("topic", "type", "key", "where"):
        parser.add_argument(f"--{name}", action="append", default=[], help="may be given several times")
    parser.add_argument("--from", dest="start", help="latest, earliest, snapshot, -15m, -100, a time, an id")
    parser.add_argument("--resume", metavar="FILE", help="keeps the position in this file")
    given = parser.parse_args()
    try:
        with stream(
            given.url,
            topics=given.topic,
            types=given.type,
            keys=given.key,
            where=given.where,
            start=given.start,
            resume=given.resume,
            token=os.environ.get("TAILRACE_TOKEN"),
        ) as events:
            for it in events.all():
                if isinstance(it, Event):
                    print(json.dumps({"id": it.id, "type": it.type, **json.loads(it.data)}), flush=True)
                else:
                    print(it, file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (TailraceError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
