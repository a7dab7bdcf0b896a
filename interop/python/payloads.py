"""Real payloads: every published example of every GitHub event, spelt as Python programs spell JSON."""

import json
import pathlib

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "node/node_modules/@octokit/webhooks-examples/api.github.com/index.json"

SPELLINGS = {
    "default": lambda value: json.dumps(value),
    "compact": lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    "sorted": lambda value: json.dumps(value, sort_keys=True, indent="\t"),
}


def github_events() -> list[tuple[str, object]]:
    """Pairs of event type and value."""
    if not EXAMPLES.is_file():
        raise FileNotFoundError(f"{EXAMPLES} is missing: run `npm ci` in interop/node (scripts/setup does)")
    return [(event["name"], value) for event in json.loads(EXAMPLES.read_text("utf-8")) for value in event["examples"]]
