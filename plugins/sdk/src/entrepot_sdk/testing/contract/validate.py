"""Validate: no side effects, and errors that point to a field."""
# ruff: noqa: S101  these are tests

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.api import field_behavior_pb2
from google.protobuf.any_pb2 import Any as PackedMessage

from entrepot.plugin.v1.plugin_tasks_pb2 import ValidateRequest
from entrepot.plugin.v1.plugin_tasks_pb2_grpc import PluginTasksStub
from entrepot.type.v1.diagnostic_pb2 import Diagnostic
from entrepot_rpc.channel import connect
from entrepot_sdk.testing.contract.subject import Subject
from entrepot_sdk.testing.scenario import Scenario, pack

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from entrepot.plugin.v1.describe_pb2 import DescribeResponse
    from entrepot.plugin.v1.plugin_tasks_pb2 import ValidateResponse
    from entrepot_sdk.testing.fake_core import FakeCore

__all__ = ["ValidateContract"]


class ValidateContract(Subject):
    """What a plugin says about a request."""

    def test_good_parameters_are_accepted(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """The parameters of a task that will run meet no error."""
        assert _errors(core.validate(plugin, scenario)) == []

    def test_validate_does_not_call_core(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """Validate has no attempt to call core with, and does not try."""
        core.validate(plugin, scenario)

        assert core.calls_without_attempt == []

    def test_validate_twice_is_equal(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """The same request gets the same answer."""
        assert core.validate(plugin, scenario) == core.validate(plugin, scenario)

    def test_malformed_fields_are_named(
        self, core: FakeCore, plugin: str, scenario: Scenario
    ) -> None:
        """Each malformed field is refused, by a path that exists."""
        for refusal in scenario.refusals:
            resources = scenario.resources if refusal.resources is None else refusal.resources
            bad = Scenario(
                name=scenario.name,
                task_type=scenario.task_type,
                parameters=refusal.parameters,
                resources=resources,
            )
            errors = _errors(core.validate(plugin, bad))

            assert refusal.field in [one.field for one in errors]
            for one in errors:
                assert re.fullmatch(r"[A-Z][A-Z0-9_]*", one.reason)
                assert one.message
                assert _exists(one.field, refusal.parameters)

    def test_required_fields_are_required(
        self, plugin: str, description: DescribeResponse
    ) -> None:
        """Empty parameters are refused, with each required field of any task type named."""
        for task_type in description.task_types:
            required = _required_fields(description, task_type.parameters_message)
            empty = PackedMessage(type_url=f"type.googleapis.com/{task_type.parameters_message}")
            request = ValidateRequest(
                task_type=f"{description.name}/{task_type.collection}", parameters=empty
            )
            with connect(plugin) as channel:
                response = PluginTasksStub(channel).Validate(request, timeout=10)

            named = {one.field for one in _errors(response)}
            assert required <= named, task_type.collection

    def test_an_unknown_task_type_is_refused(self, plugin: str, scenario: Scenario) -> None:
        """A task type that the plugin does not have is INVALID_ARGUMENT."""
        request = ValidateRequest(task_type="no/such", parameters=pack(scenario.parameters))
        with connect(plugin) as channel, pytest.raises(grpc.RpcError) as caught:
            PluginTasksStub(channel).Validate(request, timeout=10)

        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def _errors(response: ValidateResponse) -> list[Diagnostic]:
    return [one for one in response.diagnostics if one.severity == Diagnostic.SEVERITY_ERROR]


def _required_fields(description: DescribeResponse, message: str) -> set[str]:
    package, _, name = message.rpartition(".")
    return {
        field.name
        for file in description.descriptors.file
        if file.package == package
        for one in file.message_type
        if one.name == name
        for field in one.field
        if field_behavior_pb2.REQUIRED
        in field.options.Extensions[field_behavior_pb2.field_behavior]
    }


def _exists(path: str, message: Message) -> bool:
    """Whether a path such as "sources[2].url" leads to a field."""
    found: Any = message.DESCRIPTOR
    for part in path.split(".") if path else ():
        name = part.partition("[")[0]
        if found is None or name not in found.fields_by_name:
            return False
        found = found.fields_by_name[name].message_type
    return True
