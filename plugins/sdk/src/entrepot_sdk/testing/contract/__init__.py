"""The contract suite: what core relies on in every plugin, as tests that anybody may run.

    class TestNoteKeepsTheContract(PluginContract):
        command = ["note-plugin"]
        scenarios = [Scenario(name="a short list", task_type="note/syncs", …)]

The plugin is a process that speaks gRPC; the suite sees nothing else of it.
"""

import pytest

for name in ("describe", "validate", "execute", "staging", "lifetime"):
    pytest.register_assert_rewrite(f"entrepot_sdk.testing.contract.{name}")

from entrepot_sdk.testing.contract.describe import DescribeContract  # noqa: E402  rewritten first
from entrepot_sdk.testing.contract.execute import ExecuteContract  # noqa: E402
from entrepot_sdk.testing.contract.lifetime import LifetimeContract  # noqa: E402
from entrepot_sdk.testing.contract.staging import StagingContract  # noqa: E402
from entrepot_sdk.testing.contract.validate import ValidateContract  # noqa: E402

__all__ = ["PluginContract"]


class PluginContract(
    DescribeContract, ValidateContract, ExecuteContract, StagingContract, LifetimeContract
):
    """All of it. Subclass it, and say what to start and what to try."""
