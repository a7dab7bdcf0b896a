"""The receiver itself: if it accepted everything, the other tests would prove nothing."""

import http.client
import urllib.parse
from datetime import datetime, timezone

from standardwebhooks import Webhook

from receiver import hub_signature


def test_it_accepts_what_is_signed_and_nothing_else(receiver, secret):
    body = b'{"hello": 1}'
    now = datetime.now(timezone.utc)
    signed = {
        "webhook-id": "message-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("message-1", now, body.decode()),
        "x-hub-signature-256": hub_signature(secret, body),
    }
    url = urllib.parse.urlsplit(receiver.url)
    connection = http.client.HTTPConnection(url.netloc, timeout=10)

    def post(headers, sent=body):
        connection.request("POST", f"{url.path}?{url.query}", sent, headers)
        response = connection.getresponse()
        response.read()
        return response.status

    assert post(signed) == 200
    assert post(signed, body + b" ") == 400
    for header in ("webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256"):
        assert post({name: value for name, value in signed.items() if name != header}) == 400, header
    assert post({**signed, "webhook-id": "message-2"}) == 400
    assert len(receiver.wait(7)) == 7
    connection.close()
