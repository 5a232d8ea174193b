"""The few lists in the root's pyproject.toml that no tool can derive are complete."""

import tomllib

from workspace import ROOT, distributions

TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]


def test_the_installer_takes_every_distribution_from_here() -> None:
    """No distribution of ours would be looked for in a registry when the lock is made."""
    assert set(TOOL["uv"]["sources"]) == {one.name for one in distributions()}


def test_the_type_checker_finds_every_package() -> None:
    """Each package has its place on the type checker's path."""
    expected = {
        f"$MYPY_CONFIG_FILE_DIR/{one.package.parent.relative_to(ROOT)}" for one in distributions()
    }

    assert expected <= set(TOOL["mypy"]["mypy_path"])


def test_import_rules_apply_to_every_package() -> None:
    """Each package is under the rules about who may import whom."""
    expected = {one.package.name for one in distributions()}

    assert set(TOOL["importlinter"]["root_packages"]) == expected


def test_processes_do_not_know_each_other() -> None:
    """Each package that is not a library stands in the top layer, beside the others."""
    libraries = {"entrepot", "entrepot_rpc", "entrepot_sdk"}
    expected = {one.package.name for one in distributions()} - libraries

    top_layer = TOOL["importlinter"]["contracts"][0]["layers"][0]

    assert set(top_layer.split(" | ")) == expected


def test_coverage_looks_at_every_package() -> None:
    """Each package that is written by hand is measured."""
    expected = {one.package.name for one in distributions() if not one.is_generated}

    assert set(TOOL["coverage"]["run"]["source"]) == expected
