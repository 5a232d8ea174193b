"""Clients that follow the log of events through everything, and what they must have received."""

import http.client
import threading
from abc import ABC, abstractmethod

import grpc

from entrepot.core.v1 import task_service_pb2, task_service_pb2_grpc
from entrepot_rpc.channel import connect
from installation import TOKEN, Installation
from polling import until

Event = task_service_pb2.Event
# Once all is well again, what has happened is told within this time.
CATCH_UP_SECONDS = 60.0
_AGAIN_SECONDS = 0.2

Told = tuple[int, str, str]


class Follower(ABC):
    """Goes on where it was whenever its stream breaks.

    Args:
        installation: Whose events.
        after: The number of the event before the first that it wants.
        pause: Seconds that it takes for each event.
    """

    def __init__(self, installation: Installation, after: int, pause: float = 0.0) -> None:
        self.received: list[Told] = []
        self.streams = 0
        self._installation = installation
        self._after = after
        self._pause = pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End with the stream that it follows, which ends with the installation."""
        self._stopping.set()

    def judge(self) -> list[str]:
        """Wait until it has been told all there is, and say what is wrong with it (I11)."""
        log = self._log()
        name = type(self).__name__
        try:
            until(lambda: self._last >= log[-1][0], f"{name} at {log[-1][0]}", CATCH_UP_SECONDS)
        except AssertionError as error:
            return [f"I11: {error}; it is at {self._last}"]
        received = [one for one in list(self.received) if one[0] <= log[-1][0]]
        numbers = [number for number, _, _ in received]
        wrong = []
        if numbers != list(range(self._after + 1, log[-1][0] + 1)):
            wrong.append(f"I11: {name} was told numbers with a gap or a repeat")
        if received != log:
            odd = [one for one in zip(received, log, strict=False) if one[0] != one[1]]
            wrong.append(f"I11: {name} was told something else than the log has: {odd[:3]}")
        return wrong

    @property
    def _last(self) -> int:
        return self.received[-1][0] if self.received else self._after

    def _log(self) -> list[Told]:
        rows = self._installation.query(
            "SELECT event_id, task_id::text, kind FROM event WHERE event_id > %s ORDER BY 1",
            (self._after,),
        )
        return [(number, f"tasks/{task}", kind) for number, task, kind in rows]

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.streams += 1
            try:
                self._follow()
            except (OSError, http.client.HTTPException, AssertionError, grpc.RpcError, ValueError):
                # Broken in the middle; a piece of an event is no event.
                self._stopping.wait(_AGAIN_SECONDS)

    def _take(self, number: int, task: str, kind: str) -> None:
        self.received.append((number, task, kind))
        if self._pause:
            self._stopping.wait(self._pause)

    @abstractmethod
    def _follow(self) -> None:
        """Follow one stream to its end."""


class SseFollower(Follower):
    """Over server-sent events, as a browser does."""

    def _follow(self) -> None:
        api = self._installation.api
        with api.events("events/", str(self._last), timeout=20) as events:
            for event in events:
                if self._stopping.is_set():
                    return
                self._take(int(event.id), event.data["task"], event.kind)


class GrpcFollower(Follower):
    """Over gRPC, at core itself."""

    def _follow(self) -> None:
        channel = connect(self._installation.grpc)
        try:
            stub = task_service_pb2_grpc.TaskServiceStub(channel)
            request = task_service_pb2.WatchEventsRequest(after_sequence=self._last)
            metadata = (("authorization", f"Bearer {TOKEN}"),)
            for response in stub.WatchEvents(request, metadata=metadata, timeout=20):
                for event in response.events:
                    kind = Event.Kind.Name(event.kind).removeprefix("KIND_").lower()
                    self._take(event.sequence, event.task, kind)
                if self._stopping.is_set():
                    return
        finally:
            channel.close()
