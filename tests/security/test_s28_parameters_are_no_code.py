"""S28: parameters are protobuf and nothing else: no text that a user sends becomes code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import any_pb2

from core_database import core_dsn, core_schema, database
from core_under_test import TOKEN, Core, a_config, errors_of_core, running_api
from entrepot.core.v1 import task_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.domain.errors import ServiceError
from fake_plugin import FakePlugin
from workspace import distributions

__all__ = ["core_dsn", "core_schema", "database"]

# Modules whose readers run what they read, or templates that reach into what they are given.
MODULES = {
    "cloudpickle", "code", "codeop", "dill", "jinja2", "joblib", "jsonpickle", "mako", "marshal",
    "pickle", "runpy", "shelve", "yaml",
}  # fmt: skip
CALLS = {"__import__", "compile", "eval", "exec", "execfile", "import_module"}


def offences(text: str) -> list[str]:
    """Every line of a module that could make code out of data."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names]
            found += [
                f"line {node.lineno}: {name}"
                for name in names
                if name.partition(".")[0] in MODULES or name in CALLS
            ]
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", "")
            owner = getattr(getattr(node.func, "value", None), "id", "")
            attribute = getattr(node.func, "attr", "")
            # Regular expressions are compiled, too.
            if name in CALLS or (attribute in CALLS and owner not in {"re", "regex"}):
                found.append(f"line {node.lineno}: {name or attribute}")
    return found


@pytest.mark.parametrize(
    "package",
    [one.package for one in distributions() if not one.is_generated],
    ids=lambda path: path.name,
)
def test_nothing_makes_code_out_of_data(package: Path) -> None:
    """S28: no module reads a format that can hold code, or imports a module by its name."""
    found = {
        str(path.relative_to(package)): lines
        for path in package.rglob("*.py")
        if (lines := offences(path.read_text("utf-8")))
    }

    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "import yaml", "eval(text)", "exec(text)",
        "__import__(name)", "importlib.import_module(name)", "from importlib import import_module",
        "builtins.eval(text)", "compile(text, '', 'exec')", "from jinja2 import Template",
    ],
)  # fmt: skip
def test_the_rule_finds_what_it_forbids(line: str) -> None:
    """S28: a module that did it would be seen."""
    assert len(offences(line)) == 1


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """A core with the file plugin."""
    plugin = FakePlugin().start()
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        yield core
    plugin.stop()


@pytest.mark.parametrize(
    ("type_url", "value"),
    [
        ("type.googleapis.com/os.system", b"cposix\nsystem\n(S'id'\ntR."),
        ("type.googleapis.com/google.protobuf.Struct", b"\n\x04\n\x02id"),
        ("type.googleapis.com/google.protobuf.Any", b""),
        ("type.googleapis.com/entrepot.core.v1.Task", b""),
        ("type.googleapis.com/entrepot.plugins.file.v1.File", b""),
        ("https://example.org/entrepot.plugins.file.v1.Sync/../x", b""),
        ("", b"cposix\nsystem\n(S'id'\ntR."),
    ],
)  # fmt: skip
def test_only_declared_messages_are_parameters(core: Core, type_url: str, value: bytes) -> None:
    """S28: what is no declared task type is refused by name, and no row is made of it."""
    request = task_service_pb2.CreateTaskRequest(
        parameters=any_pb2.Any(type_url=type_url, value=value)
    )

    with pytest.raises(ServiceError) as caught, errors_of_core():
        core.tasks.CreateTask(
            request, metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=20
        )

    assert caught.value.code.name in {"INVALID_ARGUMENT", "NOT_FOUND"}
    assert core.database.fetch("SELECT count(*) FROM task") == [(0,)]


def test_bytes_that_are_no_message_are_refused(core: Core) -> None:
    """S28: a declared type with bytes that do not read as it makes no task."""
    name = file_pb2.Sync.DESCRIPTOR.full_name
    garbage = any_pb2.Any(type_url=f"type.googleapis.com/{name}", value=b"\xff\xff\xff\xff\xff")
    request = task_service_pb2.CreateTaskRequest(parameters=garbage)

    with pytest.raises(ServiceError) as caught, errors_of_core():
        core.tasks.CreateTask(
            request, metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=20
        )

    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert core.database.fetch("SELECT count(*) FROM task") == [(0,)]
