"""A client by the package websockets. Prints the data of each record, and comes back with the last id whenever it is cut."""

import json
import sys
import time

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

last = None
while True:
    url = sys.argv[1] if last is None else f"{sys.argv[1]}&last_event_id={last}"
    try:
        with connect(url, open_timeout=5, ping_interval=1, ping_timeout=5) as socket:
            for message in socket:
                said = json.loads(message)
                if "data" in said and "event" not in said:
                    print(said["data"], flush=True)
                last = said.get("id", last)
    except (OSError, EOFError, WebSocketException) as error:
        print(type(error).__name__, file=sys.stderr)
    time.sleep(0.05)
