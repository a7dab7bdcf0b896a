"""Runs `postrider bench` through its scenarios and holds each against its bars. Exit status 1 if one is missed."""

import json
import os
import subprocess
import sys

MIB = 1 << 20

# Each bar is: what it says, where the figure is in the report, "<=" or ">=", the limit, what to divide the figure by.
ALWAYS = [
    ("events lost", "server.lost", "<=", 0, 1),
    ("deliveries made twice", "server.duplicates", "<=", 0, 1),
    ("bodies that were changed", "server.wrong", "<=", 0, 1),
]
SCENARIOS = {
    "throughput": (
        ["--events", "400000", "--connections", "64", "--warmup", "5s"],
        [
            ("deliveries, percent of direct", "server.ratio_to_direct_percent", ">=", 25, 1),
            ("server CPU s per 1,000", "server.usage.server_cpu_s_per_1000", "<=", 0.08, 1),
        ],
    ),
    "latency": (
        ["--events", "4000", "--connections", "4", "--rate", "200", "--skip-direct"],
        [
            ("POST to arrival, p50 ms", "server.arrival_latency_us.p50", "<=", 1, 1_000),
            ("memory when idle, MiB", "server.usage.server_idle_rss_bytes", "<=", 30, MIB),
        ],
    ),
    "fairness": (
        ["--events", "30000", "--endpoints", "200", "--hang", "20", "--rate", "1000", "--skip-direct"],
        [
            ("healthy endpoints, POST to arrival, p99 ms", "server.arrival_latency_us.p99", "<=", 50, 1_000),
        ],
    ),
    "backlog": (
        ["--events", "100000", "--backlog", "1000000", "--skip-direct"],
        [
            ("memory with the backlog waiting, MiB", "server.usage.server_backlog_rss_bytes", "<=", 256, MIB),
            ("peak memory, MiB", "server.usage.server_peak_rss_bytes", "<=", 384, MIB),
        ],
    ),
}
RUN_LIMIT_S = 1_800


def figure(report: dict, path: str):
    """The value at a dotted path; None where it was not measured."""
    value = report
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def judge(report: dict, bar: tuple) -> bool:
    what, path, comparison, limit, divisor = bar
    raw = figure(report, path)
    value = None if raw is None else raw / divisor
    met = value is not None and (value <= limit if comparison == "<=" else value >= limit)
    shown = "not measured" if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")
    print(f"  {'ok    ' if met else 'MISSED'}  {what:<46}{shown:>14}  {comparison} {limit}")
    return met


def run(binary: str, name: str) -> bool:
    arguments, bars = SCENARIOS[name]
    command = [binary, "bench", "--json", *arguments]
    print(f"{name}: postrider {' '.join(command[1:])}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=RUN_LIMIT_S, text=True)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        print(f"  MISSED  no report, exit status {done.returncode}: {done.stdout.strip()}")
        return False
    keep(name, report)
    # Every bar is shown, whatever the ones before it say.
    met = [judge(report, bar) for bar in bars + ALWAYS]
    return all(met) and done.returncode == 0


def keep(name: str, report: dict) -> None:
    """Leaves the whole report beside the build."""
    directory = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "bench")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, f"{name}.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")


def main() -> int:
    binary, *names = sys.argv[1:]
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    met = [run(binary, name) for name in names or SCENARIOS]
    print(f"{sum(met)} of {len(met)} scenarios within their bars")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
