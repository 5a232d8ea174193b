"""graph/publications: an index of the nodes, and their files by name."""

from entrepot_sdk import Workspace
from entrepot_test_graph.graph_pb2 import Node, Publish


async def publish(parameters: Publish, workspace: Workspace) -> None:
    """Publish `index.txt`, and each file of a node as `by-name/<node>/<path>`."""
    lines = []
    async for unit in workspace.read(Node):
        lines.append(f"{unit.attributes.name} {unit.attributes.revision}\n")
        for file in unit.artifacts:
            await workspace.publish(
                f"by-name/{unit.attributes.name}/{file.relative_path}",
                unit=unit.name,
                artifact=file.relative_path,
            )
    index = await workspace.write("".join(sorted(lines)).encode())
    await workspace.publish("index.txt", blob=index, media_type="text/plain; charset=utf-8")
    if parameters.hide_version:
        workspace.hide_version()
