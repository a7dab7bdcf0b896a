"""An application publishes with its own transactions, through psycopg: what docs/outbox.md shows."""

import json
from datetime import timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from database import shared_database
from postrider import Api, running

PUBLISH = """
    SELECT postrider.publish(%(namespace)s, %(type)s, %(payload)s,
        labels => %(labels)s, ttl => %(ttl)s, idempotency_key => %(key)s)
"""


@pytest.fixture(scope="module")
def shared():
    with shared_database() as shared:
        yield shared


@pytest.fixture(scope="module")
def on_database(shared):
    with running(("--dev",), shared.settings()) as address:
        yield address


@pytest.fixture
def subscribed(on_database, receiver, secret):
    """A receiver of everything about orders; its subscription is gone with the test."""
    api = Api(on_database)
    subscription = api.subscribe(target_url=receiver.url, secret=secret, event_types="order.*")
    yield receiver
    status, _ = api.call("DELETE", f"/subscriptions/{subscription}")
    assert status == 204
    api.close()


def publish(connection, type, payload, labels=None, ttl=None, key=None):
    values = {"namespace": "default", "type": type, "payload": payload, "labels": Jsonb(labels or {}), "ttl": ttl, "key": key}
    return connection.execute(PUBLISH, values).fetchone()[0]


def bodies(deliveries):
    return [delivery.body.decode() for delivery in deliveries]


def test_an_order_and_its_event_are_one(shared, subscribed):
    with psycopg.connect(shared.application_url) as connection:
        with connection.transaction():
            connection.execute("INSERT INTO orders VALUES (1, 9.90)")
            publish(connection, "order.created", Jsonb({"id": 1, "total": "9.90"}), {"region": "eu"}, timedelta(hours=1), "order-1")
        with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
            publish(connection, "order.created", Jsonb({"id": 1, "total": "0"}))
            connection.execute("INSERT INTO orders VALUES (1, 0)")
        with connection.transaction():
            # The same key is the same event.
            publish(connection, "order.created", Jsonb({"id": 1, "total": "9.90"}), key="order-1")
            publish(connection, "order.closed", Jsonb({"id": 1}))
    deliveries = subscribed.wait(2)
    assert all(delivery.standard and delivery.hub for delivery in deliveries)
    assert [json.loads(body) for body in bodies(deliveries)] == [{"id": 1, "total": "9.90"}, {"id": 1}]


def test_a_text_keeps_its_bytes(shared, subscribed):
    text = '{"total":  9.90, "name": "Grüße"}'
    with psycopg.connect(shared.application_url, autocommit=True) as connection:
        for n, payload in enumerate((text, text.encode(), json.dumps({"n": 3}))):
            publish(connection, "order.created", payload)
            assert len(subscribed.wait(n + 1)) == n + 1
    assert bodies(subscribed.wait(3)) == [text, text, '{"n": 3}']


def test_what_is_wrong_is_said_and_undoes_the_transaction(shared):
    with psycopg.connect(shared.application_url) as connection:
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="must be an object") as refused, connection.transaction():
            connection.execute("INSERT INTO orders VALUES (7, 1)")
            publish(connection, "order.created", Jsonb([7]))
        assert refused.value.diag.message_hint
        assert connection.execute("SELECT count(*) FROM orders WHERE id = 7").fetchone()[0] == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute("SELECT * FROM postrider.outbox")
