"""Runs `postrider bench` through its scenarios and holds each against its bars. Exit status 1 if one is missed.

A scenario is one run or several that are compared with each other: how much a backlog or hanging endpoints cost shows only beside
a run without them, on the same machine a moment before. A bar must be met; where more is aimed for, that is shown beside it.
"""

import dataclasses
import json
import os
import subprocess
import sys

import bench_history
import bench_outbox
import bench_postgres

MB = 1_000_000
MS = 1_000
P99 = "server.arrival_latency_us.p99"
ACCEPTED = "server.accepted_per_second"


@dataclasses.dataclass(frozen=True)
class Bar:
    """A limit on a figure `run:path.in.the.report`, divided by a number or by another figure."""

    what: str
    figure: str
    comparison: str
    must: float
    per: float | str = 1
    aim: float | None = None


# What holds of every run, `{}` being its name.
ALWAYS = [
    Bar("events accepted of those sent", "{}:server.accepted", "=", 1, per="{}:server.sent"),
    Bar("events lost", "{}:server.lost", "=", 0),
    Bar("deliveries made twice", "{}:server.duplicates", "=", 0),
    Bar("bodies that were changed", "{}:server.wrong", "=", 0),
    Bar("deliveries without their key", "{}:server.without_key", "=", 0),
]

BACKLOG_LOAD = ["--events", "30000", "--connections", "16", "--rate", "500", "--skip-direct"]
APIS_LOAD = ["--events", "50000", "--skip-direct"]
FAIRNESS_LOAD = ["--events", "30000", "--endpoints", "200", "--rate", "1000", "--skip-direct"]

# Per scenario its runs, in the order in which they are made, and its bars.
SCENARIOS = {
    "throughput": (
        {"only": ["--events", "200000", "--connections", "64", "--warmup", "5s"]},
        [
            Bar("deliveries, percent of direct", "only:server.ratio_to_direct_percent", ">=", 18, aim=25),
            Bar("server CPU s per 1,000", "only:server.usage.server_cpu_s_per_1000", "<=", 0.09, aim=0.08),
        ],
    ),
    "latency": (
        {"only": ["--events", "4000", "--connections", "4", "--rate", "100", "--skip-direct"]},
        [
            Bar("POST to arrival, p50 ms", "only:server.arrival_latency_us.p50", "<", 1, per=MS),
            Bar("POST to arrival, p99 ms", f"only:{P99}", "<", 3, per=MS),
            Bar("memory when idle, MB", "only:server.usage.server_idle_rss_bytes", "<", 30, per=MB),
        ],
    ),
    "fan-out": (
        {
            "one": ["--api", "items", "--events", "200000", "--skip-direct"],
            "twenty": ["--api", "items", "--events", "20000", "--fan-out", "20", "--skip-direct"],
        },
        [
            Bar("deliveries/s, 20 against 1", "twenty:server.delivered_per_second", ">=", 1.5, per="one:server.delivered_per_second"),
        ],
    ),
    "apis": (
        {api: ["--api", api, *APIS_LOAD] for api in ("tasks", "connect", "grpc")},
        [
            Bar("PushEvent over Connect against the Tasks API", f"connect:{ACCEPTED}", ">=", 0.75, per=f"tasks:{ACCEPTED}"),
            Bar("PushEvent over gRPC against the Tasks API", f"grpc:{ACCEPTED}", ">=", 0.75, per=f"tasks:{ACCEPTED}"),
        ],
    ),
    "fairness": (
        {"baseline": FAIRNESS_LOAD, "loaded": [*FAIRNESS_LOAD, "--hang", "20"]},
        [
            Bar("p99 beside 20 that hang against without", f"loaded:{P99}", "<=", 1.5, per=f"baseline:{P99}"),
        ],
    ),
    "backlog": (
        {"baseline": BACKLOG_LOAD, "loaded": [*BACKLOG_LOAD, "--backlog", "1000000"]},
        [
            Bar("memory with the backlog waiting, MB", "loaded:server.usage.server_backlog_rss_bytes", "<", 256, per=MB),
            Bar("peak memory, MB", "loaded:server.usage.server_peak_rss_bytes", "<", 256, per=MB),
            Bar("p99 beside the backlog against without", f"loaded:{P99}", "<=", 1.5, per=f"baseline:{P99}"),
        ],
    ),
}
# How often the runs of a scenario take turns, where one pair says little on a machine with neighbours: each run counts by its median turn.
TURNS = {"apis": 5}
# These make their runs themselves.
HISTORY = "history"
HISTORY_BARS = [
    Bar("publishing, filled store against empty", f"{HISTORY}:ratio", ">=", 0.9),
    Bar("lists while publishing, p99 ms", f"{HISTORY}:lists.p99_ms", "<=", 20),
    Bar("the slowest list's p99 ms", f"{HISTORY}:lists.worst_p99_ms", "<=", 20),
]
ON_POSTGRES = {
    "postgres": (
        bench_postgres.run_postgres,
        [Bar("deliveries/s, PostgreSQL against embedded", "postgres:ratio", ">=", 0.5)],
    ),
    "cluster": (bench_postgres.run_cluster, []),
    "outbox": (
        bench_outbox.run_outbox,
        [
            Bar("COMMIT to arrival, p50 ms", "outbox:single.p50_ms", "<", 10),
            Bar("single events lost", "outbox:single.lost", "=", 0),
            Bar("single events delivered twice", "outbox:single.duplicates", "=", 0),
            Bar("committed without a node, delivered of those", "outbox:backlog.delivered", "=", 1, per="outbox:backlog.rows"),
            Bar("of them delivered twice", "outbox:backlog.duplicates", "=", 0),
            Bar("bodies that are none of theirs", "outbox:backlog.wrong", "=", 0),
            Bar("rows left in the outbox", "outbox:backlog.left", "=", 0),
        ],
    ),
    "notify": (bench_outbox.run_notify, []),
    "bloat": (
        bench_postgres.run_bloat,
        [
            Bar("tables that change, at the end against before", "bloat:growth", "<=", 1.5),
            Bar("rows gone, not vacuumed after the transaction", "bloat:gone", "<=", bench_postgres.VACUUMED_ROWS),
        ],
    ),
}
RUN_LIMIT_S = 1_800

COMPARISONS = {
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
    ">=": lambda value, limit: value >= limit,
    "=": lambda value, limit: value == limit,
}


def find(reports: dict, figure: str):
    """The value at `run:dotted.path`; None where it was not measured."""
    name, path = figure.split(":")
    value = reports.get(name)
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def value_of(reports: dict, bar: Bar):
    """What a bar is about; None where a part of it was not measured, or there is nothing to divide by."""
    value = find(reports, bar.figure)
    per = find(reports, bar.per) if isinstance(bar.per, str) else bar.per
    return None if value is None or not per else value / per


def judge(reports: dict, bar: Bar) -> bool:
    value, meets = value_of(reports, bar), COMPARISONS[bar.comparison]
    met = value is not None and meets(value, bar.must)
    shown = "not measured" if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")
    aim = "" if bar.aim is None else f" (aim {bar.aim}{', met' if met and meets(value, bar.aim) else ''})"
    print(f"  {'ok    ' if met else 'MISSED'}  {bar.what:<46}{shown:>14}  {bar.comparison} {bar.must}{aim}")
    return met


def measure(binary: str, scenario: str, name: str, arguments: list):
    """Makes one run; answers its report and whether it ended well."""
    command = [binary, "bench", "--json", *arguments]
    print(f"{scenario}, {name}: postrider {' '.join(command[1:])}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=RUN_LIMIT_S, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        print(f"  MISSED  no report, exit status {done.returncode}: {done.stdout.strip()}")
        return None, False
    keep(f"{scenario}-{name}", report)
    if done.returncode != 0:
        print(f"  MISSED  exit status {done.returncode}")
    return report, done.returncode == 0


def of_run(name: str) -> list:
    """The bars of every run, for this one."""

    def formatted(part):
        return part.format(name) if isinstance(part, str) else part

    return [dataclasses.replace(bar, figure=formatted(bar.figure), per=formatted(bar.per)) for bar in ALWAYS]


def run(binary: str, scenario: str) -> bool:
    runs, bars = SCENARIOS[scenario]
    turns, met = {name: [] for name in runs}, []
    always = [bar for name in runs for bar in of_run(name)]
    for _ in range(TURNS.get(scenario, 1)):
        reports = {}
        for name, arguments in runs.items():
            reports[name], ended_well = measure(binary, scenario, name, arguments)
            met.append(ended_well)
            if reports[name] is not None:
                turns[name].append(reports[name])
        # Every bar is shown, whatever the ones before it say.
        met.extend([judge(reports, bar) for bar in always])
    reports = {name: median(of) for name, of in turns.items()}
    met.extend([judge(reports, bar) for bar in bars])
    return all(met)


def median(reports: list):
    """The report of the turn that accepted at the median rate; None where there is none."""
    ordered = sorted(reports, key=lambda report: report["server"]["accepted_per_second"])
    return ordered[len(ordered) // 2] if ordered else None


def run_history(binary: str) -> bool:
    print(f"{HISTORY}: {bench_history.ATTEMPTS:,} attempts are written, then lists and publishing are measured over them", flush=True)
    report = bench_history.run(binary)
    keep(HISTORY, report)
    for name, row in report["lists"]["by_query"].items():
        print(f"          {name:<28} p50 {row['p50_ms']:6.2f} ms   p99 {row['p99_ms']:6.2f} ms   {row['requests']} requests")
    return all([judge({HISTORY: report}, bar) for bar in HISTORY_BARS])


def run_on_postgres(binary: str, scenario: str) -> bool:
    measure_all, bars = ON_POSTGRES[scenario]
    print(f"{scenario}: {measure_all.__doc__.strip()}", flush=True)
    report = measure_all(binary)
    keep(scenario, report)
    for name, value in report["figures"].items():
        print(f"          {name:<72}{value:>14,.3f}")
    always = of_run(scenario) if "server" in report else []
    return all([judge({scenario: report}, bar) for bar in [*always, *bars]])


def keep(name: str, report: dict) -> None:
    """Leaves the whole report beside the build."""
    directory = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "bench")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, f"{name}.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")


def run_one(binary: str, name: str) -> bool:
    if name == HISTORY:
        return run_history(binary)
    return run_on_postgres(binary, name) if name in ON_POSTGRES else run(binary, name)


def main() -> int:
    binary, *names = sys.argv[1:]
    known = [*SCENARIOS, HISTORY, *ON_POSTGRES]
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    met = [run_one(binary, name) for name in names or known]
    print(f"{sum(met)} of {len(met)} scenarios within their bars")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
