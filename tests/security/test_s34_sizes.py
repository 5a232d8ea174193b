"""S34: a size that is asked for allocates nothing (CVE-2023-2253)."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor

import entrepot_core.api.server  # noqa: F401  imports every service
from core_database import empty
from core_under_test import TOKEN, Core, a_config, a_repository, running_api
from entrepot_core.store.database import Database
from entrepot_gateway.app import Api
from entrepot_gateway.binding import Binding, core_bindings
from entrepot_gateway.core import Core as GatewayCore
from entrepot_rpc.comment import core_files
from gateway_client import Answer, Client

VERSION = "repositories/file/foo/versions/0"
TASK = "00000000-0000-7000-8000-000000000000"
PARENTS = {
    "ListContent": VERSION,
    "ListVersions": "repositories/file/foo",
    **dict.fromkeys(("ListPlannedUnits", "ListTaskLogs", "ListTaskFailures"), f"tasks/{TASK}"),
}
SIZES = (-1, -(2**31), 1001, 10**6, 2**31 - 1)
MANY = 100_000


def _rpcs(*prefixes: str) -> list[MethodDescriptor]:
    pool = descriptor_pool.Default()
    return [
        pool.FindMethodByName(f"{file.package}.{service.name}.{rpc.name}")
        for file in core_files().file
        if file.package == "entrepot.core.v1"
        for service in file.service
        for rpc in service.method
        if rpc.name.startswith(prefixes)
    ]


PAGED = [rpc for rpc in _rpcs("") if "page_size" in rpc.input_type.fields_by_name]
REPEATED = [
    pytest.param(rpc, field.name, id=f"{rpc.name}.{field.name}")
    for rpc in _rpcs("")
    if not rpc.client_streaming
    for field in rpc.input_type.fields
    if field.is_repeated and field.cpp_type in (field.CPPTYPE_STRING, field.CPPTYPE_MESSAGE)
]
# The content of a plugin can only be asked for with the plugin.
BOUND = [
    binding
    for binding in core_bindings()
    if "page_size" in binding.rpc.input_type.fields_by_name
    if binding.template.segments[2] != "content"
]


@pytest.fixture(scope="module")
def core(core_schema: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """A real core with one repository, of which nothing is left for the tests of other files."""
    with running_api(a_config(core_schema, tmp_path_factory.mktemp("home"))) as running:
        _make_repository(running.database)
        yield running
    empty(core_schema)


def _make_repository(database: Database) -> None:
    if not database.fetch("SELECT FROM repository WHERE name = 'foo'"):
        a_repository(database)


def call(core: Core, rpc: MethodDescriptor, data: bytes) -> grpc.StatusCode:
    """How a call with these bytes as request ends."""
    service = rpc.containing_service.full_name
    answer = message_factory.GetMessageClass(rpc.output_type).FromString
    path = f"/{service}/{rpc.name}"
    options: Any = {"metadata": core.metadata, "timeout": 20}
    try:
        if rpc.server_streaming:
            stream = core.channel.unary_stream(path, bytes, answer)(data, **options)
            next(iter(stream), None)
            stream.cancel()
        else:
            core.channel.unary_unary(path, bytes, answer)(data, **options)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def a_request(rpc: MethodDescriptor, **fields: object) -> Any:  # noqa: ANN401
    """A request whose resources exist."""
    names = {"parent": PARENTS.get(rpc.name, ""), "name": VERSION}
    own = {name: value for name, value in names.items() if name in rpc.input_type.fields_by_name}
    return message_factory.GetMessageClass(rpc.input_type)(**own, **fields)


def test_every_list_has_pages() -> None:
    """What lists resources takes the size of a page; streams have batches of their own."""
    assert len(PAGED) >= 9
    without = {rpc.name for rpc in _rpcs("List")} - {rpc.name for rpc in PAGED}
    assert without == {"ListFolder", "ListBasePaths", "ListServedVersions", "ListGuides"}


@pytest.mark.parametrize("rpc", PAGED, ids=lambda rpc: rpc.name)
def test_a_page_of_no_size_is_refused(core: Core, rpc: MethodDescriptor) -> None:
    """Over gRPC: negative, above the limit, or longer than the field can hold."""
    for size in SIZES:
        request = a_request(rpc, page_size=size)
        assert call(core, rpc, request.SerializeToString()) == grpc.StatusCode.INVALID_ARGUMENT
    number = rpc.input_type.fields_by_name["page_size"].number
    for varint in (b"\x80\x80\x80\x80\x08", b"\xff" * 9 + b"\x01"):
        data = a_request(rpc).SerializeToString() + bytes([number << 3]) + varint
        assert call(core, rpc, data) == grpc.StatusCode.INVALID_ARGUMENT
    assert call(core, rpc, a_request(rpc, page_size=1000).SerializeToString()) in (
        grpc.StatusCode.OK,
        grpc.StatusCode.NOT_FOUND,
    )


@pytest.mark.parametrize("query", [f"page_size={size}" for size in (*SIZES, 2**31, 10**30)])
@pytest.mark.parametrize("binding", BOUND, ids=lambda binding: binding.rpc.name)
async def test_a_page_of_no_size_is_refused_over_rest(
    core: Core, binding: Binding, query: str
) -> None:
    """With 400, naming the field."""
    answer = await rest(core, _address(binding), query)

    assert answer.status == 400, answer.body
    assert answer.pointers == ["#/page_size"]


@pytest.mark.parametrize("query", ["limit=9", "n=9", "page_size=x", "page_size=1.5", "count=1"])
async def test_no_other_word_makes_a_page(core: Core, query: str) -> None:
    """What other registries call it is not taken for it, and not ignored."""
    answer = await rest(core, "/api/v3/repositories/file/", query)

    assert answer.status == 400, answer.body


@pytest.mark.parametrize(("rpc", "field"), REPEATED)
def test_a_list_of_names_is_bounded(core: Core, rpc: MethodDescriptor, field: str) -> None:
    """A hundred thousand items in one request end soon, with an answer or a refusal."""
    item = rpc.input_type.fields_by_name[field].message_type
    many = [{} if item else f"name-{number}" for number in range(MANY)]
    request = a_request(rpc, **{field: many})
    started = time.monotonic()

    code = call(core, rpc, request.SerializeToString())

    assert code in (
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    )
    assert time.monotonic() - started < 10


async def rest(core: Core, path: str, query: str) -> Answer:
    """An answer of the API of this core."""
    app = Api(GatewayCore(core.address, TOKEN))
    await app.start()
    try:
        async with asyncio.timeout(20):
            client = Client(app, {"authorization": f"Bearer {TOKEN}"})
            return await client.request("GET", f"{path}?{query}")
    finally:
        await app.stop()


def _address(binding: Binding) -> str:
    given = iter((TASK,) if "tasks" in binding.template.segments else ("file", "foo", "0"))
    filled = [next(given) if part == "*" else part for part in binding.template.segments]
    return f"/{'/'.join(filled)}/"
