"""The docs lead somewhere: links, settings and shell blocks are what they say."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from workspace import ROOT, distributions, tracked_files

SETTINGS = ROOT / "docs" / "reference" / "settings.md"
SETTING = re.compile(r"ENTREPOT_[A-Z][A-Z0-9_]*[A-Z0-9]")
# What `entrepot up` calls them in messages about several at once, or tests use for themselves.
NO_SETTINGS = {"ENTREPOT_TEST_DATABASE_URL"}

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n`]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`[^`\n]*`")
# A file or a folder, in code.
PLACE = re.compile(r"`([\w.-]+(?:/[\w.-]+)+/?|\w+\.(?:py|sql))`")
TOPS = ("clients", "docs", "gateway", "plugins", "protos", "requirements", "services", "tests")
SOURCES = (".py", ".sql")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

PAGES = sorted(path for path in tracked_files() if path.suffix == ".md")


def name(path: Path) -> str:
    """Name a page in test ids."""
    return path.relative_to(ROOT).as_posix()


def links(page: str) -> Iterator[str]:
    """Yield the targets of a page's links."""
    for match in LINK.finditer(CODE.sub("", FENCE.sub("", page))):
        yield match[1]


def anchors(page: str) -> set[str]:
    """Name what a link into the page may point to."""
    headings = (match[1].strip().lower() for match in HEADING.finditer(FENCE.sub("", page)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def scripts(page: str) -> Iterator[tuple[int, str]]:
    """Yield what a page tells its reader to type: the line it begins on, and the commands."""
    for match in FENCE.finditer(page):
        line = page.count("\n", 0, match.start()) + 1
        if match["language"] in {"sh", "bash"}:
            yield line, match["text"]
        elif match["language"] == "console":
            yield line, typed(match["text"])


def typed(transcript: str) -> str:
    """Keep of a transcript the lines after `$ `, and those that continue them."""
    kept: list[str] = []
    goes_on = False
    for line in transcript.splitlines():
        if goes_on or line.lstrip().startswith("$ "):
            kept.append(line if goes_on else line.lstrip()[2:])
            goes_on = line.endswith("\\")
    return "\n".join(kept) + "\n"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    """Each relative link names a file of the project, and a heading in it if it says one."""
    broken = []
    for target in links(path.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        if not found.exists() or (
            anchor and found.suffix == ".md" and anchor not in anchors(found.read_text("utf-8"))
        ):
            broken.append(target)

    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_places_in_the_project_exist(path: Path) -> None:
    """Each file or folder that a page names is there, below the root or below a package."""
    roots = [ROOT, path.parent, *(one.package for one in distributions())]

    missing = [
        place
        for place in PLACE.findall(FENCE.sub("", path.read_text("utf-8")))
        if place.partition("/")[0] in TOPS or place.endswith(SOURCES)
        if not any((root / place).exists() for root in roots)
    ]

    assert missing == []


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_shell_blocks_can_be_read_by_a_shell(path: Path) -> None:
    """Each block of commands parses."""
    for line, script in scripts(path.read_text("utf-8")):
        parsed = subprocess.run(
            ["bash", "-n"], input=script, capture_output=True, text=True, check=False
        )

        assert parsed.returncode == 0, f"{name(path)}:{line}: {parsed.stderr}"


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    """The settings that the sources read are those of the reference, no more and no fewer."""
    documented = set(
        re.findall(r"^\| `(ENTREPOT_\w+)` \|", SETTINGS.read_text("utf-8"), re.MULTILINE)
    )
    sources = [
        path
        for path in tracked_files()
        if path.suffix == ".py" and "src" in path.relative_to(ROOT).parts
    ]
    read = {one for path in sources for one in SETTING.findall(path.read_text("utf-8"))}

    assert read - NO_SETTINGS == documented


def test_docs_name_no_setting_that_does_not_exist() -> None:
    """No page speaks of a setting that the reference does not have."""
    documented = set(SETTING.findall(SETTINGS.read_text("utf-8")))

    unknown = {
        f"{name(path)}: {one}"
        for path in PAGES
        for one in SETTING.findall(path.read_text("utf-8"))
        if one not in documented | NO_SETTINGS
    }

    assert unknown == set()
