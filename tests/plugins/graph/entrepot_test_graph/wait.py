"""graph/waits: keeps a repository locked for a while."""

import asyncio
import time

from entrepot_sdk import Workspace
from entrepot_test_graph.graph_pb2 import Leaf, Wait

FOREVER = 3600.0


async def wait(parameters: Wait, workspace: Workspace) -> None:
    """Stage some leaves, then wait."""
    for number in range(parameters.leaves):
        await workspace.add(Leaf(name=f"waiting-{number}"))
    workspace.progress("wait.started", 1, 1)
    seconds = parameters.seconds or FOREVER
    if parameters.blocking:
        time.sleep(seconds)  # noqa: ASYNC251  this is what authors do
    else:
        await asyncio.sleep(seconds)
