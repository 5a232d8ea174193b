"""graph/growths: stages the graph that the parameters describe."""

from collections import defaultdict
from typing import TYPE_CHECKING, cast

from entrepot_sdk import Artifact, Edge, Workspace, artifact, attaches, context, needs
from entrepot_test_graph.graph_pb2 import Growth, GrowthResult, Leaf, Node

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from entrepot_sdk.content import Scope

KINDS = {"needs": needs, "attaches": attaches, "context": context}


async def grow(parameters: Growth, workspace: Workspace) -> GrowthResult:
    """Add every plant with its files and edges, and remove what is to be removed."""
    edges = edges_by_holder(parameters)
    for number, plant in enumerate(parameters.plants, 1):
        await workspace.add(
            attributes(plant),
            artifacts=[await stored(file, workspace) for file in plant.files],
            edges=edges[plant.name],
            implied=plant.implied,
        )
        workspace.progress("growth.plant", number, len(parameters.plants))
    for name in parameters.removes:
        await workspace.remove(name, cascade=parameters.cascade)
    if parameters.mirror:
        workspace.mode("repository", "replace")
    if parameters.state:
        workspace.set_state(parameters.state.encode())
    return GrowthResult(
        plants=len(parameters.plants), state=workspace.state("repository").decode()
    )


def attributes(plant: Growth.Plant) -> Node | Leaf:
    """Return the unit's own message."""
    if plant.is_leaf:
        return Leaf(name=plant.name)
    return Node(name=plant.name, revision=plant.revision, label=plant.label)


def edges_by_holder(parameters: Growth) -> defaultdict[str, list[Edge]]:
    """Return the edges of each plant."""
    plants: dict[str, Message] = {plant.name: attributes(plant) for plant in parameters.plants}
    edges = defaultdict(list)
    for relation in parameters.relations:
        target: Message | str = plants.get(
            relation.target, Node(name=relation.target, revision=relation.target_revision)
        )
        if relation.target.startswith("content/"):
            target = relation.target
        scope = cast("Scope", relation.scope or "global")
        edges[relation.holder].append(KINDS[relation.kind](target, scope))
    return edges


async def stored(file: Growth.File, workspace: Workspace) -> Artifact:
    """Return the artifact, whose bytes core has now, or knows where to find."""
    if file.url:
        return artifact(
            file.relative_path,
            sha256=file.sha256,
            size_bytes=file.size_bytes or None,
            url=file.url,
        )
    digest = await workspace.write(file.data)
    return artifact(file.relative_path, sha256=digest.hex, size_bytes=len(file.data))
