"""Starts the real binary on a port and a directory of its own, and speaks its REST APIs."""

import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import time
from contextlib import contextmanager

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
START_LIMIT_S = 60
STOP_LIMIT_S = 30


def binary() -> pathlib.Path:
    return pathlib.Path(os.environ.get("POSTRIDER_BIN", REPOSITORY / "target/debug/postrider")).resolve()


class Api:
    """The Tasks API of one server, over one kept connection."""

    def __init__(self, address: str):
        self._connection = http.client.HTTPConnection(address, timeout=60)

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None):
        """Answers the status and the JSON body, if there is one."""
        self._connection.request(method, path, body, headers or {})
        response = self._connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else None

    def subscribe(self, **settings) -> str:
        status, answer = self.call("POST", "/subscriptions", json.dumps(settings).encode(), {"Content-Type": "application/json"})
        assert status == 201, (status, answer)
        return answer["id"]

    def ingest(self, subscription: str, body: bytes, event_type: str, signature: str | None):
        headers = {"Content-Type": "application/json", "X-Event-Type": event_type}
        if signature is not None:
            headers["X-Hub-Signature-256"] = signature
        return self.call("POST", f"/ingest/{subscription}", body, headers)

    def until_status(self, delivery: str, wanted: str, limit_s: float = 30):
        """Reads a delivery until its task has the status; polls because the API has no way to wait."""
        end = time.monotonic() + limit_s
        while True:
            status, answer = self.call("GET", f"/deliveries/{delivery}")
            if status == 200 and answer["task"]["status"] == wanted:
                return answer
            assert time.monotonic() < end, f"delivery {delivery} stays {status} {answer}"
            time.sleep(0.02)

    def close(self):
        self._connection.close()


def make_key(address: str, master_key: str, namespace: str) -> str:
    """Makes a key that may do everything in a namespace."""
    api = Api(address)
    headers = {"Content-Type": "application/json", "X-API-Key": master_key}
    body = {"name": "interop", "namespace": namespace, "scopes": ["read", "write"]}
    status, answer = api.call("POST", "/v1/keys", json.dumps(body).encode(), headers)
    api.close()
    assert status == 201, (status, answer)
    return answer["key"]


@contextmanager
def running(flags=("--dev",), settings=None):
    """A server, in development mode unless its flags say otherwise; yields its address."""
    if not binary().is_file():
        raise FileNotFoundError(f"no binary at {binary()}: run `cargo build -p postrider-server` or set POSTRIDER_BIN")
    with tempfile.TemporaryDirectory(prefix="postrider-interop-") as directory:
        home = pathlib.Path(directory)
        port_file, log = home / "port", home / "log"
        command = [binary(), "serve", *flags, "--listen", "127.0.0.1:0", "--port-file", port_file, "--data-dir", home / "data"]
        # Settings that belong to another server must not reach this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTRIDER_")} | (settings or {})
        with log.open("wb") as talk, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=talk, stderr=talk, cwd=home, env=environment) as process:
            try:
                yield _address(process, port_file, log)
                process.terminate()
                assert process.wait(STOP_LIMIT_S) == 0, log.read_text(errors="replace")
            finally:
                process.kill()


def _address(process: subprocess.Popen, port_file: pathlib.Path, log: pathlib.Path) -> str:
    end = time.monotonic() + START_LIMIT_S
    while True:
        text = port_file.read_text() if port_file.exists() else ""
        if text.endswith("\n"):
            return text.strip()
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the server does not listen (exit code {process.returncode}):\n{log.read_text(errors='replace')}")
        time.sleep(0.02)
