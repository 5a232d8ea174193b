"""A plugin comes and goes while the server runs: routes, documentation, commands, content."""

import json

from entrepot_test_graph.fixtures import start_graph_plugin
from polling import until
from rest import Api, Json
from stack import ROLES, Stack


def paths(api: Api) -> set[str]:
    """The paths that the OpenAPI document has."""
    return set(api.get("openapi.json")["paths"])


def test_a_plugin_comes_and_goes(stack: Stack, api: Api) -> None:
    """A second plugin on another port is registered, used, and removed, without a restart."""
    before = paths(api)
    pids = {role: stack.process(role).pid for role in ROLES}
    assert api.request("GET", "tasks/graph/growths/").status == 404

    with start_graph_plugin(stack.grpc) as process:
        plugin = api.post("plugins/", {"target": process.address}).expect(201)
        until(lambda: api.request("GET", "tasks/graph/growths/").status == 200, "its routes")

        assert plugin["name"] == "plugins/graph"
        assert plugin["health"] == "serving"
        _is_documented(api)
        repository = _is_used(api)
        (made,) = api.everything("tasks/", resource=repository["name"])
        shown = stack.cli("explain", "graph/growths").stdout
        assert "Stages the graph that its parameters describe" in " ".join(shown.split())

        api.delete("plugins/graph/").expect(200, 204)
        until(lambda: api.request("GET", "tasks/graph/growths/").status == 404, "no routes")

    problem = api.post("tasks/graph/growths/", {}).expect(404)
    assert problem["reason"] == "PLUGIN_UNKNOWN"
    gone = api.post(f"{made['href']}clones/").expect(400)
    assert gone["reason"] == "TASK_TYPE_UNKNOWN"
    assert "graph/growths any more" in gone["detail"]
    assert api.post(f"{made['href']}clones/", {"x": 1}).expect(404)["reason"] == "PLUGIN_UNKNOWN"
    assert before == paths(api)
    assert pids == {role: stack.process(role).pid for role in ROLES}
    assert len(api.units(repository)) == 1


def test_a_plugin_that_comes_back_has_its_content(stack: Stack, api: Api) -> None:
    """A plugin that is registered again, on another port, finds its repositories as they were."""
    with start_graph_plugin(stack.grpc) as process:
        api.post("plugins/", {"target": process.address}).expect(201)
        until(lambda: api.request("GET", "tasks/graph/growths/").status == 200, "its routes")
        repository = _is_used(api)
        api.delete("plugins/graph/").expect(200, 204)

    with start_graph_plugin(stack.grpc) as process:
        api.post("plugins/", {"target": process.address}).expect(201)
        until(lambda: api.request("GET", "tasks/graph/growths/").status == 200, "its routes")
        (unit,) = api.units(repository)
        api.completed("graph/removes", repository=repository["name"], content=[unit["name"]])
        api.delete("plugins/graph/").expect(200, 204)

    assert api.versions(repository) == [0, 1, 2]


def test_a_plugin_that_moves(stack: Stack, api: Api) -> None:
    """A plugin's address can be changed while it is registered."""
    with start_graph_plugin(stack.grpc) as first:
        api.post("plugins/", {"target": first.address}).expect(201)
    with start_graph_plugin(stack.grpc) as second:
        api.patch("plugins/graph/", {"target": second.address}).expect(200)
        until(lambda: api.get("plugins/graph/")["health"] == "serving", "it to be found")
        _is_used(api)
        api.delete("plugins/graph/").expect(200, 204)


def _is_documented(api: Api) -> None:
    document = api.get("openapi.json")
    operation = document["paths"]["/api/v3/tasks/graph/growths/"]["post"]
    text = json.dumps(document)
    assert "Stages the graph that its parameters describe" in json.dumps(operation) or (
        "Stages the graph that its parameters describe" in text
    )
    assert "Names of units to remove" in text


def _is_used(api: Api) -> Json:
    repository = api.a_repository("graph")
    plants = [{"name": repository["name"], "is_leaf": True}]
    api.completed("graph/growths", repository=repository["name"], plants=plants)
    return repository
