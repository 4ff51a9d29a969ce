"""A chat service on the loopback, which takes JSON: what apprise writes to ``json://``."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "s3cret-t0ken"


@dataclass
class Chat:
    """Its address, which is a secret, what it answers, and what it was sent."""

    address: str = ""
    status: int = 200
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[Chat]:
    """Listen on a free port of 127.0.0.1."""
    chat = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            chat.received.append((self.path, json.loads(body)))
            self.send_response(chat.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    chat.address = f"json://127.0.0.1:{server.server_port}/{SECRET}"
    try:
        yield chat
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
