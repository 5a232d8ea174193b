"""The graph plugin, as a process of its own, against the contract suite."""

from typing import ClassVar

from entrepot_sdk import artifact, needs
from entrepot_sdk.testing import Refusal, Scenario, remote, repository, unit, version
from entrepot_sdk.testing.contract import PluginContract
from entrepot_test_graph.fixtures import GRAPH_COMMAND, GRAPH_ENVIRONMENT
from entrepot_test_graph.graph_pb2 import Growth, Leaf, Move, Node, Publish, Wait

Plant = Growth.Plant
Relation = Growth.Relation

NODES = [
    unit(
        Node(name=f"node-{number}", revision=1),
        name=f"content/graph/nodes/{number}",
        artifacts=[artifact(f"{number}.txt", sha256="0" * 64, size_bytes=1)],
        edges=[needs(Leaf(name="leaf"))],
    )
    for number in range(1100)
]

GROWTH = Growth(
    repository="repositories/graph/one",
    remote="remotes/graph/one",
    plants=[
        Plant(
            name="tree",
            revision=2,
            label="tall",
            files=[
                Growth.File(relative_path="tree/a.txt", data=b"a"),
                Growth.File(relative_path="tree/b.txt", data=b"b" * 2_000_000),
                Growth.File(relative_path="tree/c.txt", url="https://example.org/c.txt"),
            ],
        ),
        Plant(name="leaf", is_leaf=True, implied=True),
        Plant(name="bare", revision=1),
    ],
    relations=[
        Relation(holder="tree", target="leaf", kind="needs"),
        Relation(holder="bare", target="tree", kind="attaches", scope="version"),
        Relation(holder="bare", target="elsewhere", target_revision=7, kind="context"),
    ],
    removes=["content/graph/nodes/7"],
    cascade=True,
    mirror=True,
    state="seen",
)


class TestGraphKeepsTheContract(PluginContract):
    command: ClassVar = GRAPH_COMMAND
    environment: ClassVar = GRAPH_ENVIRONMENT
    scenarios: ClassVar = [
        Scenario(
            name="a graph with every kind of edge",
            task_type="graph/growths",
            parameters=GROWTH,
            resources=[repository(state=b"before"), remote("https://example.org/")],
            refusals=[Refusal(Growth(), "repository")],
        ),
        Scenario(
            name="a move between two repositories",
            task_type="graph/moves",
            parameters=Move(giver="repositories/graph/one", taker="repositories/graph/two"),
            resources=[repository("giver"), repository("taker", name="repositories/graph/two")],
            content={"giver": NODES},
        ),
        Scenario(
            name="a publication",
            task_type="graph/publications",
            parameters=Publish(version="repositories/graph/one/versions/1"),
            resources=[version("version")],
            content={"version": NODES},
        ),
        Scenario(
            name="a publication that hides the version",
            task_type="graph/publications",
            parameters=Publish(version="repositories/graph/one/versions/1", hide_version=True),
            resources=[version("version")],
        ),
        Scenario(
            name="a fault of the plugin",
            task_type="graph/growths",
            parameters=Growth(
                repository="repositories/graph/one",
                plants=[Plant(name="a")],
                relations=[Relation(holder="a", target="b", kind="loves")],
            ),
            resources=[repository()],
            verdict="failed",
            reason="PLUGIN_FAULT",
        ),
        Scenario(
            name="work that blocks",
            task_type="graph/waits",
            parameters=Wait(
                repository="repositories/graph/one", seconds=0.05, blocking=True, leaves=600
            ),
            resources=[repository()],
        ),
    ]
