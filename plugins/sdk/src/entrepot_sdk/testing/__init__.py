"""What the tests of a plugin import: a scripted core, a small upstream, and the contract suite.

Only `contract` needs pytest. Nothing here looks into the plugin, which may be written in any
language.
"""

from entrepot_sdk.testing.attempt import Attempt, Faults
from entrepot_sdk.testing.execution import Execution, Outcome
from entrepot_sdk.testing.fake_core import FakeCore
from entrepot_sdk.testing.process import PluginProcess
from entrepot_sdk.testing.scenario import (
    Refusal,
    Scenario,
    remote,
    repository,
    unit,
    upload,
    version,
)
from entrepot_sdk.testing.upstream import Upstream

__all__ = [
    "Attempt",
    "Execution",
    "FakeCore",
    "Faults",
    "Outcome",
    "PluginProcess",
    "Refusal",
    "Scenario",
    "Upstream",
    "remote",
    "repository",
    "unit",
    "upload",
    "version",
]
