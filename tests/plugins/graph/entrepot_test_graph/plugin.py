"""What the plugin declares."""

from pathlib import Path

from entrepot_sdk import (
    ContentType,
    CoreWork,
    Guide,
    Plugin,
    ResourceKind,
    ResourceType,
    TaskType,
    Workspace,
)
from entrepot_test_graph.graph_pb2 import (
    Add,
    Copy,
    Growth,
    GrowthResult,
    Leaf,
    Mischief,
    Move,
    Node,
    Publish,
    Push,
    Remove,
    Wait,
)
from entrepot_test_graph.grow import grow
from entrepot_test_graph.move import move
from entrepot_test_graph.publish import publish
from entrepot_test_graph.wait import wait


async def done_below(parameters: Mischief | Push, workspace: Workspace) -> None:
    """Never called: the servicer does this."""
    raise NotImplementedError


plugin = Plugin(
    name="graph",
    version="0.1.0",
    content_types=[
        ContentType(
            name="graph.node",
            collection="nodes",
            message=Node,
            key=("name", "revision"),
            repository_key=("name",),
            filterable=("name", "revision", "label"),
        ),
        ContentType(
            name="graph.leaf",
            collection="leaves",
            message=Leaf,
            key=("name",),
            filterable=("name",),
        ),
    ],
    task_types=[
        TaskType(collection="growths", parameters=Growth, run=grow, result=GrowthResult),
        TaskType(collection="moves", parameters=Move, run=move),
        TaskType(
            collection="publications",
            parameters=Publish,
            run=publish,
            creates=ResourceKind.PUBLICATION,
        ),
        TaskType(collection="waits", parameters=Wait, run=wait),
        TaskType(collection="mischiefs", parameters=Mischief, run=done_below),
        TaskType(collection="pushes", parameters=Push, run=done_below, repeatable=False),
        TaskType(collection="adds", parameters=Add, core=CoreWork.ADD),
        TaskType(collection="removes", parameters=Remove, core=CoreWork.REMOVE),
        TaskType(collection="copies", parameters=Copy, core=CoreWork.COPY),
    ],
    resource_types=[
        ResourceType(ResourceKind.REPOSITORY),
        ResourceType(ResourceKind.REMOTE),
        ResourceType(ResourceKind.PUBLICATION),
        ResourceType(ResourceKind.DISTRIBUTION),
    ],
    guides=[
        Guide(
            client="curl",
            title="Read the index with curl",
            template="curl --fail --output index.txt '{content_url}index.txt'\n",
            check="test -s index.txt\n",
        )
    ],
    descriptors=Path(__file__).with_name("descriptors.binpb"),
    max_concurrent_attempts=20,
)
