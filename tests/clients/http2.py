"""An event stream over HTTP/2, by the package h2. Prints the data of each record, and comes back with the last id whenever it is cut."""

import socket
import sys
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

HOST, PORT, PATH = "127.0.0.1", int(sys.argv[1]), sys.argv[2]


class Parser:
    """Of an event stream, as the WHATWG standard has it, for the fields that are used here."""

    def __init__(self):
        self.last, self.pending, self.block = None, b"", {}

    def feed(self, data):
        self.pending += data
        *lines, self.pending = self.pending.split(b"\n")
        for line in lines:
            name, _, value = line.decode().partition(":")
            if line and name:
                self.block[name] = value.removeprefix(" ")
            elif not line:
                self.last = self.block.get("id", self.last)
                if "data" in self.block and "event" not in self.block:
                    print(self.block["data"], flush=True)
                self.block = {}


def read(parser):
    """Reads one stream until it ends, or the connection does."""
    parser.pending, parser.block = b"", {}
    with socket.create_connection((HOST, PORT), timeout=5) as wire:
        http = H2Connection(H2Configuration(client_side=True))
        http.initiate_connection()
        headers = [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", PATH)]
        if parser.last is not None:
            headers.append(("last-event-id", parser.last))
        stream = http.get_next_available_stream_id()
        http.send_headers(stream, headers, end_stream=True)
        wire.sendall(http.data_to_send())
        while data := wire.recv(65536):
            for event in http.receive_data(data):
                if isinstance(event, DataReceived):
                    parser.feed(event.data)
                    http.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, (StreamEnded, StreamReset)):
                    return
            wire.sendall(http.data_to_send())


parser = Parser()
while True:
    try:
        read(parser)
    except (OSError, ProtocolError) as error:
        print(type(error).__name__, file=sys.stderr)
    time.sleep(0.05)
