"""A receiver that answers what the path asks for: `/503/anything` gets 503 and the text `answer 503`."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answering:
    """Keeps every request."""

    def __init__(self):
        self.url = ""
        self._received: list[Request] = []
        self._changed = threading.Condition()

    def take(self, request: Request) -> int:
        with self._changed:
            self._received.append(request)
            self._changed.notify_all()
        return int(request.path.split("/")[1])

    def wait(self, path: str, count: int, limit_s: float = 30) -> list[Request]:
        """All requests to a path, as soon as there are at least `count`."""

        def to_path():
            return [request for request in self._received if request.path == path]

        with self._changed:
            assert self._changed.wait_for(lambda: len(to_path()) >= count, limit_s), f"{len(to_path())} of {count} arrived at {path}"
            return to_path()


@contextmanager
def answering():
    """A receiver on a free port of the loopback address."""
    receiver = Answering()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.take(Request(self.command, self.path, headers, body))
            text = f"answer {status}".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PUT = answer

        def log_message(self, *_):
            """The tests say what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # Deliveries may still hold kept connections: their threads must not delay the end.
    server.block_on_close = False
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
