"""What generated requests must not do: reach other machines, and take away the key that they are made with. And how many of them succeed."""

import atexit
import collections
import itertools
import json
import os
import pathlib
import urllib.request
from urllib.parse import urlsplit

import schemathesis

# What the others are about: with it gone there would be little but 401 and 404 to see.
KEPT = set(os.environ["POSTRIDER_FUZZ_KEPT"].split(","))
MAX_URL = 2_048
MAX_KEY = 200
RECEIVER = os.environ["POSTRIDER_FUZZ_RECEIVER"]


@schemathesis.hook
def filter_case(context, case):
    ids = (case.path_parameters or {}).values()
    return not (case.method == "DELETE" and any(str(id) in KEPT for id in ids))


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    return (value if isinstance(value, str) else json.dumps(value)).encode(errors="surrogatepass")


requests = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """A URL that is one leads to a receiver on this machine, whatever it was; one that is wrong stays as it is.

    Most keys are made new: with the same few on different requests there would be little but 422 to see. And now and then a dead letter of the
    Tasks API is one that is still there: bulk replays take all that were there at the beginning.
    """
    key = (case.headers or {}).get("Idempotency-Key")
    number = next(requests)
    if key and number % 5 and len(key) < MAX_KEY:
        case.headers["Idempotency-Key"] = f"{key}{number}"[:MAX_KEY]
    if isinstance(case.body, dict):
        case.body = led_home(case.body)
    if case.operation.path.startswith("/dlq/") and number % 3 == 0 and (pending := pending_dead_letters()):
        case.path_parameters["dlq_task_id"] = pending[0]["id"]


def pending_dead_letters() -> list:
    request = urllib.request.Request(os.environ["POSTRIDER_FUZZ_DEAD_LETTERS"], headers={"X-API-Key": os.environ["POSTRIDER_FUZZ_KEY"]})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


# By operation, how many requests were made and how many of them were answered 2xx. fuzz.py judges them.
answers = collections.defaultdict(lambda: [0, 0])


@schemathesis.hook
def after_call(context, case, response):
    counts = answers[case.operation.label]
    counts[0] += 1
    counts[1] += 200 <= response.status_code < 300


@atexit.register
def tell():
    pathlib.Path(os.environ["POSTRIDER_FUZZ_COUNTS"]).write_text(json.dumps(answers))


def led_home(body: dict) -> dict:
    if "target_url" in body:
        return {**body, "target_url": home(body["target_url"])}
    config = body.get("config")
    if isinstance(config, dict) and "url" in config:
        return {**body, "config": {**config, "url": home(config["url"])}}
    return body


def home(url):
    # One that is too long is refused for that.
    if not isinstance(url, str) or len(url) > MAX_URL:
        return url
    try:
        is_url = bool(urlsplit(url).netloc)
    except ValueError:
        return url
    return RECEIVER if is_url else url
