"""Tells the stories of interop/rpc with a client; what the words of a story mean is said there."""

import json
import re
import time
from dataclasses import dataclass, replace

from standardwebhooks import Webhook

from postrider import REPOSITORY
from rpc_receiver import Answering

STORIES = REPOSITORY / "interop" / "rpc"
PATIENCE_S = 30


@dataclass(frozen=True)
class Refused:
    """What a call was refused with: the code as `not_found`."""

    code: str
    message: str


def stories() -> dict[str, dict]:
    """Every story by its name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(STORIES.glob("*.json"))}


def tell(story: dict, client, receiver: Answering, known: dict[str, str]):
    """Goes through a story: `known` are the names that it may use from its beginning."""
    names = dict(known)
    for step in story["steps"]:
        try:
            if "received" in step:
                _receives(step, receiver, names)
            else:
                _calls(step, client, names)
        except AssertionError as error:
            raise AssertionError(f"{story['about']}, {step['title']!r}: {error}") from None


def _calls(step: dict, client, names: dict[str, str]):
    end = time.monotonic() + PATIENCE_S
    while True:
        answer = client.call(step["call"], _filled(step["send"], names), step.get("key"))
        try:
            return _compare(step, answer, names)
        except AssertionError:
            if not step.get("until") or time.monotonic() > end:
                raise
        # No call waits for a change.
        time.sleep(0.02)


def _compare(step: dict, answer, names: dict[str, str]):
    if "refused" in step:
        assert isinstance(answer, Refused), f"it was answered: {answer}"
        wanted = step["refused"]
        assert answer.code == wanted["code"] and wanted["message"] in answer.message, f"it was refused with {answer}"
        return
    assert not isinstance(answer, Refused), f"it was refused: {answer}"
    exact = "answer" in step
    context = _Context(exact, names, {}, "answer")
    _match(step["answer" if exact else "shows"], answer, context)
    names.update(context.bound)


def _receives(step: dict, receiver: Answering, names: dict[str, str]):
    came = receiver.wait(step["received"], len(step["requests"]))
    for index, (wanted, request) in enumerate(zip(step["requests"], came)):
        context = _Context(False, names, {}, f"request {index}")
        seen = {"method": request.method, "headers": request.headers, "text": request.body.decode()}
        _match({key: value for key, value in wanted.items() if key not in ("json", "secret")}, seen, context)
        if "json" in wanted:
            # Who names its version means the whole envelope.
            exact = replace(context, exact="version" in wanted["json"], path=f"{context.path}.json")
            _match(wanted["json"], json.loads(request.body), exact)
        if "secret" in wanted:
            Webhook(_filled(wanted["secret"], names)).verify(request.body, request.headers, json_parse=False)


def _filled(value, names: dict[str, str]):
    """A value with what its `${name}` stand for."""
    if isinstance(value, str):
        return re.sub(r"\$\{([^}]+)\}", lambda found: names[found[1]], value)
    if isinstance(value, list):
        return [_filled(member, names) for member in value]
    if isinstance(value, dict):
        return {key: _filled(member, names) for key, member in value.items()}
    return value


KINDS = {
    "uuid": lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value),
    "time": lambda value: isinstance(value, str) and re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?Z", value),
    "text": lambda value: isinstance(value, str) and value != "",
    "count": lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
}


@dataclass(frozen=True)
class _Context:
    exact: bool
    names: dict[str, str]
    bound: dict[str, str]
    path: str


def _match(wanted, value, context: _Context):
    """Fails where `value` is not as wanted; what a story gives names to lands in `bound`."""
    kind = re.fullmatch(r"<([a-z]+)(?: as (.+))?>", wanted) if isinstance(wanted, str) else None
    if kind:
        assert KINDS[kind[1]](value), f"{context.path} is no {kind[1]}: {value!r}"
        if kind[2]:
            context.bound[kind[2]] = value
    elif isinstance(wanted, list):
        _match_list(wanted, value, context)
    elif isinstance(wanted, dict):
        _match_object(wanted, value, context)
    else:
        expected = _filled(wanted, context.names)
        # In Python 1 is True, and in JSON it is not.
        same = value == expected and isinstance(value, bool) == isinstance(expected, bool)
        assert same, f"{context.path} is {value!r} in place of {expected!r}"


def _match_list(wanted: list, value, context: _Context):
    assert isinstance(value, list), f"{context.path} is no list: {value!r}"
    if context.exact:
        assert len(value) == len(wanted), f"{context.path} has {len(value)} entries: {value!r}"
        for index, member in enumerate(wanted):
            _match(member, value[index], replace(context, path=f"{context.path}[{index}]"))
        return
    for member in wanted:
        first = next((candidate for candidate in value if _fits(member, candidate, context)), None)
        assert first is not None, f"{context.path} has no {member!r}: {value!r}"
        _match(member, first, context)


def _fits(wanted, value, context: _Context) -> bool:
    try:
        _match(wanted, value, replace(context, bound={}))
    except AssertionError:
        return False
    return True


def _match_object(wanted: dict, value, context: _Context):
    assert isinstance(value, dict), f"{context.path} is no object: {value!r}"
    for key, member in wanted.items():
        _match(member, value.get(key), replace(context, path=f"{context.path}.{key}"))
    more = set(value) - set(wanted) if context.exact else set()
    assert not more, f"{context.path} has more: {sorted(more)} in {value!r}"
