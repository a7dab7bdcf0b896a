"""Nodes over PostgreSQL: the scenarios `postgres`, `cluster` and `bloat` of scripts/bench.

`postgres`: the same load on a node with the embedded store and on one over PostgreSQL, in turns on the same machine and disk, and what a
delivery costs the database. `cluster`: what it costs more where its endpoint is another node's. `bloat`: how large tables and indexes are after
many deliveries, while somebody holds a transaction open, and after that.
"""

import contextlib
import json
import os
import statistics
import time

import bench_database
from bench_database import SCHEMA, STATISTICS_S, VACUUMED_S, Server, Session, directory, load, node, setting, wait_until

TURNS = setting("BENCH_TURNS", 5)
EVENTS = setting("BENCH_EVENTS", 100_000)
WARM_UP = ["--events", "20000"]
# How many publishers there are at a time. Each waits for its answer, so that few leave both stores with nothing to do in between: with many, the
# processors are the limit of both, and what those can do is compared.
FEW = setting("BENCH_FEW", 64)
MANY = setting("BENCH_MANY", 256)
NODES = 3
# So many endpoints that each node has about as many.
ENDPOINTS = 240
BLOAT_DELIVERIES = setting("BLOAT_DELIVERIES", 1_000_000)
BLOAT_MORE = setting("BLOAT_MORE", 200_000)
BLOAT_HELD_S = setting("BLOAT_HELD_S", 180)
# Tables whose rows change all the time; all others grow with what they keep.
HOT = ["queue", "marks", "tallies", "health", "nodes", "slots", "handovers", "outbox", "meta"]
VACUUMED_ROWS = 5_000
SHOWN_STATEMENTS = 25
MB = 1_000_000
DAY_S = 86_400
# docs/scaling.md calculates what these rates need, with processors this busy.
RATES = [1_000, 10_000, 100_000]
BUSY = 0.6


def nothing_waits(server: Server, database: str) -> bool:
    return server.ask(database, f"SELECT NOT EXISTS (SELECT 1 FROM {SCHEMA}.queue)") == "t"


# What must add up over all runs of a report: bars that hold of every run look at these.
KEPT = ["sent", "accepted", "lost", "duplicates", "wrong", "without_key"]


def together(runs: list) -> dict:
    return {name: sum(run["server"][name] for run in runs) for name in KEPT}


# ---- a measured load -------------------------------------------------------------------------------------------------


def measured(binary: str, nodes: list, arguments: list, server: Server | None = None, database: str = "") -> dict:
    """A load on the first of these nodes, and what all of them and the database have used for it, per delivery."""
    if server is not None:
        wait_until("nothing waits", VACUUMED_S, lambda: nothing_waits(server, database))
        time.sleep(STATISTICS_S)
        counted, log, cpu = server.counters(database), server.log_position(), server.cpu_s()
    node_cpu = sum(of.cpu_s() for of in nodes)
    report = load(binary, nodes[0], arguments)
    if server is not None:
        wait_until("all outcomes are stored", VACUUMED_S, lambda: nothing_waits(server, database))
    node_cpu = sum(of.cpu_s() for of in nodes) - node_cpu
    deliveries = max(1, report["delivered"])
    run = {"server": report, "per_second": report["delivered_per_second"], "node_cpu_s_per_1000": node_cpu * 1_000 / deliveries}
    if server is None:
        return run
    cpu, log = server.cpu_s() - cpu, server.log_position() - log
    connections = int(server.ask(database, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postrider'"))
    time.sleep(STATISTICS_S)
    more = difference(server.counters(database), counted)
    rows = sum(more["database"][name] for name in ("tup_inserted", "tup_updated", "tup_deleted"))
    return {
        **run,
        "database_cpu_s_per_1000": cpu * 1_000 / deliveries,
        "wal_bytes": log / deliveries,
        "transactions": more["database"]["xact_commit"] / deliveries,
        "rows_written": rows / deliveries,
        # Not every release counts these here.
        "syncs_per_1000": more["wal"].get("wal_sync", 0) * 1_000 / deliveries,
        "full_page_images": more["wal"].get("wal_fpi", 0) / deliveries,
        "connections": connections / len(nodes),
    }


def difference(after: dict, before: dict) -> dict:
    """Of counters by group and name."""
    return {group: {name: value - before[group][name] for name, value in of.items() if is_number(value)} for group, of in after.items()}


def is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def median_of(runs: list) -> dict:
    """Each figure by its median turn."""
    return {name: statistics.median(run[name] for run in runs) for name, value in runs[0].items() if is_number(value)}


def idle(server: Server, database: str, nodes: list) -> dict:
    """What nodes without work cost, per second and node."""
    time.sleep(STATISTICS_S)
    counted, log, cpu, began = server.counters(database), server.log_position(), server.cpu_s(), time.monotonic()
    time.sleep(2 * STATISTICS_S)
    more, cpu, log = difference(server.counters(database), counted), server.cpu_s() - cpu, server.log_position() - log
    per = (time.monotonic() - began) * len(nodes)
    return {"transactions": more["database"]["xact_commit"] / per, "wal_bytes": log / per, "database_cpu_s": cpu / per}


# ---- postgres --------------------------------------------------------------------------------------------------------


def run_postgres(binary: str) -> dict:
    """Throughput on both stores in turns; what is typical of a delivery over PostgreSQL; which statements it consists of."""
    runs: dict = {(store, publishers): [] for publishers in (FEW, MANY) for store in ("sqlite", "postgres")}

    def measure(store: str, nodes: list, *where) -> None:
        load(binary, nodes[0], WARM_UP)
        for publishers in (FEW, MANY):
            arguments = ["--events", str(EVENTS), "--connections", str(publishers)]
            runs[store, publishers].append(measured(binary, nodes, arguments, *where))

    with directory() as home:
        synced = sync_s(home)
        with Server(home) as server:
            for turn in range(TURNS):
                with node(binary, os.path.join(home, f"sqlite-{turn}"), {}) as at:
                    measure("sqlite", [at])
                database = f"turn_{turn}"
                with node(binary, os.path.join(home, database), server.make(database)) as at:
                    measure("postgres", [at], server, database)
                    if turn == 0:
                        unused = idle(server, database, [at])
                server.drop(database)
        statements = inspected(binary, home)
    typical = {name: median_of(of) for name, of in runs.items()}
    few, many = typical["postgres", FEW], typical["postgres", MANY]
    report = {"server": together([run for of in runs.values() for run in of]), "idle": unused, "statements": statements}
    report["runs"] = {f"{store}, {publishers} publishers": of for (store, publishers), of in runs.items()}
    report["ratio"] = many["per_second"] / typical["sqlite", MANY]["per_second"]
    report["ratio_of_few"] = few["per_second"] / typical["sqlite", FEW]["per_second"]
    report["figures"] = {
        "one fdatasync of 8 KiB, back to back, ms": synced * 1_000,
        **figures(f"embedded, {FEW} publishers", typical["sqlite", FEW]),
        **figures(f"embedded, {MANY} publishers", typical["sqlite", MANY]),
        **figures(f"PostgreSQL, {FEW} publishers", few),
        **figures(f"PostgreSQL, {MANY} publishers", many),
        f"deliveries/s, PostgreSQL against embedded, {FEW} publishers": report["ratio_of_few"],
        **{f"a node without work, per second: {name}": value for name, value in unused.items()},
    }
    if statements:
        report["figures"]["PostgreSQL: statements per 1,000"] = sum(row["calls_per_1000"] for row in statements)
    return report


NAMES = {
    "per_second": "deliveries/s",
    "node_cpu_s_per_1000": "node CPU s per 1,000",
    "database_cpu_s_per_1000": "database CPU s per 1,000",
    "wal_bytes": "WAL bytes per delivery",
    "full_page_images": "full-page images per delivery",
    "transactions": "transactions per delivery",
    "rows_written": "rows written per delivery",
    "syncs_per_1000": "syncs of the WAL per 1,000",
    "connections": "connections of a node",
}


def figures(of: str, run: dict) -> dict:
    return {f"{of}: {shown}": run[name] for name, shown in NAMES.items() if name in run}


def sync_s(home: str) -> float:
    """How long the disk takes to keep one page of a file that is there, as that of a log is."""
    times, page, writes = [], bytes(8_192), 500
    with open(os.path.join(home, "synced"), "wb", buffering=0) as file:
        file.write(page * writes)
        os.fsync(file.fileno())
        file.seek(0)
        for _ in range(writes):
            began = time.perf_counter()
            file.write(page)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def inspected(binary: str, home: str) -> list:
    """Statements by how long they took in all, with what they wrote, per 1,000 deliveries; none where the module for it is not installed."""
    module = "pg_stat_statements"
    if not os.path.exists(os.path.join(os.path.dirname(bench_database.programs()), "lib", f"{module}.so")):
        return []
    with Server(home, module) as server:
        with node(binary, os.path.join(home, "inspected"), server.make("inspected")) as at:
            load(binary, at, WARM_UP)
            server.ask("inspected", f"CREATE EXTENSION {module}; SELECT {module}_reset()")
            delivered = max(1, load(binary, at, ["--events", str(EVENTS // 2)])["delivered"])
            rows = json.loads(server.ask("inspected", f"""
                SELECT json_agg(t) FROM (
                  SELECT regexp_replace(query, '\\s+', ' ', 'g') AS statement, calls * 1000.0 / {delivered} AS calls_per_1000,
                    total_exec_time / {delivered} AS s_per_1000, rows::float8 / {delivered} AS rows, wal_bytes / {delivered} AS wal_bytes
                  FROM {module} s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database()
                  ORDER BY total_exec_time DESC) AS t"""))
    print(f"          {'statements by time, per 1,000 deliveries':<92}  calls   s      WAL bytes each")
    for row in rows[:SHOWN_STATEMENTS]:
        print(f"          {row['statement'][:90]:<92}{row['calls_per_1000']:7.1f} {row['s_per_1000']:6.4f} {row['wal_bytes']:8.0f}")
    return rows


# ---- cluster ---------------------------------------------------------------------------------------------------------


def slot_of(endpoint: str) -> int:
    """The slot of an endpoint's id, as `Slot::of` of the store's port has it."""
    hashed = 0x811C9DC5
    for byte in bytes.fromhex(endpoint.replace("-", "")):
        hashed = ((hashed ^ byte) * 0x01000193) & 0xFFFFFFFF
    folded = hashed ^ (hashed >> 16)
    return (folded & 0xFF) ^ (folded >> 8 & 0xFF)


def are_shared(server: Server, database: str, nodes: int) -> bool:
    """Whether every slot has an owner that is alive, and every node some of them."""
    sql = (
        f"SELECT count(DISTINCT s.owner) = {nodes} AND bool_and(n.incarnation IS NOT NULL) FROM {SCHEMA}.slots s "
        f"LEFT JOIN {SCHEMA}.nodes n ON n.incarnation = s.owner AND n.ended_at IS NULL"
    )
    return server.ask(database, sql) == "t"


def is_elsewhere(server: Server, database: str, first: int) -> bool:
    """Whether the endpoint of the latest delivery is not of the node that joined first."""
    endpoint = server.ask(database, f"SELECT endpoint FROM {SCHEMA}.deliveries ORDER BY id DESC LIMIT 1")
    return int(server.ask(database, f"SELECT owner FROM {SCHEMA}.slots WHERE slot = {slot_of(endpoint)}")) != first


def sized(run: dict, rate: int) -> dict:
    """What docs/scaling.md calculates of a run: what so many deliveries a second need."""
    shown = {
        "node cores": run["node_cpu_s_per_1000"] * rate / 1_000 / BUSY,
        "database cores": run["database_cpu_s_per_1000"] * rate / 1_000 / BUSY,
        "WAL, MB/s": run["wal_bytes"] * rate / MB,
        "WAL, GB a day": run["wal_bytes"] * rate * DAY_S / 1e9,
        "syncs/s": run["syncs_per_1000"] * rate / 1_000,
        "transactions/s": run["transactions"] * rate,
    }
    return {f"at {rate:,}/s: {name}": value for name, value in shown.items()}


def run_cluster(binary: str) -> dict:
    """The load of many endpoints on one of one node and on one of three; and that of one endpoint on a node that does not have it."""
    spread = ["--events", str(EVENTS // 2), "--endpoints", str(ENDPOINTS)]
    with directory() as home, Server(home) as server:
        environment, runs = server.make("cluster"), {}
        with contextlib.ExitStack() as stack:
            nodes = [stack.enter_context(node(binary, os.path.join(home, "node-0"), environment))]
            first = int(server.ask("cluster", f"SELECT max(incarnation) FROM {SCHEMA}.nodes"))
            load(binary, nodes[0], WARM_UP)
            runs["one node"] = measured(binary, nodes, spread, server, "cluster")
            for n in range(1, NODES):
                nodes.append(stack.enter_context(node(binary, os.path.join(home, f"node-{n}"), environment, nodes[0].key)))
            wait_until("each node has its slots", 30, lambda: are_shared(server, "cluster", NODES))
            load(binary, nodes[0], [*WARM_UP, "--endpoints", str(ENDPOINTS)])
            runs["three nodes"] = measured(binary, nodes, spread, server, "cluster")
            unused = idle(server, "cluster", nodes)
            # Each run makes an endpoint of its own, and one in three is the first node's.
            for _ in range(10):
                run = measured(binary, nodes, ["--events", str(EVENTS // 4)], server, "cluster")
                if is_elsewhere(server, "cluster", first):
                    runs["one endpoint of another node"] = run
                    break
    shown = {}
    for name, run in runs.items():
        shown.update(figures(name, run))
        latency = run["server"]["arrival_latency_us"] or {}
        shown[f"{name}: POST to arrival under that load, p50 ms"] = latency.get("p50", 0) / 1_000
    for rate in RATES:
        shown.update(sized(runs["three nodes"], rate))
    shown.update({f"each of three nodes without work, per second: {name}": value for name, value in unused.items()})
    return {"server": together(list(runs.values())), "runs": runs, "idle": unused, "figures": shown}


# ---- bloat -----------------------------------------------------------------------------------------------------------


def hot(sizes: dict, name: str) -> float:
    return sum(sizes[table][name] for table in HOT if table in sizes)


def kept_bytes(sizes: dict) -> float:
    return sum(of["bytes"] for name, of in sizes.items() if name not in HOT)


def vacuumed(server: Server) -> None:
    """Waits until what is gone from the hottest table was cleaned up."""
    time.sleep(STATISTICS_S)
    wait_until("the queue is vacuumed", VACUUMED_S, lambda: server.sizes("bloat")["queue"]["dead"] < VACUUMED_ROWS)


def run_bloat(binary: str) -> dict:
    """Sizes of tables: after many deliveries, during a transaction that is held open, after it, and after as many more without one."""
    sizes, loads = {}, {}
    with directory() as home, Server(home) as server:
        with node(binary, os.path.join(home, "node"), server.make("bloat")) as at:

            def deliver(name: str, *arguments: str) -> None:
                began = server.log_position()
                loads[name] = load(binary, at, [*arguments])
                loads[name]["wal_bytes"] = (server.log_position() - began) / max(1, loads[name]["delivered"])
                wait_until("all outcomes are stored", VACUUMED_S, lambda: nothing_waits(server, "bloat"))
                time.sleep(STATISTICS_S)
                sizes[name] = server.sizes("bloat")

            deliver("after the first", "--events", str(BLOAT_DELIVERIES))
            vacuumed(server)
            sizes["and vacuumed"] = server.sizes("bloat")
            with Session(server, "bloat") as held:
                held.do(f"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM {SCHEMA}.queue;")
                began = time.monotonic()
                rate = max(1, BLOAT_MORE // BLOAT_HELD_S)
                deliver("while a transaction is open", "--events", str(BLOAT_MORE), "--rate", str(rate))
                time.sleep(max(0.0, began + BLOAT_HELD_S - time.monotonic()))
                held_s = time.monotonic() - began
                held.do("COMMIT;")
            vacuumed(server)
            sizes["after its end, vacuumed"] = server.sizes("bloat")
            deliver("after as many more", "--events", str(BLOAT_MORE))
    show_sizes(sizes)
    last, first = hot(sizes["after as many more"], "bytes"), hot(sizes["after the first"], "bytes")
    rows = BLOAT_DELIVERIES + 2 * BLOAT_MORE
    kept = kept_bytes(sizes["after as many more"])
    shown = {f"tables that keep, MB, {name}": kept_bytes(of) / MB for name, of in sizes.items()}
    shown |= {f"tables that change, MB, {name}": hot(of, "bytes") / MB for name, of in sizes.items()}
    shown.update({f"their rows that are gone, {name}": hot(of, "dead") for name, of in sizes.items()})
    shown["tables that keep, bytes per delivery"] = kept / rows
    for rate in RATES:
        shown[f"at {rate:,}/s: stored, GB a day"] = kept / rows * rate * DAY_S / 1e9
    shown["minutes that the transaction was open"] = held_s / 60
    for name, of in loads.items():
        shown[f"deliveries/s, {name}"] = of["delivered_per_second"]
        shown[f"WAL bytes per delivery, {name}"] = of["wal_bytes"]
    held = loads["while a transaction is open"]["arrival_latency_us"] or {}
    shown["POST to arrival while it was open, p99 ms"] = held.get("p99", 0) / 1_000
    return {
        "server": together([{"server": of} for of in loads.values()]),
        "sizes": sizes,
        "loads": loads,
        "growth": last / max(1, first),
        "gone": sizes["after its end, vacuumed"]["queue"]["dead"],
        "figures": shown,
    }


def show_sizes(sizes: dict) -> None:
    """The tables of more than a megabyte, each with its rows, its indexes and rows that are gone."""
    for moment, tables in sizes.items():
        print(f"          {moment}: MB of rows and of indexes, rows that are gone, vacuums")
        for name, of in sorted(tables.items(), key=lambda item: -item[1]["bytes"]):
            if of["bytes"] > MB or name in HOT:
                print(f"            {name:<24}{of['rows_bytes'] / MB:10.1f}{of['indexes_bytes'] / MB:10.1f}{of['dead']:12,}{of['vacuums']:6}")
