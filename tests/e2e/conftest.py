"""All processes as users start them, and real clients."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from entrepot_sdk.testing import PluginProcess
from entrepot_test_graph.fixtures import start_graph_plugin
from polling import until
from rest import Api, Json
from stack import Stack, StackFactory
from upstream import Upstream


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks of this folder known."""
    config.addinivalue_line("markers", "slow: takes many seconds; -m 'not slow' leaves it out")


@contextmanager
def shown(stack: Stack) -> Iterator[None]:
    """Print what `up` has said, which is seen if a test fails."""
    yield
    print(f"--- what `up` said at last\n{stack.log[-8000:]}")


@pytest.fixture(scope="session")
def shared_stack() -> Iterator[Stack]:
    """One installation for all tests that leave it as it is; use `stack`."""
    with Stack() as stack, shown(stack):
        yield stack


@pytest.fixture(scope="module")
def stack(shared_stack: Stack) -> Iterator[Stack]:
    """The shared installation, which must be in order when the tests of a module are done."""
    yield shared_stack
    shared_stack.check()


@pytest.fixture
def api(stack: Stack) -> Api:
    """The API of the shared installation."""
    return stack.api


@pytest.fixture
def a_stack() -> Iterator[StackFactory]:
    """Starts installations for tests that break them; each must be in order at the end."""
    with ExitStack() as stacks:

        def start(
            environment: Mapping[str, str] | None = None, *, arguments: Sequence[str] = ()
        ) -> Stack:
            stack = stacks.enter_context(Stack(environment, arguments=arguments))
            stacks.enter_context(shown(stack))
            return stack

        yield start


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream of ten small files."""
    with Upstream().fill(10) as upstream:
        yield upstream


@pytest.fixture
def names(api: Api, upstream: Upstream) -> Json:
    """A new repository and a remote of the upstream, as parameters of a sync."""
    repository, remote = api.a_repository(), api.a_remote(upstream, max_retries=0)
    return {"repository": repository["name"], "remote": remote["name"]}


@pytest.fixture(scope="module")
def graph(stack: Stack) -> Iterator[PluginProcess]:
    """The graph plugin in a process of its own, registered until a module is done."""
    with start_graph_plugin(stack.grpc) as process:
        stack.api.post("plugins/", {"target": process.address}).expect(201)
        until(
            lambda: stack.api.request("GET", "tasks/graph/growths/").status == 200,
            "the routes of the graph plugin",
        )
        yield process
        stack.settle()
        stack.api.delete("plugins/graph/").expect(200, 204)
