"""Lists in the docs are those of the code: states, events, causes, exit statuses, versions."""

import re
import tomllib
from pathlib import Path
from typing import Protocol

from entrepot.core.v1 import remote_service_pb2, task_service_pb2
from entrepot_cli.outcome import Status
from workspace import ROOT

ENGINE = ROOT / "services/core/src/entrepot_core/store/migrations/0001_engine.sql"
STATES = ROOT / "docs" / "state-machine.md"
EVENTS = ROOT / "docs" / "reference" / "events.md"
CLI = ROOT / "docs" / "reference" / "cli.md"

ARROW = re.compile(r"^ *(\S+) --> (\S+?)(?:: (\w+))?$", re.MULTILINE)
FIRST_CELL = re.compile(r"^\| ([^|]+) \|", re.MULTILINE)


class Enum(Protocol):
    """A generated enum."""

    def keys(self) -> list[str]:
        """Names of its values."""


def read(path: Path) -> str:
    """Read a page or a migration."""
    return path.read_text("utf-8")


def checked(constraint: str) -> set[str]:
    """Name the values that a CHECK constraint of the engine allows."""
    (values,) = re.findall(rf"{constraint} CHECK \(\w+ IN\s*\(([^)]*)\)", read(ENGINE))
    return set(re.findall(r"'(\w+)'", values))


def first_cells(page: str) -> set[str]:
    """Name what stands in code in the first columns of a page's tables."""
    return {word for cell in FIRST_CELL.findall(page) for word in re.findall(r"`(\w+)`", cell)}


def words(enum: Enum, prefix: str) -> set[str]:
    """Name an enum's values as JSON has them, without the one that means nothing."""
    return {name.removeprefix(prefix).lower() for name in enum.keys()[1:]}


def test_states_are_those_of_the_database() -> None:
    """The diagram and the table have the states that the CHECK constraint allows."""
    page = read(STATES)
    drawn = {state for arrow in ARROW.findall(page) for state in arrow[:2]} - {"[*]"}

    assert drawn == checked("task_state_check")
    assert drawn <= first_cells(page)


def test_every_arrow_is_a_function_of_the_database() -> None:
    """What moves a task has a name, and the database has a function of that name."""
    migrations = "".join(read(one) for one in ENGINE.parent.glob("*.sql"))
    functions = set(re.findall(r"CREATE FUNCTION (\w+)", migrations))
    named = {name for source, target, name in ARROW.findall(read(STATES)) if target != "[*]"}

    assert named <= functions
    assert "" not in named


def test_causes_of_waiting_are_those_of_the_api() -> None:
    """Each reason to wait is explained, and no other."""
    causes = words(task_service_pb2.Task.Blocker.Cause, "CAUSE_")

    explained = first_cells(read(STATES)) - checked("task_state_check")

    assert explained == causes


def test_kinds_of_events_are_those_of_the_api_and_of_the_database() -> None:
    """The list of events is complete."""
    kinds = words(task_service_pb2.Event.Kind, "KIND_")

    assert kinds == checked("event_kind_check")
    assert first_cells(read(EVENTS)) == kinds


def test_exit_statuses_are_those_of_the_command() -> None:
    """Each exit status is in the table."""
    table = read(CLI).partition("## Exit status")[2]

    listed = {int(cell) for cell in FIRST_CELL.findall(table) if cell.isdigit()}

    assert listed == {int(status) for status in Status}


def test_policies_are_those_of_the_api() -> None:
    """The change log names the policies that a remote may have."""
    policies = words(remote_service_pb2.Remote.Policy, "POLICY_")

    named = re.search(r"Remotes with the policies (.*)\.", read(ROOT / "CHANGELOG.md"))

    assert named is not None
    assert set(re.findall(r"`(\w+)`", named[1])) == policies


def test_the_change_log_has_the_version_of_the_distributions() -> None:
    """What is built has an entry."""
    project = tomllib.loads(read(ROOT / "protos" / "pyproject.toml"))["project"]

    headings = re.findall(r"^## (\S+)", read(ROOT / "CHANGELOG.md"), re.MULTILINE)

    assert project["version"] in headings
    assert headings[0] == "Unreleased"
