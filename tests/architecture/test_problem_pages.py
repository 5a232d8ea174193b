"""Every reason that an error can have is explained on a page, and the pages are true."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrepot.core.v1.error_reason_pb2 import ErrorReason
from entrepot_core.domain import errors
from entrepot_rpc import problem
from entrepot_rpc.errors import CORE_DOMAIN, Code, ServiceError
from workspace import ROOT

PAGES = ROOT / "docs" / "problems"
PREFIX = "ERROR_REASON_"

# Who makes errors, and so names reasons.
MAKERS = {
    "ProblemError",
    "TaskFailed",
    "Violation",
    "error",
    "error_diagnostic",
    "not_found",
    "of",
    "warn",
    "warning",
}
# Who says what is wrong with one field, inside a document of its own reason.
FIELD_MAKERS = {"InputError", "refuse", "wrong"}
REASON = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
MOST_LINES = 75

# What HTTP has a status for and the canonical codes have not.
HTTP_ONLY = {"REQUEST_TOO_LARGE": 413, "MEDIA_TYPE_UNSUPPORTED": 415, "METHOD_NOT_ALLOWED": 405}

# What people ask the gateway for, which answers before core would.
SAID_BY_THE_GATEWAY = {"TASK_TYPE_UNKNOWN": Code.NOT_FOUND}

OF_CORE = {name.removeprefix(PREFIX) for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118  an enum wrapper, not a dict
CODES = {
    kind.reason: kind.code
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ServiceError) and kind is not ServiceError
}


def reasons_in(path: Path, makers: set[str]) -> Iterator[str]:
    """Yield the reasons that a module spells out where it makes an error."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
            values = [*node.args, *(one.value for one in node.keywords if one.arg == "reason")]
            if name in makers:
                yield from texts(values)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(getattr(target, "id", "") == "reason" for target in targets) and node.value:
                yield from texts([node.value])


def texts(nodes: list[ast.expr]) -> Iterator[str]:
    """Yield those that are written as reasons are."""
    for node in nodes:
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and REASON.fullmatch(node.value)
        ):
            yield node.value


def sources(*patterns: str) -> list[Path]:
    """List the modules below some folders."""
    return sorted(path for one in patterns for path in ROOT.glob(f"{one}/src/**/*.py"))


def of_plugins() -> set[str]:
    """Name the reasons of the SDK and of every plugin."""
    return {reason for path in sources("plugins/*") for reason in reasons_in(path, MAKERS)}


def pages() -> dict[str, str]:
    """Read every page, by its reason."""
    return {
        path.stem: path.read_text("utf-8")
        for path in sorted(PAGES.glob("*.md"))
        if path.name != "README.md"
    }


def example(page: str) -> dict[str, Any]:
    """Read the problem document of a page."""
    (text,) = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    document: dict[str, Any] = json.loads(text)
    return document


def test_every_reason_has_a_page_and_every_page_a_reason() -> None:
    """The pages are those of core's reasons and of the plugins', no more and no fewer."""
    assert set(pages()) == OF_CORE | of_plugins()


def test_core_and_gateway_use_declared_reasons() -> None:
    """No reason of core or of the gateway is missing in the proto."""
    undeclared = {
        f"{path.relative_to(ROOT)}: {reason}"
        for path in sources("services/*", "gateway")
        for reason in reasons_in(path, MAKERS)
        if reason not in OF_CORE
    }

    assert undeclared == set()
    assert set(CODES) <= OF_CORE


def test_reasons_of_single_fields_are_explained() -> None:
    """What the gateway says of a field is a reason with a page, or stands on FIELD_INVALID's."""
    page = pages()["FIELD_INVALID"]

    unexplained = {
        reason
        for path in sources("gateway")
        for reason in reasons_in(path, FIELD_MAKERS)
        if reason not in OF_CORE and f"`{reason}`" not in page
    }

    assert unexplained == set()


@pytest.mark.parametrize("reason", sorted(pages()))
def test_page_says_what_why_and_what_to_do(reason: str) -> None:
    """A page has its meaning, an example, cause, cure and metadata, and is short."""
    lines = pages()[reason].splitlines()

    headings = [line for line in lines if line.startswith("#") and not line.startswith("#!")]

    assert headings == [f"# {reason}", "## Cause", "## Cure", "## Metadata"]
    assert lines[2].endswith(".")
    assert len(lines) <= MOST_LINES


@pytest.mark.parametrize("reason", sorted(pages()))
def test_example_is_what_the_gateway_would_say(reason: str) -> None:
    """The example has the type, title, status and domain that the reason gets."""
    document = example(pages()[reason])
    code = Code[document["code"]]
    status = HTTP_ONLY.get(reason) or problem.http_status(code)

    assert document["type"] == f"/problems/{reason}"
    assert document["reason"] == reason
    assert document["title"] == problem.title(reason, code)
    assert document["status"] == status
    assert code == SAID_BY_THE_GATEWAY.get(reason) or code == CODES.get(reason, code)
    assert document["domain"] == CORE_DOMAIN or reason not in OF_CORE


def test_index_lists_every_page_with_its_meaning() -> None:
    """The list of problems has each page once, with its first sentence."""
    index = (PAGES / "README.md").read_text("utf-8")
    listed = [line for line in index.splitlines() if line.startswith("- [")]
    of_core = [one for one in pages() if one in OF_CORE]
    of_others = [one for one in pages() if one not in OF_CORE]

    expected = [
        f"- [{reason}]({reason}.md): {pages()[reason].splitlines()[2]}"
        for reason in (*of_core, *of_others)
    ]

    assert listed == expected
