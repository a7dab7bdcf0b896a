"""Every method of the RPC API, called by clients that nobody here wrote: each tells each story of interop/rpc."""

import secrets
from contextlib import closing

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from postrider import REPOSITORY, make_key, running
from rpc_clients import CLIENTS, NO_PROXY, generated
from rpc_receiver import answering
from rpc_stories import stories, tell

SERVICES = {f"webhook.{name}Service" for name in ("Delivery", "Event", "Health", "Subscription", "Webhook")}
STORIES = stories()


@pytest.fixture(scope="module")
def guarded():
    """A server that wants keys: its address and its master key."""
    master_key = secrets.token_hex(24)
    with running(["--allow-network", "127.0.0.0/8"], {"POSTRIDER_BOOTSTRAP_KEY": master_key}) as address:
        yield address, master_key


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    with generated(tmp_path_factory.mktemp("generated")):
        yield


@pytest.fixture
def channel(guarded):
    with grpc.insecure_channel(guarded[0], options=NO_PROXY) as channel:
        yield channel


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_story(client, story, guarded, modules):
    address, master_key = guarded
    namespace = f"{story}-{secrets.token_hex(4)}"
    with closing(CLIENTS[client](address, make_key(address, master_key, namespace))) as teller, answering() as receiver:
        tell(STORIES[story], teller, receiver, {"namespace": namespace, "receiver": receiver.url})


def test_the_stories_call_every_method_that_reflection_shows(channel):
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    methods = {f"{service.name}/{method.name}" for service in map(pool.FindServiceByName, SERVICES) for method in service.methods}
    assert {step["call"] for story in STORIES.values() for step in story["steps"] if "call" in step} == methods


def test_reflection_shows_the_contract_as_it_is_published(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {name for name in database.get_services() if name.startswith("webhook.")} == SERVICES
    published = FileDescriptorSet.FromString((REPOSITORY / "proto/webhook.binpb").read_bytes())
    (ours,) = [file for file in published.file if file.name == "webhook/webhook.proto"]
    for shown in (database.FindFileByName(ours.name), database.FindFileContainingSymbol("webhook.PushEventRequest")):
        assert without_comments(shown) == without_comments(ours)


def without_comments(file: FileDescriptorProto) -> FileDescriptorProto:
    bare = FileDescriptorProto()
    bare.CopyFrom(file)
    bare.ClearField("source_code_info")
    return bare


def test_every_service_is_healthy_by_grpc_health(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", *SERVICES):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    with pytest.raises(grpc.RpcError) as refused:
        health.Check(health_pb2.HealthCheckRequest(service="webhook.NobodyService"), timeout=30)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    watch = health.Watch(health_pb2.HealthCheckRequest(service="webhook.WebhookService"), timeout=30)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
