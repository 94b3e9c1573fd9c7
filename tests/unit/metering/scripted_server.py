"""An HTTP server that answers what a test says: for faults that a real store does not make when it is wanted."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

Scripted = tuple[int, bytes]


@dataclass
class ScriptedServer:
    """Its address, and the targets it was asked for, in order."""

    url: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def scripted(
    answers: Sequence[Scripted] | Callable[[str], Scripted], certificate: tuple[Path, Path] | None = None
) -> Iterator[ScriptedServer]:
    """Answers in order, or by target; status 0 breaks the connection off. With a certificate: by HTTPS."""
    remaining = [] if callable(answers) else list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.asked.append(self.path)
            status, body = answers(self.path) if callable(answers) else remaining.pop(0)
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing is told."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        found = ScriptedServer(f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
