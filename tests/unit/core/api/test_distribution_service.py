"""DistributionService: what is served where, and how a distribution is shown."""

from datetime import UTC, datetime

import pytest

from declarations import file_plugin
from entrepot.core.v1 import distribution_service_pb2, distribution_service_pb2_grpc
from entrepot_core.api.creation_requests import CreationRequests
from entrepot_core.api.distribution_service import (
    DistributionService,
    distribution_message,
    fill,
    guide_facts,
)
from entrepot_core.store.distributions import DistributionRow
from unconnected_core import (
    DeclaredPlugins,
    Servicing,
    fields,
    no_cursor,
    no_database,
    refusal,
)

Distribution = distribution_service_pb2.Distribution
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def servicing() -> Servicing:
    """The servicer, with a plugin for files."""
    return Servicing(
        distribution_service_pb2.DESCRIPTOR.services_by_name["DistributionService"],
        distribution_service_pb2_grpc.add_DistributionServiceServicer_to_server,
        DistributionService(
            no_database(),
            DeclaredPlugins(file_plugin()),
            "http://content.test/",
            CreationRequests(lambda _: "admin"),
        ),
    )


@pytest.mark.parametrize(
    "base_path",
    [
        "",
        "/",
        "/a",
        "a//b",
        "a/../b",
        ".",
        "v2/a",
        "V3",
        "token",
        ".well-known/a",
        "a b",
        "é",
        "a\0",
        "a\n",
        "a%2f",
        "a?b",
        "a#b",
        "a" * 256,
    ],
)
@pytest.mark.parametrize("method", ["CreateDistribution", "UpdateDistribution"])
def test_a_base_path_is_plain(servicing: Servicing, method: str, base_path: str) -> None:
    """What clients could spell in two ways, or what the origin needs itself, is refused."""
    request = getattr(distribution_service_pb2, f"{method}Request")(
        distribution=Distribution(name="dev", base_path=base_path)
    )
    if method == "CreateDistribution":
        request.parent = "distributions/file"
    else:
        request.update_mask.paths.append("base_path")

    error = refusal(lambda: servicing.call(method, request))

    assert ("FIELD_INVALID", ["distribution.base_path"]) == (error.reason, fields(error))


@pytest.mark.parametrize("path", ["plugin", "content_url"])
def test_a_mask_cannot_name_what_core_sets(servicing: Servicing, path: str) -> None:
    """A field that core sets is refused under its path."""
    request = distribution_service_pb2.UpdateDistributionRequest(
        distribution=Distribution(name="distributions/file/dev")
    )
    request.update_mask.paths.append(path)

    error = refusal(lambda: servicing.call("UpdateDistribution", request))

    assert [f"distribution.{path}"] == fields(error)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"page_size": 1001}, "FIELD_INVALID"),
        ({"parent": "remotes/file"}, "FIELD_INVALID"),
        ({"page_token": "WyJmaWxlIiwgIlx1ZDgwMCJd"}, "QUERY_INVALID"),
        ({"page_token": "WyJmaWxlIiwgIlx1MDAwMCJd"}, "QUERY_INVALID"),
    ],
)
def test_pages_are_asked_for_rightly(
    servicing: Servicing, given: dict[str, object], reason: str
) -> None:
    """Tokens with half a surrogate pair or a NUL character are refused as any other nonsense."""
    request = distribution_service_pb2.ListDistributionsRequest(**given)  # type: ignore[arg-type]

    error = refusal(lambda: servicing.call("ListDistributions", request))

    assert reason == error.reason


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"repository": "foo", "version": "foo@3"}, "distribution.version"),
        ({"version": "foo@3", "publication": "p"}, "distribution.publication"),
        ({"repository": "rpm/foo"}, "distribution.repository"),
        ({"publication": "publications/rpm/p"}, "distribution.publication"),
        ({"repository": "http://[x"}, "distribution.repository"),
    ],
)
def test_a_distribution_serves_one_thing_of_its_plugin(
    given: dict[str, object], field: str
) -> None:
    """Two targets, another plugin's and what is no name are refused without a look-up."""
    wanted = {"repository", "version", "publication"}
    distribution = Distribution(**given)  # type: ignore[arg-type]

    error = refusal(lambda: DistributionService._target(no_cursor(), "file", distribution, wanted))

    assert ("FIELD_INVALID", [field]) == (error.reason, fields(error))


def test_a_distribution_may_serve_nothing_yet() -> None:
    """Without a target, all three columns are empty."""
    wanted = {"repository", "version", "publication"}

    columns = DistributionService._target(no_cursor(), "file", Distribution(), wanted)

    assert {"repository_id": None, "number": None, "publication_id": None} == columns


def test_a_row_is_shown_whole() -> None:
    """Every column is in the message, and where clients find it."""
    row = DistributionRow(
        distribution_id=7,
        plugin="file",
        name="dev",
        description="d",
        labels={"a": "b"},
        spec=b"",
        revision=3,
        created_at=MOMENT,
        updated_at=MOMENT,
        base_path="a/b",
        repository_id=1,
        number=None,
        publication_id=None,
        grace_seconds=30,
        repository="repositories/file/foo",
        version="",
        publication="",
    )

    message = distribution_message(row, None, "http://content.test/a/b/")

    expected = Distribution(
        name="distributions/file/dev",
        plugin="file",
        base_path="a/b",
        repository="repositories/file/foo",
        description="d",
        labels={"a": "b"},
        content_url="http://content.test/a/b/",
        etag="7-3",
        grace_seconds=30,
    )
    expected.create_time.FromDatetime(MOMENT)
    expected.update_time.FromDatetime(MOMENT)
    assert expected == message


def test_a_guide_is_filled_everywhere() -> None:
    """Each placeholder is replaced as often as it is there, and other braces stay."""
    facts = {"{content_url}": "http://c/", "{path}": "a%20b"}

    text = fill("curl {content_url}{path} > {path}; echo ${HOME} {}", facts)

    assert "curl http://c/a%20b > a%20b; echo ${HOME} {}" == text


def test_a_guide_is_safe_for_a_shell() -> None:
    """What a base path or a path may have and a shell would act on is percent-encoded."""
    facts = guide_facts("http://c/", "a/$(b);c&d'", "e f/`g`")

    assert ("a/%24%28b%29%3Bc%26d%27", "e%20f/%60g%60") == (facts["{base_path}"], facts["{path}"])
