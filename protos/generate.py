"""Turns the .proto files into Python stubs and a descriptor set with comments, without a network.

The whole of `protos/python/entrepot` is made here; nothing in it is written by hand.
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).parent
COMMITTED = HERE / "python"
GOOGLEAPIS = HERE.parent / ".build" / "googleapis"

MARKER = '"""Generated from the .proto files by `make proto`; never edited."""\n'


def main() -> int:
    """Generate, or with `--check` compare with what is committed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    parser.add_argument("--imports", action="store_true", help="only fill .build/googleapis")
    options = parser.parse_args()

    if options.imports:
        collect_imports(GOOGLEAPIS)
        return 0

    with tempfile.TemporaryDirectory() as directory:
        imports = Path(directory) / "imports"
        made = Path(directory) / "python"
        collect_imports(imports)
        generate(imports, made)

        if options.check:
            stale = difference(made, COMMITTED)
            for path in stale:
                print(f"stale: protos/python/{path}", file=sys.stderr)
            return 1 if stale else 0

        update(made, COMMITTED)
        return 0


def collect_imports(target: Path) -> None:
    """Copy Google's protos out of the installed package: buf and protoc want a folder."""
    for package in ("api", "rpc"):
        folder = target / "google" / package
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for source in files(f"google.{package}").iterdir():
            if source.name.endswith(".proto"):
                (folder / source.name).write_bytes(source.read_bytes())


def generate(imports: Path, target: Path) -> None:
    """Write stubs, type stubs, packages and descriptors below `target`."""
    root = target / "entrepot"
    root.mkdir(parents=True)
    everything = sorted(path.relative_to(HERE) for path in (HERE / "entrepot").rglob("*.proto"))
    services = [path for path in everything if "\nservice " in (HERE / path).read_text("utf-8")]

    # Plain stubs for every file; service stubs only where there is a service.
    run_protoc(imports, everything, f"--python_out={target}", f"--mypy_out=quiet:{target}")
    run_protoc(imports, services, f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}")

    # Comments are not in the stubs, and the gateway, the CLI and Describe need them when they run.
    run_protoc(
        imports,
        everything,
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={root / 'descriptors.binpb'}",
    )

    # Every folder becomes a package, typed.
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text(MARKER, "utf-8")
    (root / "py.typed").touch()


def run_protoc(imports: Path, protos: list[Path], *outputs: str) -> None:
    """Run the protoc of grpcio-tools over `protos`, with the plugins beside this interpreter."""
    if not protos:
        return
    plugins = Path(sys.executable).parent
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--proto_path={HERE}",
        f"--proto_path={imports}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        *outputs,
        *map(str, protos),
    ]
    subprocess.run(command, check=True)


def difference(made: Path, committed: Path) -> list[Path]:
    """Name the files that are missing, left over or different."""
    names = tracked_files(made) | tracked_files(committed)
    return sorted(
        name
        for name in names
        if not (made / name).is_file()
        or not (committed / name).is_file()
        or not filecmp.cmp(made / name, committed / name, shallow=False)
    )


def tracked_files(root: Path) -> set[Path]:
    """List the files below `root`, relative, without what the interpreter leaves behind."""
    return {
        path.relative_to(root)
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def update(made: Path, target: Path) -> None:
    """Make `target` equal to `made`, touching only what differs: others may be importing it."""
    for name in difference(made, target):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (made / name).is_file():
            shutil.copyfile(made / name, target / name)
        else:
            (target / name).unlink()


if __name__ == "__main__":
    sys.exit(main())
