"""What an operator sees of an installation: log lines, spans and metrics that belong together."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress

import pytest

from addresses import free_addresses
from polling import until
from rest import Api, Json, Rest
from span_receiver import Received, SpanReceiver
from stack import Stack
from upstream import Upstream
from workspace import ROOT

ROW = re.compile(r"^\| `(entrepot_[a-z_]+)` \| (\w+) \| ([^|]*)\|", re.MULTILINE)
TYPE = re.compile(r"^# TYPE (entrepot_\w+) (\w+)$", re.MULTILINE)
SAMPLE = re.compile(r"^(entrepot_\w+?)(?:_bucket|_count|_sum)?(?:\{(.*)\})? ", re.MULTILINE)
LABEL = re.compile(r'(\w+)="')
# Of `up`, in this order, from the first port on.
PROCESSES = ("core-api", "gateway-api", "gateway-content", "dispatch")
REQUEST = "me-and-my-request.1"


@pytest.fixture(scope="module")
def receiver() -> Iterator[SpanReceiver]:
    """A collector of spans."""
    with SpanReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def stack(receiver: SpanReceiver) -> Iterator[Stack]:
    """An installation that tells everything."""
    environment = {
        "ENTREPOT_METRICS": free_addresses(len(PROCESSES))[0],
        "ENTREPOT_LOG_LEVEL": "debug",
        "ENTREPOT_LOG_FORMAT": "json",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    with Stack(environment) as stack:
        yield stack
        stack.check()


@pytest.fixture(scope="module")
def task(stack: Stack) -> Json:
    """A finished sync of ten files, created by the request REQUEST."""
    with Upstream().fill(10) as upstream:
        api = stack.api
        body = {
            "repository": api.a_repository()["name"],
            "remote": api.a_remote(upstream)["name"],
        }
        answer = api.request("POST", "tasks/file/syncs/", body, headers={"X-Request-Id": REQUEST})
        assert answer.headers["X-Request-Id"] == REQUEST
        task = api.finished(answer.expect(201))
    assert task["state"] == "completed"
    return task


def scraped(stack: Stack) -> dict[str, str]:
    """What Prometheus reads of every process."""
    first = int(stack.extra["ENTREPOT_METRICS"].rpartition(":")[2])
    return {
        process: Rest(f"http://127.0.0.1:{first + number}")
        .request("GET", "/metrics")
        .body.decode()
        for number, process in enumerate(PROCESSES)
    }


def lines(stack: Stack, process: str) -> list[Json]:
    """What a process has logged."""
    text = (stack.home / "logs" / f"{process}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("process", "event"),
    [
        ("gateway-api", "request.answered"),
        ("core-api", "task.created"),
        ("dispatch", "attempt.started"),
        ("dispatch", "attempt.completed"),
        ("plugin-file", "attempt.started"),
        ("plugin-file", "attempt.ended"),
    ],
)
def test_a_request_is_followed_through_all_logs(
    stack: Stack, task: Json, process: str, event: str
) -> None:
    """The id of a request stands in the lines of every process that does something for it."""
    # A line may be written after what it tells of.
    found = until(
        lambda: (
            [
                line
                for line in lines(stack, process)
                if line["event"] == event and line.get("request_id") == REQUEST
            ]
            or None
        ),
        f"{event} in the log of {process}",
    )

    if process != "gateway-api":
        assert {line["task"] for line in found} == {task["name"].removeprefix("tasks/")}
    if event.startswith("attempt"):
        assert {line["attempt"] for line in found} == {1}
    assert all(line["process"] for line in found)


def test_every_line_says_which_process_it_is_of(stack: Stack, task: Json) -> None:
    """Also what threads say carries the name of their process."""
    for process in ("gateway-api", "core-api", "dispatch", "plugin-file"):
        assert all("process" in line for line in lines(stack, process)), process


@pytest.mark.parametrize("given", ["", "two words", "x" * 65, "naïve"])
def test_an_id_that_is_none_is_replaced(api: Api, given: str) -> None:
    """A request id that could break a log line is not taken over."""
    answer = api.request(
        "GET", "status/", headers={"X-Request-Id": given.encode().decode("latin-1")}
    )

    assert answer.headers["X-Request-Id"] != given
    assert len(answer.headers["X-Request-Id"]) == 32


def test_a_sync_is_one_trace(receiver: SpanReceiver, task: Json) -> None:
    """From the POST to the downloads every span is below another of the same trace."""
    name = task["name"].removeprefix("tasks/")
    wanted = {
        ("entrepot-gateway-api", "POST"),
        ("entrepot-core-api", "entrepot.core.v1.TaskService/CreateTask"),
        ("entrepot-core-dispatch", "attempt file/syncs"),
        ("entrepot-plugin-file", "plugin Execute"),
        ("entrepot-core-api", "entrepot.core.v1.WorkspaceService/StageChanges"),
        ("entrepot-core-dispatch", "download"),
    }

    def roots(spans: list[Received]) -> list[Received]:
        known = {span.span for span in spans}
        return [span for span in spans if span.parent not in known]

    def arrived() -> list[Received] | None:
        spans = receiver.trace_of(name)
        names = {(span.service, span.name) for span in spans}
        # A span is sent when it ends, so each comes before the one that it is below.
        return spans if wanted <= names and len(roots(spans)) == 1 else None

    spans = until(arrived, "all spans of the sync")

    assert len({span.trace for span in spans}) == 1
    (root,) = roots(spans)
    assert (root.service, root.name) == ("entrepot-gateway-api", "POST")
    by_span = {span.span: span for span in spans}
    downloads = [span for span in spans if span.name == "download"]
    assert {by_span[span.parent].name for span in downloads} == {
        "attempt file/syncs",
        "entrepot.core.v1.BlobService/FetchBlobs",
    }
    assert all(span.attributes == {"server.address": "127.0.0.1"} for span in downloads)


def test_metrics_are_those_of_the_page(stack: Stack, task: Json) -> None:
    """All processes together show the metrics of the reference, with its types and labels."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    wanted = {
        name: (kind, set(re.findall("[a-z]+", words))) for name, kind, words in ROW.findall(page)
    }
    kinds = {name: kind for name, (kind, _) in wanted.items()}

    def shown() -> str:
        return "\n".join(scraped(stack).values())

    # Some are measured now and then.
    with suppress(AssertionError):
        until(lambda: dict(TYPE.findall(shown())) == kinds, "all metrics")
    text = shown()

    assert kinds == dict(TYPE.findall(text))
    for name, labels in SAMPLE.findall(text):
        assert set(LABEL.findall(labels)) - {"le"} == wanted[name][1], name


@pytest.mark.parametrize(
    ("process", "sample"),
    [
        (
            "gateway-api",
            'http_requests_total{method="POST",route="/api/v3/tasks/*/*",status="201"}',
        ),
        (
            "core-api",
            'grpc_calls_total{code="OK",method="entrepot.core.v1.TaskService/CreateTask"}',
        ),
        ("core-api", "database_up"),
        ("core-api", "blob_store_up"),
        ("core-api", 'plugin_up{plugin="file"}'),
        ("dispatch", 'attempt_seconds_count{outcome="completed",type="file/syncs"}'),
        ("dispatch", 'task_wait_seconds_count{type="file/syncs"}'),
        ("dispatch", 'download_files_total{host="127.0.0.1"}'),
        ("dispatch", 'download_bytes_total{host="127.0.0.1"}'),
        ("dispatch", "dispatcher_slots"),
    ],
)
def test_what_happened_is_counted(stack: Stack, task: Json, process: str, sample: str) -> None:
    """A sync leaves its traces in the numbers of every process that took part."""

    def counted() -> bool:
        text = scraped(stack)[process]
        found = [line for line in text.splitlines() if line.startswith(f"entrepot_{sample} ")]
        return bool(found) and float(found[0].rpartition(" ")[2]) >= 1

    # Some are measured now and then, and a task is over before all is counted.
    until(counted, sample)
