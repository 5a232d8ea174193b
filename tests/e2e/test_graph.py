"""Units that need each other, through the graph plugin: closure, cascade, publications."""

import base64
from collections.abc import Sequence

import pytest

from entrepot_sdk.testing import PluginProcess
from rest import Api, Json
from stack import Stack

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def garden(api: Api, graph: PluginProcess) -> Json:
    """A repository in which `tree` needs `branch`, which needs `leaf`; and `stone` nobody."""
    repository = api.a_repository("graph")
    grow(
        api,
        repository,
        ["tree", "branch", "leaf", "stone"],
        [("tree", "needs", "branch"), ("branch", "needs", "leaf")],
        implied=("branch", "leaf"),
    )
    return repository


def grow(
    api: Api,
    repository: Json,
    plants: Sequence[str],
    relations: Sequence[tuple[str, str, str]] = (),
    implied: Sequence[str] = (),
    scope: str = "global",
) -> Json:
    """A growth, at its end. Names are made unique to the repository: content is shared."""
    mark = repository["name"].rpartition("-")[2]
    return api.run(
        "graph/growths",
        repository=repository["name"],
        plants=[
            {
                "name": f"{name}-{mark}",
                "implied": name in implied,
                "files": [_file(f"{name}.txt", f"I am {name} of {mark}\n")],
            }
            for name in plants
        ],
        relations=[
            {
                "holder": f"{holder}-{mark}",
                "kind": kind,
                "target": f"{target}-{mark}",
                "scope": scope,
            }
            for holder, kind, target in relations
        ],
    )


def nodes(api: Api, repository: Json, version: int | str = "latest") -> dict[str, str]:
    """Names of units by the plant's name, without its mark."""
    found = api.units(repository, version)
    return {unit["unit"]["attributes"]["name"].rpartition("-")[0]: unit["name"] for unit in found}


def test_adding_a_unit_brings_what_it_needs(api: Api, garden: Json) -> None:
    """Adding the tree alone brings branch and leaf, and not the stone."""
    other = api.a_repository("graph")

    task = api.completed(
        "graph/adds", repository=other["name"], content=[nodes(api, garden)["tree"]]
    )

    assert set(nodes(api, other)) == {"tree", "branch", "leaf"}
    assert task["differences"][0]["added"] == 3
    implied = {
        unit["unit"]["attributes"]["name"].rpartition("-")[0]: unit["unit"]["implied"]
        for unit in api.units(other)
    }
    assert implied == {"tree": False, "branch": True, "leaf": True}


def test_copying_brings_what_is_needed(api: Api, garden: Json) -> None:
    """A copy by filter brings what the matching units need."""
    other = api.a_repository("graph")
    name = api.units(garden)[0]["unit"]["attributes"]["name"]
    mark = name.rpartition("-")[2]

    api.completed(
        "graph/copies",
        source=garden["name"],
        repository=other["name"],
        filter=f'name = "branch-{mark}"',
    )

    assert set(nodes(api, other)) == {"branch", "leaf"}


def test_removing_what_is_needed_is_refused(api: Api, garden: Json) -> None:
    """Removing the leaf fails, because the branch needs it; both are named."""
    task = api.run(
        "graph/removes", repository=garden["name"], content=[nodes(api, garden)["leaf"]]
    )

    assert task["state"] == "failed"
    assert task["error"]["reason"] == "UNIT_STILL_NEEDED"
    assert "leaf.txt is needed by branch.txt" in task["error"]["detail"]
    assert api.versions(garden) == [0, 1]


def test_removing_with_cascade_takes_the_holders(api: Api, garden: Json) -> None:
    """With cascade the branch and the tree go with the leaf, and the stone stays."""
    units = nodes(api, garden)

    api.completed(
        "graph/removes", repository=garden["name"], content=[units["leaf"]], cascade=True
    )

    assert set(nodes(api, garden)) == {"stone"}


def test_removing_sweeps_what_only_came_along(api: Api, garden: Json) -> None:
    """When the tree goes, branch and leaf, which came along with it, go too."""
    api.completed("graph/removes", repository=garden["name"], content=[nodes(api, garden)["tree"]])

    assert set(nodes(api, garden)) == {"stone"}


def test_what_was_asked_for_stays(api: Api, garden: Json) -> None:
    """A unit that somebody added by name stays when what needed it goes."""
    units = nodes(api, garden)
    api.completed("graph/adds", repository=garden["name"], content=[units["branch"]])

    api.completed("graph/removes", repository=garden["name"], content=[units["tree"]])

    assert set(nodes(api, garden)) == {"stone", "branch", "leaf"}


def test_a_unit_that_is_needed_and_nowhere(api: Api) -> None:
    """Staging a unit whose needs nobody has fails, and names holder and target."""
    repository = api.a_repository("graph")

    task = grow(api, repository, ["tree"], [("tree", "needs", "nowhere")])

    assert task["state"] == "failed"
    assert task["error"]["reason"] == "NEEDED_UNIT_MISSING"
    assert "tree" in task["error"]["detail"]
    assert api.versions(repository) == [0]


def test_an_attached_unit_leaves_with_its_target(api: Api) -> None:
    """A signature leaves when what it signs does."""
    repository = api.a_repository("graph")
    grow(api, repository, ["paper", "seal", "stone"], [("seal", "attaches", "paper")])

    content = [nodes(api, repository)["paper"]]
    api.completed("graph/removes", repository=repository["name"], content=content)

    assert set(nodes(api, repository)) == {"stone"}


def test_a_relation_of_one_repository_holds_there_only(api: Api) -> None:
    """A need of the scope `version` binds in the repository that it was staged for only."""
    repository, other = api.a_repository("graph"), api.a_repository("graph")
    grow(api, repository, ["module", "package"], [("module", "needs", "package")], scope="version")
    units = nodes(api, repository)

    task = api.run("graph/removes", repository=repository["name"], content=[units["package"]])
    api.completed("graph/adds", repository=other["name"], content=[units["module"]])

    assert task["error"]["reason"] == "UNIT_STILL_NEEDED"
    assert set(nodes(api, other)) == {"module"}


def test_two_repositories_in_one_commit(api: Api, garden: Json) -> None:
    """A move takes units from one repository to another in one task: two new versions."""
    other = api.a_repository("graph")

    task = api.completed("graph/moves", giver=garden["name"], taker=other["name"])

    assert nodes(api, garden) == {}
    assert set(nodes(api, other)) == {"tree", "branch", "leaf", "stone"}
    made = {item["repository"]: item["version"] for item in task["differences"]}
    assert made == {garden["name"]: 2, other["name"]: 1}


def test_a_publication_serves_generated_files(stack: Stack, api: Api, garden: Json) -> None:
    """A publication has its own files and, through it, those of its version, also later."""
    task = api.completed("graph/publications", version=garden["name"])
    publication = api.get(f"/api/v3/{task['created_resource']}/")
    base = api.a_distribution(plugin="graph", publication=publication["name"])["base_path"]
    grow(api, garden, ["later"])

    index = stack.content.request("GET", f"/{base}/index.txt")
    through = stack.content.request("GET", f"/{base}/tree.txt")
    later = stack.content.request("GET", f"/{base}/later.txt")
    mark = garden["name"].rpartition("-")[2]
    by_name = stack.content.request("GET", f"/{base}/by-name/tree-{mark}/tree.txt")

    assert publication["version"] == f"{garden['name']}/versions/1"
    assert index.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert [line.split("-")[0] for line in index.body.decode().splitlines()] == [
        "branch", "leaf", "stone", "tree",
    ]  # fmt: skip
    assert through.body == by_name.body
    assert through.body.startswith(b"I am tree")
    assert later.status == 404


def test_a_publication_may_hide_its_version(stack: Stack, api: Api, garden: Json) -> None:
    """A publication that hides its version serves the generated files only."""
    task = api.completed("graph/publications", version=garden["name"], hide_version=True)
    base = api.a_distribution(plugin="graph", publication=task["created_resource"])["base_path"]

    assert stack.content.request("GET", f"/{base}/index.txt").status == 200
    assert stack.content.request("GET", f"/{base}/tree.txt").status == 404


def _file(path: str, text: str) -> Json:
    return {"relative_path": path, "data": base64.b64encode(text.encode()).decode()}
