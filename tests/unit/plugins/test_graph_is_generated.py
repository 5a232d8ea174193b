"""The graph plugin's stubs are what its proto says."""

from pathlib import Path

import entrepot_test_graph
from entrepot_test_graph.generate import generate

PACKAGE = Path(entrepot_test_graph.__file__).parent
GENERATED = ("graph_pb2.py", "graph_pb2.pyi", "descriptors.binpb")


def test_graph_stubs_are_fresh(tmp_path: Path) -> None:
    """Generating again changes nothing."""
    (tmp_path / PACKAGE.name).mkdir()

    generate(tmp_path)

    for name in GENERATED:
        assert (PACKAGE / name).read_bytes() == (tmp_path / PACKAGE.name / name).read_bytes()
