"""An HTTP request to an rpc of core and back, for any binding: knows the rules, no service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from entrepot_gateway.answer import JsonAnswer
from entrepot_gateway.problem import InputRefusedError, refuse
from entrepot_rpc.address import has_address, href
from entrepot_rpc.field import descriptor_of
from entrepot_rpc.problem import InputError
from entrepot_rpc.request_id import RULE, is_allowed

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from entrepot_gateway.binding import Binding
    from entrepot_gateway.call import Call
    from entrepot_gateway.core import Core
    from entrepot_gateway.decoder import Decoder

_KEY, _ID = "#/Idempotency-Key", "#/request_id"
_ETAG = re.compile(r"[\x21\x23-\x7e]{1,200}")


class Transcoder:
    """Answers what core's own annotations describe."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def answer(self, binding: Binding, values: dict[str, str], call: Call) -> Response:
        """The response to a request that a binding matches."""
        request = await self.request(binding, values, call)
        response = await self._core.call(binding.rpc, request, call.credentials)
        return self.response(binding, response, call)

    async def request(self, binding: Binding, values: dict[str, str], call: Call) -> Message:
        """The rpc's request: path, body, query and header fields together."""
        request = binding.new_request()
        document = await call.document() if binding.body else None
        reader = call.decoder()
        if binding.body == "*":
            reader.message(document or {}, request, given=binding.bound, partial=True)
        elif binding.body:
            self._read_resource(binding, values, call, reader, document or {}, request)
        query = call.decoder("query")
        given = {name.partition(".")[0] for name in binding.bound} | {binding.body}
        if binding.body == "*":
            self._refuse_query(call)
        else:
            _forbid(query, call.query, given)
            query.message(call.query, request, given=given, partial=True)
        reader.errors += query.errors
        reader.finish()
        for path, value in values.items():
            _bind(request, path, value)
        self._read_headers(request, binding, call)
        return request

    def response(self, binding: Binding, response: Message, call: Call) -> Response:
        """The HTTP response for the rpc's."""
        if binding.http_method == "DELETE":
            return Response(status_code=204)
        message: Any = response
        if binding.response_body:
            message = getattr(response, binding.response_body)
        created = binding.http_method == "POST"
        headers: dict[str, str] = {}
        if has_address(descriptor_of(message)):
            if created and message.name:
                headers["Location"] = href(message.name)
            headers |= _etag(message)
            if binding.http_method == "GET" and headers.get("ETag") in _tags(
                call.request.headers.get("if-none-match", "")
            ):
                return Response(status_code=304, headers=headers)
        content = call.encoder.answer(message)
        return JsonAnswer(content, 201 if created else 200, headers)

    def _read_resource(
        self,
        binding: Binding,
        values: dict[str, str],
        call: Call,
        reader: Decoder,
        document: dict[str, Any],
        request: Message,
    ) -> None:
        target = getattr(request, binding.body)
        target.SetInParent()
        collection, plugin = self._owner(values)
        spec_class = call.catalog.spec(collection, plugin)
        is_update = binding.http_method == "PATCH"
        if not is_update and call.catalog.has_fields_of(collection):
            call.catalog.require(plugin)
        named = reader.message(
            document, target, spec=spec_class() if spec_class else None, partial=is_update
        )
        if is_update:
            name = values[f"{binding.body}.name"]
            given = getattr(target, "name", "")
            if given not in ("", name, name.rpartition("/")[2]):
                raise refuse("#/name", f"A name cannot be changed: this is {name}.")
            if "update_mask" in request.DESCRIPTOR.fields_by_name:
                request.update_mask.paths.extend(  # type: ignore[attr-defined]
                    path for path in named if path not in ("name", "etag")
                )

    @staticmethod
    def _owner(values: dict[str, str]) -> tuple[str, str]:
        """Collection and plugin of the resource that the path names."""
        collection, _, rest = next(iter(values.values()), "").partition("/")
        return collection, rest.partition("/")[0]

    @staticmethod
    def _refuse_query(call: Call) -> None:
        for name in call.query:
            raise refuse(f"#/{name}", f"{name} belongs into the body.", "FIELD_UNKNOWN", "query")

    @staticmethod
    def _read_headers(request: Message, binding: Binding, call: Call) -> None:
        headers = call.request.headers
        fields = request.DESCRIPTOR.fields_by_name
        if "request_id" in fields:
            read_key(call, request, "" if binding.body == "*" else "query")
        condition = headers.get("if-match", "*").strip()
        target: Any = request
        if binding.body not in ("", "*"):
            target = getattr(request, binding.body)
        if condition != "*" and "etag" in target.DESCRIPTOR.fields_by_name:
            tag = condition.removeprefix("W/").strip('"')
            # A condition that says nothing must not pass for none.
            if not _ETAG.fullmatch(tag):
                raise refuse("#/If-Match", 'Give one entity tag, or "*".', where="header")
            target.etag = tag


def read_key(call: Call, request: Any, where: str = "query") -> None:  # noqa: ANN401  has a request_id
    """Fill in the request id of the header Idempotency-Key, if there is one.

    Whoever gives a `request_id` as well, in the query or the body (`where` is empty), must mean
    the same.
    """
    given = call.request.headers.get("idempotency-key")
    if given is None:
        return
    # Some clients put it into quotes. Header fields are bytes, which Starlette takes for Latin-1.
    key = given.strip().strip('"').encode("latin-1").decode("utf-8", "replace")
    if not is_allowed(key):
        raise refuse(_KEY, f"The key {RULE}.", where="header")
    if request.request_id not in ("", key):
        raise two_ids("header", where)
    request.request_id = key


def two_ids(first: str, second: str) -> InputRefusedError:
    """The refusal of two request ids of one request that differ.

    Args:
        first: Where the one is, "header" or "query".
        second: Where the other is, "query" or, if empty, the body.
    """
    name = "Idempotency-Key" if first == "header" else f"request_id in the {first}"
    differ = f"{name} and request_id in the {second or 'body'} are both given, and differ."
    return InputRefusedError(
        [
            InputError(_KEY if first == "header" else _ID, "FIELD_REPEATED", differ, first),
            InputError(_ID, "FIELD_REPEATED", "Give one of them, or the same twice.", second),
        ]
    )


def _forbid(query: Decoder, document: dict[str, Any], given: set[str]) -> None:
    for name in given & document.keys():
        query.wrong(f"#/{name}", "FIELD_UNKNOWN", f"{name} is not a parameter here.")


def _bind(request: Message, path: str, value: str) -> None:
    *parents, last = path.split(".")
    for name in parents:
        request = getattr(request, name)
    setattr(request, last, value)


def _etag(message: Message) -> dict[str, str]:
    etag = getattr(message, "etag", "")
    return {"ETag": f'"{etag}"'} if _ETAG.fullmatch(etag) else {}


def _tags(header: str) -> list[str]:
    return [tag for item in header.split(",") if (tag := item.strip())]
