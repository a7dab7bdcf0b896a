"""Clients that nobody here wrote, each behind `call(method, message, key)`: messages are proto3 JSON, as the stories have them."""

import importlib
import json
import os
import pathlib
import re
import subprocess
import sys
from contextlib import contextmanager

import grpc
from connectrpc.codec import proto_binary_codec, proto_json_codec
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from pyqwest import HTTPVersion, SyncClient, SyncHTTPTransport

from postrider import REPOSITORY
from rpc_stories import Refused

CALL_LIMIT_S = 30
# What grpcio and connectrpc would else take from the environment is meant for other servers.
NO_PROXY = [("grpc.enable_http_proxy", 0)]


class Grpcio:
    """grpcio, without a copy of the contract: the server tells it by reflection."""

    def __init__(self, address: str, key: str):
        self._channel = grpc.insecure_channel(address, options=NO_PROXY)
        self._pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self._channel))
        self._key = key

    def call(self, name: str, message: dict, key: str | None = None):
        service, method = name.split("/")
        described = self._pool.FindServiceByName(f"webhook.{service}").methods_by_name[method]
        request = ParseDict(message, message_factory.GetMessageClass(described.input_type)())
        invoke = self._channel.unary_unary(
            f"/webhook.{service}/{method}",
            request_serializer=lambda sent: sent.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(described.output_type).FromString,
        )
        key = self._key if key is None else key
        try:
            return MessageToDict(invoke(request, timeout=CALL_LIMIT_S, metadata=[("x-api-key", key)] if key else None))
        except grpc.RpcError as error:
            return Refused(error.code().name.lower(), error.details())

    def close(self):
        self._channel.close()


class Connectrpc:
    """connectrpc, with the clients that its own generator has made of the contract."""

    def __init__(self, address: str, key: str, protocol: ProtocolType, codec, http_version: HTTPVersion):
        self._messages = importlib.import_module("webhook.webhook_pb")
        self._clients = importlib.import_module("webhook.webhook_connect")
        self._http = SyncClient(SyncHTTPTransport(http_version=http_version, enable_otel=False))
        self._settings = {"address": f"http://{address}", "protocol": protocol, "codec": codec, "http_client": self._http}
        self._key = key

    def call(self, name: str, message: dict, key: str | None = None):
        service, method = name.split("/")
        request = getattr(self._messages, f"{method}Request").from_json(json.dumps(message))
        client = getattr(self._clients, f"{service}ClientSync")(**self._settings)
        invoke = getattr(client, re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower())
        key = self._key if key is None else key
        try:
            answer = invoke(request, headers={"x-api-key": key} if key else None, timeout_ms=CALL_LIMIT_S * 1000)
        except ConnectError as error:
            return Refused(error.code.value, error.message)
        return json.loads(answer.to_json())

    def close(self):
        pass


CLIENTS = {
    "grpcio by reflection": Grpcio,
    "connectrpc, Connect JSON": lambda *server: Connectrpc(*server, ProtocolType.CONNECT, proto_json_codec(), HTTPVersion.HTTP1),
    "connectrpc, Connect binary": lambda *server: Connectrpc(*server, ProtocolType.CONNECT, proto_binary_codec(), HTTPVersion.HTTP2),
    "connectrpc, gRPC-Web": lambda *server: Connectrpc(*server, ProtocolType.GRPC_WEB, proto_binary_codec(), HTTPVersion.HTTP1),
    "connectrpc, gRPC": lambda *server: Connectrpc(*server, ProtocolType.GRPC, proto_binary_codec(), HTTPVersion.HTTP2),
}


@contextmanager
def generated(folder: pathlib.Path):
    """The modules `webhook.webhook_pb` and `webhook.webhook_connect`, made from the contract in `folder`, while this lasts."""
    plugins = pathlib.Path(sys.executable).parent
    template = {
        "version": "v2",
        "plugins": [
            {"local": str(plugins / "protoc-gen-py"), "out": "."},
            {"local": str(plugins / "protoc-gen-connectrpc"), "out": "."},
        ],
    }
    buf = REPOSITORY / "interop/node/node_modules/.bin/buf"
    command = [buf, "generate", REPOSITORY / "proto", "--template", json.dumps(template), "--output", folder]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
