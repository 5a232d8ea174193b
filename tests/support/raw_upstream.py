"""An upstream that sends the bytes it is told to: answers that no server library would give."""

import socketserver
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

Answer = Callable[[dict[str, str]], Iterable[bytes]]


def response(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> Answer:
    """Answer with a status such as "200 OK", a body, and headers as lines."""
    shown = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {shown}", "Connection: close", *headers]
    return lambda _: ["\r\n".join([*lines, "", ""]).encode(), body]


def redirect(location: str) -> Answer:
    """Answer that it is elsewhere."""
    return response("302 Found", b"", f"Location: {location}")


class RawUpstream:
    """Serves `answers` by path on a free port of 127.0.0.1; a list is used up one by one."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        upstream = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline().decode()
                if not line:
                    return
                path = line.split()[1]
                headers = {}
                while (text := self.rfile.readline().decode().strip()) != "":
                    name, _, value = text.partition(":")
                    headers[name.lower()] = value.strip()
                upstream.requests.append((path, headers))
                answer = upstream.answers.get(path, response("404 Not Found"))
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                try:
                    for piece in answer(headers):
                        self.wfile.write(piece)
                except OSError:
                    # The client has had enough.
                    return

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 100

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def url(self, path: str) -> str:
        """The address of a path, which begins with a slash."""
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
