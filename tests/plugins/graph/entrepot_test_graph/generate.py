"""Turns graph.proto into stubs and descriptors beside it.

Run it with `python -m entrepot_test_graph.generate`.
"""

import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).parents[1]
PROTO = "entrepot_test_graph/graph.proto"
PROTOS = HERE.parents[2] / "protos"


def generate(target: Path) -> None:
    """Write the stubs and descriptors below `target`."""
    with tempfile.TemporaryDirectory() as folder:
        imports = Path(folder)
        api = imports / "google" / "api"
        api.mkdir(parents=True)
        source = files("google.api") / "field_behavior.proto"
        (api / "field_behavior.proto").write_bytes(source.read_bytes())
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            f"--plugin=protoc-gen-mypy={Path(sys.executable).parent / 'protoc-gen-mypy'}",
            f"--proto_path={HERE}",
            f"--proto_path={PROTOS}",
            f"--proto_path={imports}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={target}",
            f"--mypy_out=quiet:{target}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={target / 'entrepot_test_graph' / 'descriptors.binpb'}",
            PROTO,
        ]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    generate(HERE)
