"""graph/moves: takes nodes out of one repository and puts them into another."""

from entrepot_sdk import Workspace
from entrepot_test_graph.graph_pb2 import Move, Node


async def move(parameters: Move, workspace: Workspace) -> None:
    """Move every node that the filter matches."""
    async for unit in workspace.read(Node, "giver", filter=parameters.filter):
        await workspace.remove(unit.name, role="giver")
        await workspace.add(
            unit.attributes, artifacts=unit.artifacts, edges=unit.edges, role="taker"
        )
