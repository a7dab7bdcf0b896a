"""Events that applications publish in SQL: the scenarios `outbox` and `notify` of scripts/bench.

`outbox`: how long it takes from a commit to the receiver where nothing else goes on, and how long until everything has arrived that was committed
while no node ran. `notify`: how many transactions a second many sessions commit that each publish one event, with the notification that wakes
the relay and without it.
"""

import asyncio
import contextlib
import http.client
import json
import os
import queue
import random
import re
import statistics
import subprocess
import threading
import time

from bench_database import SCHEMA, START_S, Node, Server, Session, clean, directory, node, setting

COMMITS = setting("OUTBOX_COMMITS", 1_000)
WARM_UP = 50
ROWS = setting("OUTBOX_ROWS", 100_000)
ROWS_OF_A_COMMIT = 1_000
TYPE = "bench.outbox"
PADDING = "x" * 250
# How long a single arrival is waited for, and how long the next of many.
ARRIVAL_S = 10
STALLED_S = 60
# How long it is listened for what comes twice, once all have come.
LATE_S = 3
SESSIONS = 16
NOTIFY_S = setting("NOTIFY_S", 10)
NOTIFY_TURNS = setting("BENCH_TURNS", 5)
DRAINED_S = 600


# ---- the receiver ----------------------------------------------------------------------------------------------------


class Exchange(asyncio.Protocol):
    """A connection of a node."""

    ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    LENGTH = b"\r\ncontent-length:"

    def __init__(self, arrived):
        self.arrived, self.got = arrived, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        now = time.monotonic()
        self.got += data
        while (body := self._request()) is not None:
            self.arrived(now, body)
            self.transport.write(self.ANSWER)

    def _request(self):
        """Takes out the body of the next request, once it is there."""
        end = self.got.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self.got[:end].lower()
        at = head.find(self.LENGTH)
        length = int(head[at + len(self.LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        body = self.got[end + 4 : end + 4 + length]
        if len(body) < length:
            return None
        self.got = self.got[end + 4 + length :]
        return body


class Receiver:
    """An HTTP server that answers 200 and does next to nothing else, on a thread of its own, by the clock of this process."""

    def __init__(self):
        # When which number came; None in place of a number where a body is none of ours.
        self.arrivals = queue.SimpleQueue()
        self.loop, started = asyncio.new_event_loop(), threading.Event()
        self.url = ""

        async def listen():
            server = await self.loop.create_server(lambda: Exchange(self._arrived), "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            started.set()

        def run():
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(listen())
            self.loop.run_forever()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        if not started.wait(START_S):
            raise RuntimeError("the receiver did not start")

    def _arrived(self, now: float, body: bytes) -> None:
        try:
            number = json.loads(body)["n"]
        except (ValueError, KeyError, TypeError):
            number = None
        self.arrivals.put((now, number))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=START_S)


def subscribe(at: Node, url: str) -> None:
    connection = http.client.HTTPConnection(at.address, timeout=START_S)
    body = json.dumps({"target_url": url, "event_types": TYPE})
    connection.request("POST", "/subscriptions", body, {"Content-Type": "application/json", "Authorization": f"Bearer {at.key}"})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != 201:
        raise RuntimeError(f"POST /subscriptions: {answer.status} {said[:200]!r}")


# ---- outbox ----------------------------------------------------------------------------------------------------------


def run_outbox(binary: str) -> dict:
    """From a commit to the receiver, one event at a time; then what is committed while no node runs."""
    with directory() as home, Server(home) as server, Receiver() as receiver:
        environment = server.make("outbox")
        with node(binary, os.path.join(home, "node"), environment) as at:
            subscribe(at, receiver.url)
            key = at.key
            with Session(server, "outbox") as session:
                single = singles(session, receiver)
        # The node has stopped: nobody takes what is committed now.
        with Session(server, "outbox") as session:
            began = time.monotonic()
            for first in range(0, ROWS, ROWS_OF_A_COMMIT):
                session.do(of_many(first, min(ROWS, first + ROWS_OF_A_COMMIT)))
            committing = time.monotonic() - began
        waiting = int(server.ask("outbox", f"SELECT count(*) FROM {SCHEMA}.outbox"))
        began = time.monotonic()
        with node(binary, os.path.join(home, "node"), environment, key):
            backlog = {"rows": ROWS, "waiting": waiting, "start_s": time.monotonic() - began, **drained(receiver, began)}
        left = int(server.ask("outbox", f"SELECT count(*) FROM {SCHEMA}.outbox"))
    return {
        "single": single,
        "backlog": {**backlog, "left": left},
        "figures": {
            "COMMIT sent to arrival, p50 ms": single["p50_ms"],
            "COMMIT sent to arrival, p90 ms": single["p90_ms"],
            "COMMIT sent to arrival, p99 ms": single["p99_ms"],
            "COMMIT answered to arrival, p50 ms": single["from_answer_p50_ms"],
            "COMMIT by itself, p50 ms": single["commit_p50_ms"],
            "single events that did not arrive": single["lost"],
            "rows committed without a node": ROWS,
            "committed at rows/s": ROWS / committing,
            "the node's start, s": backlog["start_s"],
            "all delivered after, s from its start": backlog["all_s"],
            "delivered at rows/s": backlog["per_second"],
        },
    }


def of_one(number: int) -> str:
    return f"SELECT {SCHEMA}.publish('default', '{TYPE}', '{json.dumps({'n': number, 'pad': PADDING})}'::text);"


def of_many(first: int, end: int) -> str:
    payload = f"""format('{{"n": %s, "pad": "%s"}}', n, '{PADDING}')"""
    return f"SELECT count({SCHEMA}.publish('default', '{TYPE}', {payload}::text)) FROM generate_series({first}, {end - 1}) AS n;"


def singles(session: Session, receiver: Receiver) -> dict:
    """Single events, each once the one before it has arrived, at odd moments. Times are from before the COMMIT is sent: what it takes is in them."""
    pauses, times, answered, commits, lost, again = random.Random(1), [], [], [], 0, 0
    for n in range(WARM_UP + COMMITS):
        time.sleep(pauses.uniform(0.005, 0.030))
        # Numbers of their own.
        session.do(f"BEGIN; {of_one(-1 - n)}")
        sent = time.monotonic()
        session.do("COMMIT;")
        done = time.monotonic()
        arrived, others = arrival_of(receiver, -1 - n)
        again += others
        if arrived is None:
            lost += 1
        elif n >= WARM_UP:
            times.append(arrived - sent)
            answered.append(arrived - done)
            commits.append(done - sent)
    if not times:
        raise RuntimeError("no event that was published in SQL has arrived")
    return {
        "commits": COMMITS,
        "lost": lost,
        "duplicates": again,
        "p50_ms": quantile_ms(times, 0.5),
        "p90_ms": quantile_ms(times, 0.9),
        "p99_ms": quantile_ms(times, 0.99),
        "max_ms": max(times) * 1_000,
        # Less than nothing where it arrives before psql has said that it is committed.
        "from_answer_p50_ms": quantile_ms(answered, 0.5),
        "commit_p50_ms": quantile_ms(commits, 0.5),
    }


def quantile_ms(times: list, share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1_000


def arrival_of(receiver: Receiver, number: int) -> tuple:
    """When it came, if it does, and how many others before it: as one comes at a time, those have come before or are none of ours."""
    others = 0
    with contextlib.suppress(queue.Empty):
        while True:
            now, came = receiver.arrivals.get(timeout=ARRIVAL_S)
            if came == number:
                return now, others
            others += 1
    return None, others


def drained(receiver: Receiver, began: float) -> dict:
    """What arrives of the many, until all have or nothing comes any more."""
    seen, twice, wrong, first, last, patience = set(), 0, 0, None, began, STALLED_S
    with contextlib.suppress(queue.Empty):
        while True:
            now, number = receiver.arrivals.get(timeout=patience)
            if number is None or not 0 <= number < ROWS:
                wrong += 1
            elif number in seen:
                twice += 1
            else:
                seen.add(number)
                first, last = first or now, now
                patience = LATE_S if len(seen) == ROWS else STALLED_S
    return {
        "delivered": len(seen),
        "duplicates": twice,
        "wrong": wrong,
        "all_s": last - began,
        "per_second": len(seen) / max(1e-9, last - (first or began)),
    }


# ---- notify ----------------------------------------------------------------------------------------------------------


def run_notify(binary: str) -> dict:
    """Transactions a second that publish one event each, in turns: with and without NOTIFY, while no node runs and while one does."""
    rates, relayed = {}, []
    with directory() as home, Server(home) as server:
        environment = server.make("notify")
        script = os.path.join(home, "publish.sql")
        with open(script, "w", encoding="utf-8") as file:
            file.write(of_one(0) + "\n")
        # The first start makes the schema.
        with node(binary, os.path.join(home, "node"), environment) as at:
            key = at.key
        for turn in range(NOTIFY_TURNS):
            for word in ("on", "off"):
                rates.setdefault(f"no node, notify {word}", []).append(published(server, script, word)[0])
                server.ask("notify", f"TRUNCATE {SCHEMA}.outbox")
            with node(binary, os.path.join(home, "node"), environment, key):
                for word in ("on", "off"):
                    began = time.monotonic()
                    rate, events = published(server, script, word)
                    rates.setdefault(f"a node that relays, notify {word}", []).append(rate)
                    relayed.append(events / relay_s(server, began))
            print(f"          turn {turn + 1} of {NOTIFY_TURNS}: " + ", ".join(f"{name} {of[-1]:,.0f}/s" for name, of in rates.items()), flush=True)
    typical = {name: statistics.median(of) for name, of in rates.items()}
    return {
        "sessions": SESSIONS,
        "rates": rates,
        "share": typical["no node, notify on"] / typical["no node, notify off"],
        "figures": {
            **{f"{SESSIONS} sessions, {name}: events/s": rate for name, rate in typical.items()},
            "with NOTIFY, share of the rate without": typical["no node, notify on"] / typical["no node, notify off"],
            "relayed in those runs, events/s": statistics.median(relayed),
        },
    }


def published(server: Server, script: str, notify: str) -> tuple:
    """The rate of pgbench, each transaction of which is one statement, and how many it made."""
    command = server.client("pgbench", "-n", "-c", str(SESSIONS), "-j", "2", "-T", str(NOTIFY_S), "-f", script, "notify")
    environment = clean({"PGOPTIONS": f"-c {SCHEMA}.notify={notify}"})
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    rate, made = re.search(r"tps = ([0-9.]+)", done.stdout), re.search(r"actually processed: (\d+)", done.stdout)
    if done.returncode != 0 or not rate or not made:
        raise RuntimeError(f"pgbench failed: {done.stdout}{done.stderr}")
    return float(rate[1]), int(made[1])


def relay_s(server: Server, began: float) -> float:
    """How long it took from then on until the outbox was empty."""
    while server.ask("notify", f"SELECT EXISTS (SELECT 1 FROM {SCHEMA}.outbox WHERE refused_at IS NULL)") == "t":
        if time.monotonic() - began > DRAINED_S:
            raise RuntimeError("the outbox is not relayed")
        time.sleep(0.05)
    return time.monotonic() - began
