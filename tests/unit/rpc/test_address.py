"""What has an address over REST."""

from entrepot.core.v1 import repository_service_pb2, task_service_pb2
from entrepot_gateway.binding import core_bindings
from entrepot_rpc.address import has_address, href
from entrepot_rpc.declaration import DeclaredMessages
from entrepot_rpc.field import descriptor_of
from gateway_declarations import a_plugin


def test_whatever_a_get_answers_by_name_has_an_address() -> None:
    """The messages with an address are those that the routes of the gateway lead to."""
    routes = core_bindings()
    every = {
        message
        for route in routes
        for message in route.rpc.output_type.file.message_types_by_name.values()
    }

    assert {message.full_name for message in every if has_address(message)} == {
        route.answer_type.full_name
        for route in routes
        if route.http_method == "GET"
        and route.response_body
        and "name" in route.bound
        # A plan or a lineage is a view of a task, and has no name of its own.
        and "name" in route.answer_type.fields_by_name
    }


def test_answers_and_messages_of_plugins_have_none() -> None:
    """A response is not what it carries, and REST does not lead to what only a plugin knows."""
    assert not has_address(descriptor_of(task_service_pb2.GetTaskResponse))
    assert not has_address(descriptor_of(DeclaredMessages(a_plugin()).message("acme.zoo.v1.Cage")))


def test_a_resource_without_a_name_has_no_address() -> None:
    """A task that is only validated has neither."""
    assert has_address(descriptor_of(repository_service_pb2.Version))
    assert href("tasks/01") == "/api/v3/tasks/01/"
    assert href("") == ""
