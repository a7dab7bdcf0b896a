"""GitHub's own payloads go in signed and must come out byte for byte, with signatures that `standardwebhooks` accepts."""

import pytest

from payloads import SPELLINGS, github_events
from receiver import hub_signature


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_github_event_comes_out_as_it_went_in(api, receiver, secret, spelling):
    events = github_events()
    assert len(events) > 300, "has the package of examples changed?"
    subscription = api.subscribe(target_url=receiver.url, secret=secret)
    sent = {}
    for event_type, value in events:
        body = SPELLINGS[spelling](value).encode()
        status, answer = api.ingest(subscription, body, event_type, hub_signature(secret, body))
        assert status == 202, (status, answer)
        sent[answer["delivery_task_id"]] = (event_type, body)

    deliveries = receiver.wait(len(events))
    assert len(deliveries) == len(events), "something arrived twice"
    assert {delivery.headers["x-postrider-delivery-id"] for delivery in deliveries} == sent.keys()
    for delivery in deliveries:
        event_type, body = sent[delivery.headers["x-postrider-delivery-id"]]
        assert delivery.standard and delivery.hub
        assert delivery.path == "/hooks?from=postrider"
        assert delivery.headers["content-type"] == "application/json"
        assert delivery.headers["x-postrider-event"] == event_type
        assert delivery.body == body
    for delivery_id, (_, body) in sent.items():
        answer = api.until_status(delivery_id, "delivered")
        assert answer["task"]["payload"] == body.decode()
        assert answer["task"]["attempt_count"] == 1
        (log,) = answer["logs"]
        assert (log["attempt_number"], log["outcome"], log["http_status"], log["error_details"]) == (1, "success", 200, None)
        assert (log["subscription_id"], log["target_url"]) == (subscription, receiver.url)
