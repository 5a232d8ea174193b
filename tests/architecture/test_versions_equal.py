"""One version for all distributions, and pins that agree with it."""

import pytest

from workspace import Distribution, distributions

OURS = {one.name for one in distributions()}


def test_all_distributions_have_one_version() -> None:
    """Every distribution of the workspace has the same version."""
    versions = {one.name: one.version for one in distributions()}

    assert len(set(versions.values())) == 1, versions


@pytest.mark.parametrize("distribution", distributions(), ids=lambda one: one.name)
def test_distributions_pin_each_other_to_the_minor_version(distribution: Distribution) -> None:
    """A distribution accepts another of ours from the same minor version only."""
    minor = distribution.version.rpartition(".")[0]
    expected = f"~={minor}.0"

    pins = {
        requirement.name: str(requirement.specifier)
        for requirement in distribution.requirements()
        if requirement.name in OURS
    }

    assert dict.fromkeys(pins, expected) == pins
