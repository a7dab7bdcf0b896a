"""The teller itself: if every answer were right to it, the stories would prove nothing."""

import json

import pytest

from rpc_stories import STORIES, Refused, tell

CASES = json.loads((STORIES / "tellers" / "cases.json").read_text(encoding="utf-8"))


class Answering:
    """Gives its answers one after the other, and keeps what it was asked."""

    def __init__(self, *answers):
        self.asked = []
        self._answers = list(answers)

    def call(self, _name, message, _key):
        self.asked.append(message)
        return self._answers.pop(0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_a_case(case):
    story = {"about": "a case", "steps": [{"title": case["why"], "call": "A/B", "send": {}} | case["step"]]}
    client = Answering(Refused(**case["refused"]) if "refused" in case else case["came"])
    if case["holds"]:
        tell(story, client, None, {"known": "thing"})
    else:
        with pytest.raises(AssertionError):
            tell(story, client, None, {"known": "thing"})


def test_what_gets_a_name_is_known_from_then_on():
    client = Answering({"a": "550e8400-e29b-41d4-a716-446655440000"}, {})
    first = {"title": "first", "call": "A/B", "send": {}, "answer": {"a": "<uuid as it>"}}
    second = {"title": "second", "call": "A/B", "send": {"b": ["${it}"]}, "answer": {}}
    tell({"about": "two steps", "steps": [first, second]}, client, None, {})
    assert client.asked == [{}, {"b": ["550e8400-e29b-41d4-a716-446655440000"]}]
