"""The API as an ASGI application: who answers which path, and what happens to every answer."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from entrepot.core.v1 import plugin_service_pb2
from entrepot_gateway import pages, problem
from entrepot_gateway.answer import JsonAnswer
from entrepot_gateway.binding import core_bindings
from entrepot_gateway.call import Call
from entrepot_gateway.catalog import EMPTY
from entrepot_gateway.contents import Contents
from entrepot_gateway.events import EventHub
from entrepot_gateway.openapi import OpenApi
from entrepot_gateway.plugins import Plugins
from entrepot_gateway.problem import ProblemError, not_found
from entrepot_gateway.readiness import Readiness
from entrepot_gateway.route import ROUTE
from entrepot_gateway.sse import EventStreams
from entrepot_gateway.tasks import Tasks
from entrepot_gateway.template import split_path
from entrepot_gateway.transcode import Transcoder
from entrepot_gateway.uploads import Uploads
from entrepot_rpc import correlation, tracing
from entrepot_rpc.errors import Code, ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.types import Receive, Scope, Send

    from entrepot_gateway.binding import Binding
    from entrepot_gateway.catalog import Catalog
    from entrepot_gateway.core import Core

    Handler = Callable[[], Awaitable[Response]]

log = structlog.get_logger()

_FAULT = "Something went wrong. The log has more, under the request id."
# Ids of tasks begin with a digit, names of plugins with a letter.
_PLUGIN = re.compile(r"[a-z][a-z0-9_]*")
_ROOT = ("api", "v3")
# Half of what gRPC takes as metadata of a call.
MAX_AUTHORIZATION = 4096
_LOOK = plugin_service_pb2.DESCRIPTOR.services_by_name["PluginService"].methods_by_name[
    "ListPlugins"
]
_LOOK_REQUEST = plugin_service_pb2.ListPluginsRequest(page_size=1)

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_PRIVATE = {"Cache-Control": "private, no-cache"}


class Api:
    """The application of the role `api`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.plugins = Plugins(core)
        self._readiness = Readiness(core, self.plugins)
        self.hub = EventHub(core)
        self._transcoder = Transcoder(core)
        self._tasks = Tasks(core, self.hub, self._transcoder)
        self._contents = Contents(core)
        self._uploads = Uploads(core)
        self._events = EventStreams(core, self.hub, self._tasks)
        self._openapi = OpenApi()
        self._running: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        request = Request(scope, receive)
        request_id = _request_id(request)
        correlation.enter(request_id)
        try:
            response = await self._traced(request)
        except ServiceError as error:
            response = _problem(error, request, request_id)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("request.failed", path=scope["path"])
            response = _problem(ServiceError(_FAULT), request, request_id)
        await _finish(response, request, request_id)(scope, receive, send)
        log.debug(
            "request.answered",
            method=request.method,
            path=scope["path"],
            status=response.status_code,
            milliseconds=round((time.perf_counter() - started) * 1000, 1),
        )

    async def start(self) -> None:
        """Begin to follow core."""
        self._running = [
            asyncio.create_task(self.plugins.run(), name="plugins"),
            asyncio.create_task(self.hub.run(), name="events"),
        ]

    async def stop(self) -> None:
        """End streams to clients, then those from core."""
        self.end_streams()
        for task in self._running:
            task.cancel()
        for task in self._running:
            with suppress(asyncio.CancelledError):
                await task
        await self._core.close()

    def end_streams(self) -> None:
        """End the event streams to clients."""
        self.hub.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
            else:
                await self.stop()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _traced(self, request: Request) -> Response:
        if not tracing.is_on():
            return await self._answer(request)
        parent = tracing.incoming([(tracing.TRACEPARENT, request.headers.get("traceparent", ""))])
        with tracing.span(
            request.method, "server", parent, http_request_method=request.method
        ) as span:
            response = await self._answer(request)
            span.set_attribute("http.response.status_code", response.status_code)
            return response

    async def _answer(self, request: Request) -> Response:
        _check_head(request)
        raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode("ascii")
        segments = split_path(raw.decode("latin-1").partition("?")[0])
        if segments is None:
            raise _nowhere(request)
        is_open = segments[:2] != _ROOT or segments[2:3] == ("docs",)
        call = Call(request, EMPTY if is_open else await self._catalog(segments))
        if not call.credentials and not is_open and segments[2:] != ("openapi.json",):
            # Core decides what those may do who do not say who they are.
            await self._authorize(call)
        handlers = self._handlers(segments, call)
        if call.route:
            request.scope[ROUTE] = call.route
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is not None:
            return await handler()
        if handlers:
            raise _not_allowed(request.method, handlers)
        if not is_open:
            await self._authorize(call)
        raise _nowhere(request)

    def _handlers(self, segments: tuple[str, ...], call: Call) -> dict[str, Handler]:
        """Who answers this path, by method."""
        match segments:
            case ():
                call.route = "/"
                return {"GET": _at_once(pages.welcome, call)}
            case ("healthz" | "livez" as name,):
                call.route = f"/{name}"
                return {"GET": _at_once(pages.health, call)}
            case ("readyz",):
                call.route = "/readyz"
                return {"GET": self._ready}
            case ("problems", reason):
                call.route = "/problems/*"
                return {"GET": _at_once(pages.problem_page, call, reason)}
            case ("api", "v3", *rest):
                return self._below_root(tuple(rest), segments, call)
        return {}

    def _below_root(
        self, rest: tuple[str, ...], segments: tuple[str, ...], call: Call
    ) -> dict[str, Handler]:
        handlers = self._bound(segments, call)
        match rest:
            case ():
                call.route = "/api/v3"
                handlers["GET"] = lambda: self._collections(call)
            case ("openapi.json",):
                call.route = "/api/v3/openapi.json"
                handlers["GET"] = _at_once(self._openapi.answer, call)
            case ("docs",) | ("docs", _) if pages.has_docs("".join(rest[1:])):
                call.route = "/api/v3/docs"
                handlers["GET"] = _at_once(pages.docs, call, "".join(rest[1:]))
            case ("events",):
                call.route = "/api/v3/events"
                handlers["GET"] = lambda: self._events.of_all(call)
            case ("content", plugin, collection):
                call.route = "/api/v3/content/*/*"
                handlers["GET"] = lambda: self._contents.of_type(call, plugin, collection)
            case ("repositories", _, _, "versions", _, "content"):
                parent = "/".join(rest[:-1])
                handlers["GET"] = lambda: self._contents.of_version(call, parent)
            case ("uploads", _):
                call.route = "/api/v3/uploads/*"
                handlers["PUT"] = lambda: self._uploads.write(call, "/".join(rest))
            case ("tasks", *_):
                self._add_tasks(rest, handlers, call)
        return handlers

    def _add_tasks(self, rest: tuple[str, ...], handlers: dict[str, Handler], call: Call) -> None:
        match rest:
            case ("tasks", plugin) if _PLUGIN.fullmatch(plugin):
                call.route = "/api/v3/tasks/*"
                handlers.clear()
                handlers["GET"] = lambda: self._tasks.list(call, call.catalog.require(plugin).name)
            case ("tasks", plugin, collection) if _PLUGIN.fullmatch(plugin):
                call.route = "/api/v3/tasks/*/*"
                handlers.clear()
                handlers["POST"] = lambda: self._tasks.create(call, plugin, collection)
                handlers["GET"] = lambda: self._tasks.list(
                    call, call.catalog.task_type(plugin, collection).name
                )
            case ("tasks", _, "events"):
                call.route = "/api/v3/tasks/*/events"
                handlers["GET"] = lambda: self._events.of_task(call, "/".join(rest[:2]))

    def _bound(self, segments: tuple[str, ...], call: Call) -> dict[str, Handler]:
        """What core's annotations say about this path."""
        handlers: dict[str, Handler] = {}
        for binding in core_bindings():
            values = binding.template.match(segments)
            if values is not None and binding.http_method not in handlers:
                call.route = binding.template.shape
                handlers[binding.http_method] = self._handler(binding, values, call)
        return handlers

    def _handler(self, binding: Binding, values: dict[str, str], call: Call) -> Handler:
        match binding.rpc.name:
            case "CreateTask":
                return lambda: self._tasks.create_any(call)
            case "GetTask":
                return lambda: self._tasks.get(binding, values, call)
            case "CancelTask":
                return lambda: self._tasks.cancel(binding, values, call)
            case "CloneTask":
                return lambda: self._tasks.clone(values, call)
            case "CommitPlan":
                return lambda: self._tasks.commit(values, call)
        return lambda: self._transcoder.answer(binding, values, call)

    async def _ready(self) -> Response:
        await self._readiness.check()
        return pages.ready()

    async def _collections(self, call: Call) -> Response:
        await self._authorize(call)
        return pages.collections(call)

    async def _authorize(self, call: Call) -> None:
        """Ask core whether the caller may look around at all."""
        await self._core.call(_LOOK, _LOOK_REQUEST, call.credentials)

    async def _catalog(self, segments: tuple[str, ...]) -> Catalog:
        catalog = await self.plugins.catalog()
        named = segments[3] if len(segments) > 3 else ""  # noqa: PLR2004  /api/v3/tasks/<plugin>
        if _PLUGIN.fullmatch(named) and named not in catalog.plugins:
            return await self.plugins.catalog_with(named)
        return catalog


def _at_once(function: Callable[..., Response], *arguments: object) -> Handler:
    async def handler() -> Response:
        return function(*arguments)

    return handler


def _request_id(request: Request) -> str:
    given = correlation.sane(request.headers.get(correlation.REQUEST_ID))
    return given or correlation.new_request_id()


def _check_head(request: Request) -> None:
    """Refuse a token that no call to core can carry (RFC 6585, section 5)."""
    if len(request.headers.get("authorization", "")) > MAX_AUTHORIZATION:
        raise ProblemError(
            431,
            "REQUEST_TOO_LARGE",
            f"The header field Authorization is larger than {MAX_AUTHORIZATION} bytes: "
            "it is no token of this server.",
        )


def _nowhere(request: Request) -> ServiceError:
    path = request.scope["path"]
    return not_found("ROUTE_UNKNOWN", f"There is nothing at {path}.", path=path)


def _not_allowed(method: str, handlers: Iterable[str]) -> ProblemError:
    allowed = sorted({*handlers, *({"HEAD"} if "GET" in handlers else ())})
    return ProblemError(
        405,
        "METHOD_NOT_ALLOWED",
        f"This address does not know {method}, but {', '.join(allowed)}.",
        code=Code.UNIMPLEMENTED,
        headers={"Allow": ", ".join(allowed)},
    )


def _problem(error: ServiceError, request: Request, request_id: str) -> Response:
    query = request.query_params.keys() if request.method in ("GET", "HEAD") else ()
    body = problem.document(error, request.scope["path"], request_id, query)
    status = problem.http_status(error)
    log.info(
        "request.refused" if status < 500 else "request.failed",  # noqa: PLR2004  server errors
        method=request.method,
        path=request.scope["path"],
        status=status,
        reason=error.reason,
    )
    return JsonAnswer(body, status, headers=problem.headers(error), media_type=problem.MEDIA_TYPE)


def _finish(response: Response, request: Request, request_id: str) -> Response:
    """Add what every answer carries; of an answer to HEAD, leave only that."""
    for name, value in (_SECURITY | _PRIVATE | {"X-Request-Id": request_id}).items():
        response.headers.setdefault(name, value)
    if request.method == "HEAD":
        return Response(status_code=response.status_code, headers=dict(response.headers))
    return response
