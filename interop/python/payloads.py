"""Real payloads: every published example of every GitHub event, spelt as Python programs spell JSON."""

import json
import pathlib

# One folder per edition of GitHub: all that there are, so that a later release of the package is not read in part.
EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "node/node_modules/@octokit/webhooks-examples"

SPELLINGS = {
    "default": lambda value: json.dumps(value),
    "compact": lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    "sorted": lambda value: json.dumps(value, sort_keys=True, indent="\t"),
}


def github_events() -> list[tuple[str, object]]:
    """Every different example as a pair of event type and value."""
    editions = sorted(EXAMPLES.glob("*/index.json"))
    if not editions:
        raise FileNotFoundError(f"{EXAMPLES} has no examples: run `npm ci` in interop/node (scripts/setup does)")
    seen = {}
    for edition in editions:
        for event in json.loads(edition.read_text("utf-8")):
            for value in event["examples"]:
                seen[event["name"], json.dumps(value)] = (event["name"], value)
    return list(seen.values())
