"""schemathesis against the real binary: what it answers is held against its own OpenAPI document.

SEED repeats a run, EXAMPLES makes it longer.
"""

import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

import schemathesis  # noqa: E402

from postrider import Api, running  # noqa: E402

SEED = os.environ.get("SEED", "1")
EXAMPLES = os.environ.get("EXAMPLES", "12")
# A stop in case something hangs; a run takes much less.
LIMIT_S = 600
# How long deliveries to a receiver on this machine may take.
START_LIMIT_S = 60
# How many there are of what requests may use up.
SPARE = 25
MASTER_KEY = "a-master-key-for-this-run-only"

class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes most deliveries and refuses those below /refuse."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(404 if self.path.startswith("/refuse") else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def receiving():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Made:
    """Something of every noun, so that there is more than 404 to see: ids by the names of the dictionaries in schemathesis.toml."""

    def __init__(self, address: str, receiver: str):
        self.api = Api(address)
        wanted = {"name": "schemathesis", "namespace": "default", "scopes": ["read", "write", "admin"]}
        self.key = MASTER_KEY
        key = self.post("/v1/keys", wanted)
        self.key = key["key"]
        self.kept = [key["id"]]
        self.ids = {"keys": [self.post("/v1/keys", {"name": "spare"})["id"] for _ in range(SPARE)]}
        self.items_api(receiver)
        self.tasks_api(receiver)
        self.collect()
        self.api.close()

    def ask(self, method, path, body, expected):
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        status, answer = self.api.call(method, path, None if body is None else json.dumps(body).encode(), headers)
        assert status == expected, (method, path, status, answer)
        return answer

    def get(self, path):
        return self.ask("GET", path, None, 200)

    def post(self, path, body, expected=201):
        return self.ask("POST", path, body, expected)

    def bound(self, url, event_type):
        destination = self.post("/v1/delivery/destinations", {"name": "d", "type": "webhook", "config": {"url": url}})["id"]
        binding = {"name": "b", "signal_filter": {"event_type": event_type}, "deliverable_type": "event", "serializer_format": "json"}
        return destination, self.post("/v1/delivery/bindings", {**binding, "destination_id": destination})["id"]

    def items_api(self, receiver):
        busy = [self.bound(receiver + path, "invoice.paid") for path in ("", "/refuse")]
        spare = [self.bound(receiver, "nothing.ever") for _ in range(SPARE)]
        self.kept += [id for pair in busy for id in pair]
        self.ids["destinations"], self.ids["bindings"] = ([pair[n] for pair in busy + spare] for n in (0, 1))
        events = [{"event_type": "invoice.paid", "payload": {"number": number}} for number in range(SPARE)]
        self.ids["events"] = [self.post("/v1/delivery/events", event, 202)["id"] for event in events]

    def tasks_api(self, receiver):
        busy = [self.post("/subscriptions", {"target_url": receiver + path})["id"] for path in ("", "/refuse")]
        self.kept += busy
        self.refused = busy[1]
        self.ids["subscriptions"] = busy + [self.post("/subscriptions", {"target_url": receiver})["id"] for _ in range(SPARE)]
        self.ids["tasks"] = [self.post(f"/ingest/{id}", {"n": n}, 202)["delivery_task_id"] for id in busy for n in range(SPARE)]
        later = {"subscription_id": busy[0], "payload": {}, "scheduled_for": "2099-01-01T00:00:00Z"}
        self.ids["scheduled"] = [self.post("/scheduled", later)["id"] for _ in range(SPARE)]

    def collect(self):
        """What comes of deliveries, once all of them have ended; the API has no way to wait."""
        end = time.monotonic() + START_LIMIT_S
        while True:
            items = self.get("/v1/delivery/items?limit=500")["items"]
            letters = self.get("/v1/delivery/dlq?limit=500")["data"]
            tasks = self.get(f"/subscriptions/{self.refused}/dlq")
            if len(items) == 4 * SPARE and len(letters) == 2 * SPARE and len(tasks) == SPARE:
                break
            assert time.monotonic() < end, (len(items), len(letters), len(tasks))
            time.sleep(0.02)
        # Nothing fits these filters: the jobs end at once and leave the dead letters to others. The others wait to be resumed.
        jobs = [{"created_before": f"20{year:02}-01-01T00:00:00Z"} for year in range(5)]
        self.ids["jobs"] = [self.post("/v1/delivery/dlq/replay", job, 202)["id"] for job in jobs]
        for _ in range(SPARE):
            slow = self.post("/v1/delivery/dlq/replay", {"all": True, "rate_per_second": 1}, 202)["id"]
            self.post(f"/v1/delivery/jobs/{slow}/cancel", {}, 200)
            self.ids["jobs"].append(slow)
        self.ids |= {"items": [i["id"] for i in items], "dead_letters": [d["id"] for d in letters], "dlq_tasks": [t["id"] for t in tasks]}


def check_document(address: str):
    """The document is OpenAPI 3.1 by the specification's own schema."""
    api = Api(address)
    status, document = api.call("GET", "/openapi.json")
    api.close()
    assert (status, document["openapi"]) == (200, "3.1.0"), status
    schemathesis.openapi.from_dict(document, config=schemathesis.Config()).validate()


def run(address: str, receiver: str, made: Made, folder: pathlib.Path) -> int:
    config = folder / "schemathesis.toml"
    dictionaries = (f"\n[dictionaries.{name}]\nvalues = {json.dumps(ids)}\n" for name, ids in made.ids.items())
    config.write_text((HERE / "schemathesis.toml").read_text() + "".join(dictionaries))
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "POSTRIDER_FUZZ_KEY": made.key,
        "POSTRIDER_FUZZ_KEPT": ",".join(made.kept),
        "POSTRIDER_FUZZ_RECEIVER": receiver,
        "POSTRIDER_FUZZ_DEAD_LETTERS": f"http://{address}/subscriptions/{made.refused}/dlq?status=pending",
        "POSTRIDER_FUZZ_COUNTS": str(folder / "counts.json"),
    }
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run"]
    command = [*program, f"http://{address}/openapi.json", "--seed", SEED, "--max-examples", EXAMPLES, "--no-color"]
    code = subprocess.run(command, cwd=folder, env=environment, timeout=LIMIT_S, check=False).returncode
    return code or check_counts(json.loads((folder / "counts.json").read_text()), documented(address))


def documented(address: str) -> dict:
    api = Api(address)
    _, document = api.call("GET", "/openapi.json")
    api.close()
    return document


def check_counts(counts: dict, document: dict) -> int:
    """Every operation succeeds now and then: one that refused all that it got would break none of the rules about single answers."""
    methods = {"get", "post", "put", "delete"}
    operations = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item if method in methods}
    # Where the document itself is read is tried by reading it. Nodes are shown to master keys alone, and these requests are made with a tenant's.
    operations -= {"GET /openapi.json", "GET /v1/nodes"}
    failing = sorted(operation for operation in operations if counts.get(operation, [0, 0])[1] == 0)
    for operation in failing:
        print(f"{operation}: none of {counts.get(operation, [0, 0])[0]} requests succeeded", flush=True)
    return 1 if failing else 0


def main() -> int:
    print(f"SEED={SEED} EXAMPLES={EXAMPLES}", flush=True)
    # Addresses of this machine may be dialled, and hooks.py keeps names of others away; limits are so high that none is met.
    flags = ["--allow-network", "127.0.0.0/8", "--rate-limit-read", "1000000", "--rate-limit-write", "1000000"]
    # What is refused is a dead letter at once.
    flags += ["--tasks-max-attempts", "1"]
    settings = {"POSTRIDER_BOOTSTRAP_KEY": MASTER_KEY}
    with tempfile.TemporaryDirectory(prefix="postrider-fuzz-") as folder, receiving() as receiver, running(flags, settings) as address:
        check_document(address)
        return run(address, receiver, Made(address, receiver), pathlib.Path(folder))


if __name__ == "__main__":
    sys.exit(main())
