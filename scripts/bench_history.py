"""How lists and publishing do over a long history: the scenario `history` of scripts/bench.

A store is filled with 2,000,000 attempts. Then the same load is published into a server on an empty store and into one on the filled
store, in turns, so that what else the machine does touches both; and while events are published into the filled one at a steady rate, every
kind of page is asked for over and over, each request timed from its first byte out to its last byte in.
"""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

ATTEMPTS = 2_000_000
TURNS = 7
LOAD = ["--events", "60000", "--connections", "64", "--warmup", "2s", "--skip-direct", "--json", "--quiet"]
STEADY = ["--events", "60000", "--connections", "16", "--rate", "1000", "--skip-direct", "--json", "--quiet"]
ITEMS = "/v1/delivery/items?limit=50"


@contextlib.contextmanager
def server(binary: str, data: str):
    """A server on this directory: its URL, its key and its process."""
    key = subprocess.run(
        [binary, "keys", "create", "--namespace", "default", "--scopes", "read,write", "--data-dir", data],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True,
    ).stdout.strip()
    port_file = os.path.join(data, "port")
    with contextlib.suppress(FileNotFoundError):
        os.remove(port_file)
    command = [binary, "serve", "--data-dir", data, "--listen", "127.0.0.1:0", "--port-file", port_file, "--allow-network", "127.0.0.0/8"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not os.path.exists(port_file):
            if process.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)
        with open(port_file, encoding="utf-8") as file:
            yield file.read().strip(), key, process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)


def load(binary: str, address: str, key: str, pid: int, arguments: list) -> dict:
    command = [binary, "bench", "--url", f"http://{address}", "--server-pid", str(pid), *arguments]
    environment = {**os.environ, "POSTRIDER_API_KEY": key}
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, text=True, timeout=1_800, check=True)
    return json.loads(done.stdout)


def queries(filled: dict, get) -> dict:
    """Paths by name; the deep page begins in the middle of what there is."""
    binding, destination = f"&binding_id={filled['binding']}", f"&destination_id={filled['destination']}"
    cursor = None
    for _ in range(20):
        page = get(f"/v1/delivery/items?limit=500{f'&cursor={cursor}' if cursor else ''}")
        cursor = page["next_cursor"]
    return {
        "all": ITEMS,
        "status": f"{ITEMS}&status=failed",
        "binding": ITEMS + binding,
        "binding and status": f"{ITEMS}{binding}&status=failed",
        "destination": ITEMS + destination,
        "destination and status": f"{ITEMS}{destination}&status=succeeded",
        "error code": f"{ITEMS}&error_code=delivery_timeout",
        "deep cursor": f"{ITEMS}&cursor={cursor}",
        "page 100": f"{ITEMS}&page=100",
        "dead letters": "/v1/delivery/dlq?limit=50",
        "dead letters of a binding": f"/v1/delivery/dlq?limit=50{binding}",
    }


def probe(address: str, key: str, filled: dict, stop: threading.Event) -> dict:
    """Times in seconds by query, and what the totals said."""
    connection = http.client.HTTPConnection(address, timeout=60)

    def get(path: str):
        connection.request("GET", path, headers={"X-API-Key": key})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {body[:200]}")
        return json.loads(body)

    paths = queries(filled, get)
    times = {name: [] for name in paths}
    while not stop.is_set():
        for name, path in paths.items():
            began = time.perf_counter()
            get(path)
            times[name].append(time.perf_counter() - began)
    connection.close()
    return times


def p99(times: list) -> float:
    return sorted(times)[max(0, -(-len(times) * 99 // 100) - 1)]


def lists(binary: str, data: str, filled: dict) -> dict:
    with server(binary, data) as (address, key, pid):
        stop, found = threading.Event(), {}
        prober = threading.Thread(target=lambda: found.update(probe(address, key, filled, stop)))
        prober.start()
        report = load(binary, address, key, pid, STEADY)
        stop.set()
        prober.join()
    every = [taken for taken_by in found.values() for taken in taken_by]
    if not every:
        raise RuntimeError("no list was answered")
    by_query = {name: {"requests": len(taken), "p50_ms": sorted(taken)[len(taken) // 2] * 1e3, "p99_ms": p99(taken) * 1e3} for name, taken in found.items()}
    worst = max(by_query.values(), key=lambda row: row["p99_ms"])["p99_ms"]
    return {"requests": len(every), "p99_ms": p99(every) * 1e3, "worst_p99_ms": worst, "by_query": by_query, "publishing": report["server"]}


def run(binary: str) -> dict:
    """The report: rates in deliveries a second on the empty and the filled store, in turns, and the times of lists."""
    fill = os.path.join(os.path.dirname(binary), "examples", "fill_history")
    directory = tempfile.mkdtemp(prefix="postrider-history-")
    try:
        full = os.path.join(directory, "full")
        filled = json.loads(subprocess.run([fill, full, str(ATTEMPTS)], stdout=subprocess.PIPE, check=True, text=True).stdout)
        rates = {"empty": [], "filled": []}
        for turn in range(TURNS):
            for name, data in (("empty", os.path.join(directory, f"empty-{turn}")), ("filled", full)):
                with server(binary, data) as (address, key, pid):
                    rates[name].append(load(binary, address, key, pid, LOAD)["server"]["delivered_per_second"])
        return {
            "attempts": ATTEMPTS,
            "rates": rates,
            "ratio": sum(rates["filled"]) / sum(rates["empty"]),
            "lists": lists(binary, full, filled),
        }
    finally:
        shutil.rmtree(directory, ignore_errors=True)
