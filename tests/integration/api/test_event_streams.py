"""Streams of events over gRPC: any number of them, none with a thread, resumable from anywhere."""

import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    errors_of_core,
    running_api,
    running_dispatch,
)
from entrepot.core.v1 import task_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.api import event_streams
from entrepot_core.store import sweep
from entrepot_rpc.errors import Code, ServiceError
from fake_plugin import FakePlugin
from polling import until

Task = task_service_pb2.Task
SYNC = file_pb2.Sync(repository="foo", remote="bar")
WATCHERS = 1_000


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """An api with a plugin, a repository foo and a remote bar; nobody runs tasks."""
    plugin = FakePlugin().start()
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core
    plugin.stop()


def watch_all(core: Core, after: int = -1) -> Any:  # noqa: ANN401  a grpc call
    """A stream of all events, which is heard already."""
    request = task_service_pb2.WatchEventsRequest(after_sequence=after)
    stream = core.tasks.WatchEvents(request, metadata=core.metadata, timeout=60)
    with errors_of_core():
        next(stream)
    return stream


def numbers_of(stream: Any, count: int) -> list[int]:  # noqa: ANN401  a grpc call
    """The numbers of the next events of a stream."""
    found: list[int] = []
    while len(found) < count:
        found += [event.sequence for event in next(stream).events]
    return found


def cpu() -> float:
    """Seconds of processor time that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def test_a_thousand_watchers_have_no_threads_and_delay_nobody(core: Core) -> None:
    """A thousand idle streams start no thread; tasks are created meanwhile, and all are told."""
    with running_dispatch(core.config):
        core.read(core.create(SYNC).name, wait=30)
        before = threading.active_count()
        streams = [watch_all(core) for _ in range(WATCHERS)]
        # The client has threads of its own, one per channel at most.
        started = threading.active_count() - before
        times = []
        for _ in range(5):
            began = time.perf_counter()
            task = core.create(SYNC)
            times.append(time.perf_counter() - began)
            assert core.read(task.name, wait=30).state == Task.STATE_COMPLETED
        told = [numbers_of(stream, 15) for stream in streams]
        for stream in streams:
            stream.cancel()

    assert started <= event_streams._SENDERS + 8
    assert sorted(times)[2] < 1
    assert told == [list(range(told[0][0], told[0][0] + 15))] * WATCHERS


def test_watchers_of_one_task_share_its_reading(core: Core) -> None:
    """Fifty who watch one task all see its end, for a few readings of it."""
    task = core.create(SYNC)
    request = task_service_pb2.WatchTaskRequest(name=task.name)
    streams = [
        core.tasks.WatchTask(request, metadata=core.metadata, timeout=60) for _ in range(50)
    ]
    assert {next(stream).task.state for stream in streams} == {Task.STATE_WAITING}

    with running_dispatch(core.config):
        ends = [list(stream)[-1].task for stream in streams]

    assert {end.state for end in ends} == {Task.STATE_COMPLETED}


def test_a_stream_that_is_not_read_is_cut_and_harms_nobody(
    core: Core, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who does not read holds one sender, and loses the stream after a while; others go on."""
    monkeypatch.setattr(event_streams, "_STALLED_SECONDS", 2.0)
    monkeypatch.setattr(event_streams, "_TICK_SECONDS", 0.1)
    with core.database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO event (event_id, task_id, kind, happened_at)"
            " SELECT n, gen_random_uuid(), 'progressed', now() FROM generate_series(1, 30000) n"
        )
    other = watch_all(core, 29_990)
    # With a window that does not grow, so that little is on its way.
    channel = grpc.insecure_channel(core.address, options=[("grpc.http2.bdp_probe", 0)])
    request = task_service_pb2.WatchEventsRequest(after_sequence=0)
    unread = channel.unary_stream(
        "/entrepot.core.v1.TaskService/WatchEvents",
        request_serializer=task_service_pb2.WatchEventsRequest.SerializeToString,
        response_deserializer=task_service_pb2.WatchEventsResponse.FromString,
    )(request, metadata=core.metadata)

    assert numbers_of(other, 10) == list(range(29_991, 30_001))
    until(lambda: "events.client_does_not_read" in capsys.readouterr().out, "the cut", 20)
    with pytest.raises(grpc.RpcError) as caught:
        numbers_of(unread, 30_000)
    assert caught.value.code() == grpc.StatusCode.CANCELLED
    channel.close()
    other.cancel()


@pytest.mark.parametrize("after", [1_000, 2**40, 2**63 - 1])
def test_an_event_of_the_future_is_refused(core: Core, after: int) -> None:
    """A number that no event has yet is no place to go on from."""
    core.create(SYNC)

    with pytest.raises(ServiceError, match="The log has no event") as caught:
        watch_all(core, after)

    assert (caught.value.code, caught.value.reason) == (Code.OUT_OF_RANGE, "EVENT_OUT_OF_RANGE")


def test_an_event_of_the_forgotten_past_is_refused(core: Core) -> None:
    """Who was away for longer than events are kept is told what the oldest is."""
    core.create(SYNC)
    first = numbers_of(watch_all(core, 0), 1)[0]
    core.create(SYNC)
    numbers_of(watch_all(core, first), 1)
    with core.database.transaction() as cursor:
        assert sweep.delete_old_events(cursor, 0) == 1

    with pytest.raises(ServiceError, match="no longer kept") as caught:
        watch_all(core, first - 1)

    assert caught.value.metadata == {"oldest": str(first + 1), "newest": str(first + 1)}
    assert numbers_of(watch_all(core, first), 1) == [first + 1]


def test_a_negative_number_is_refused(core: Core) -> None:
    """-1 means from now on; -2 means nothing."""
    with pytest.raises(ServiceError, match="after_sequence"):
        watch_all(core, -2)


def test_the_last_number_comes_first(core: Core) -> None:
    """The first message says where the log stands, so that a reader knows where it begins."""
    core.create(SYNC)
    until(lambda: numbers_of(watch_all(core, 0), 1), "the event")
    stream = core.tasks.WatchEvents(
        task_service_pb2.WatchEventsRequest(after_sequence=-1), metadata=core.metadata, timeout=20
    )

    first = next(stream)

    assert (list(first.events), first.last_sequence) == ([], 1)


def test_streams_beyond_the_limit_are_refused(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit, and its refusal says how to do without a stream of one's own."""
    monkeypatch.setattr(event_streams, "MAX_STREAMS", 1)
    stream = watch_all(core)

    with pytest.raises(ServiceError, match="through a gateway") as caught:
        watch_all(core)
    stream.cancel()
    until(lambda: is_open(core), "the place to be free")

    assert caught.value.reason == "TOO_MANY_WAITING"


def is_open(core: Core) -> bool:
    """Whether one more stream is let in."""
    try:
        watch_all(core)
    except ServiceError:
        return False
    return True
