"""One server for all tests; each test has its own receiver and subscription."""

import base64
import secrets

import pytest

from postrider import Api, running
from receiver import receiving


@pytest.fixture(scope="session")
def server():
    with running() as address:
        yield address


@pytest.fixture
def api(server):
    api = Api(server)
    yield api
    api.close()


@pytest.fixture
def secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def receiver(secret):
    with receiving(secret) as receiver:
        yield receiver
