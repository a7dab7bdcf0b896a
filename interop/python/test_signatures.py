"""What `standardwebhooks` must refuse after Postrider signed it, and what Postrider must refuse to take."""

from receiver import hub_signature

BODY = '{"action": "opened", "title": "Grüße"}'.encode()


def test_what_was_not_signed_is_refused_and_leaves_nothing(api, receiver, secret):
    subscription = api.subscribe(target_url=receiver.url, secret=secret)
    good = hub_signature(secret, BODY)
    for wrong in (None, "", good[:-1], good.removeprefix("sha256="), hub_signature(secret + "x", BODY), hub_signature(secret, BODY + b" ")):
        status, answer = api.ingest(subscription, BODY, "issues", wrong)
        assert status == 401, (wrong, answer)
        assert list(answer) == ["error"]
    status, answer = api.ingest(subscription, BODY, "issues", good)
    assert status == 202
    api.until_status(answer["delivery_task_id"], "delivered")
    _, logs = api.call("GET", f"/subscriptions/{subscription}/deliveries")
    assert [log["delivery_task_id"] for log in logs] == [answer["delivery_task_id"]]
    assert len(receiver.wait(1)) == 1


def test_the_library_notices_every_change(api, receiver, secret):
    subscription = api.subscribe(target_url=receiver.url, secret=secret)
    status, _ = api.ingest(subscription, BODY, "issues", hub_signature(secret, BODY))
    assert status == 202
    (delivery,) = receiver.wait(1)
    assert receiver.accepts(delivery.headers, delivery.body)
    for index, byte in enumerate(delivery.body):
        # Stays UTF-8: the library wants text.
        changed = delivery.body[:index] + bytes([byte ^ 1]) + delivery.body[index + 1 :]
        assert not receiver.accepts(delivery.headers, changed), f"byte {index}"
        assert not receiver.hub_accepts(delivery.headers, changed), f"byte {index}"
    moment = int(delivery.headers["webhook-timestamp"])
    for header, value in {
        "webhook-id": delivery.headers["webhook-id"] + "0",
        "webhook-timestamp": str(moment + 1),
        "webhook-signature": "v1," + "A" * 43 + "=",
    }.items():
        assert not receiver.accepts({**delivery.headers, header: value}, delivery.body), header
