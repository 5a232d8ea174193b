"""Calls to core: any rpc by service and name, with its errors as failures of the command."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from entrepot_cli.outcome import Failure, Status
from entrepot_cli.server.failure import failure_of
from entrepot_cli.settings import Settings
from entrepot_rpc.channel import connect, metadata

if TYPE_CHECKING:
    from entrepot_cli.server.declaration import Declarations

CALL_SECONDS = 60.0


class Connection:
    """A channel to core with the token of the user.

    Args:
        settings: Where core is, and where the token is.
        is_verbose: Say on stderr what each call would be in curl.
    """

    def __init__(self, settings: Settings, *, is_verbose: bool = False) -> None:
        self.settings = settings
        self._is_verbose = is_verbose
        # Once they were asked for: what the messages inside of others mean.
        self.declarations: Declarations | None = None
        self._channel = connect(settings.grpc)
        token = settings.read_token()
        if not (token.isascii() and token.isprintable()):
            where = "ENTREPOT_TOKEN" if settings.token else f"The file {settings.token_file}"
            raise Failure(f"{where} holds no token.", status=Status.DENIED)
        self._metadata = metadata(token)

    def call(
        self,
        service: ServiceDescriptor,
        method: str,
        request: Message,
        seconds: float | None = CALL_SECONDS,
    ) -> Any:  # noqa: ANN401, the response of whichever rpc it is
        """Call an rpc and return its response.

        Raises:
            Failure: the call failed; the failure says why.
        """
        rpc = service.methods_by_name[method]
        self._echo(rpc, request)
        try:
            return self._channel.unary_unary(
                _path(rpc),
                request_serializer=type(request).SerializeToString,
                response_deserializer=_response(rpc),
            )(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise failure_of(error, self.settings) from None

    def stream(
        self,
        service: ServiceDescriptor,
        method: str,
        request: Message,
        seconds: float | None = None,
    ) -> Any:  # noqa: ANN401, gRPC's own call object
        """Open a stream: an iterator over responses that can be cancelled."""
        rpc = service.methods_by_name[method]
        return self._channel.unary_stream(
            _path(rpc),
            request_serializer=type(request).SerializeToString,
            response_deserializer=_response(rpc),
        )(request, timeout=seconds, metadata=self._metadata)

    def send(self, service: ServiceDescriptor, method: str, requests: Iterator[Message]) -> Any:  # noqa: ANN401
        """Call an rpc with a stream of requests.

        Raises:
            Failure: the call failed; the failure says why.
        """
        rpc = service.methods_by_name[method]
        try:
            return self._channel.stream_unary(
                _path(rpc),
                request_serializer=GetMessageClass(rpc.input_type).SerializeToString,
                response_deserializer=_response(rpc),
            )(requests, metadata=self._metadata)
        except grpc.RpcError as error:
            raise failure_of(error, self.settings) from None

    def pages(
        self,
        service: ServiceDescriptor,
        method: str,
        request: Any,  # noqa: ANN401, a request with a page token
        limit: int = 0,
    ) -> Iterator[Any]:
        """Every item of a list, page by page, or the first so many."""
        rpc = service.methods_by_name[method]
        items = next(field.name for field in rpc.output_type.fields if field.is_repeated)
        count = 0
        while True:
            if limit:
                request.page_size = min(limit - count, 1000)
            response = self.call(service, method, request)
            for item in getattr(response, items):
                yield item
                count += 1
                if count == limit:
                    return
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _echo(self, rpc: MethodDescriptor, request: Message) -> None:
        if self._is_verbose:
            from entrepot_cli.server.curl import curl_of

            text = curl_of(rpc, request, self.settings, self.declarations)
            print(text, file=sys.stderr)


def _path(rpc: MethodDescriptor) -> str:
    return f"/{rpc.containing_service.full_name}/{rpc.name}"


def _response(rpc: MethodDescriptor) -> Any:  # noqa: ANN401, a function from bytes
    return GetMessageClass(rpc.output_type).FromString
