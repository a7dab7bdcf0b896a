"""A receiver such as a user would write: the standard library's HTTP server, and a published library that verifies."""

import hashlib
import hmac
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


@dataclass(frozen=True)
class Delivery:
    path: str
    headers: dict[str, str]
    body: bytes
    standard: bool
    hub: bool


class Receiver:
    """Answers 200 to what both checks accept and 400 to the rest; keeps every request."""

    def __init__(self, secret: str):
        self.secret = secret
        self.url = ""
        self._webhook = Webhook(secret)
        self._received: list[Delivery] = []
        self._changed = threading.Condition()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        delivery = Delivery(path, headers, body, self.accepts(headers, body), self.hub_accepts(headers, body))
        with self._changed:
            self._received.append(delivery)
            self._changed.notify_all()
        return 200 if delivery.standard and delivery.hub else 400

    def accepts(self, headers: dict[str, str], body: bytes) -> bool:
        try:
            self._webhook.verify(body, headers, json_parse=False)
        except WebhookVerificationError:
            return False
        return True

    def hub_accepts(self, headers: dict[str, str], body: bytes) -> bool:
        return hmac.compare_digest(hub_signature(self.secret, body), headers.get("x-hub-signature-256", ""))

    def wait(self, count: int, limit_s: float = 120) -> list[Delivery]:
        """Everything received, as soon as that is at least `count`."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._received) >= count, limit_s), f"{len(self._received)} of {count} arrived"
            return list(self._received)


def hub_signature(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@contextmanager
def receiving(secret: str):
    """A receiver on a free port of the loopback address."""
    receiver = Receiver(secret)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(receiver.take(self.path, headers, body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """The tests say what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # Deliveries may still hold kept connections: their threads must not delay the end.
    server.block_on_close = False
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hooks?from=postrider"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
