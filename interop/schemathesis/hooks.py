"""What generated requests must not do: reach other machines, and take away the key that they are made with."""

import itertools
import json
import os
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

    Most keys are made new: with the same few on different requests there would be little but 422 to see.
    """
    key = (case.headers or {}).get("Idempotency-Key")
    number = next(requests)
    if key and number % 5 and len(key) < MAX_KEY:
        case.headers["Idempotency-Key"] = f"{key}{number}"[:MAX_KEY]
    if isinstance(case.body, dict):
        case.body = led_home(case.body)


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
