"""`repository`, `remote`, `distribution`: one set of verbs for three nouns."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from entrepot.core.v1 import (
    distribution_service_pb2,
    limit_service_pb2,
    remote_service_pb2,
    repository_service_pb2,
    token_service_pb2,
)
from scripted_core import Cli


def echoing(cli: Cli, noun: str, module: Any) -> None:  # noqa: ANN401
    """Have core create and update what it is told to."""
    for verb in ("Create", "Update"):
        response = getattr(module, f"{verb}{noun.capitalize()}Response")
        cli.core.answers[f"{verb}{noun.capitalize()}"] = partial(echo, noun, response)


def echo(noun: str, response: Any, request: Any) -> Any:  # noqa: ANN401
    """Answer with what was asked for."""
    return response(**{noun: getattr(request, noun)})


def test_create_a_repository(cli: Cli) -> None:
    """The plugin is in the name, and core's fields are flags."""
    echoing(cli, "repository", repository_service_pb2)

    result = cli(
        "repository", "create", "file/foo", "--retain-versions", "5",
        "--label", "team=a", "--label", "stage=b", "-o", "json",
    )  # fmt: skip

    (request,) = cli.core.asked(repository_service_pb2.CreateRepositoryRequest)
    assert request.parent == "repositories/file"
    assert request.repository.retain_versions == 5
    assert json.loads(result.out)["labels"] == {"stage": "b", "team": "a"}


@pytest.mark.parametrize(
    ("noun", "module", "words"),
    [
        ("repository", repository_service_pb2, ("file/foo",)),
        ("remote", remote_service_pb2, ("file/foo", "--url", "http://h/")),
        ("distribution", distribution_service_pb2, ("file/foo", "--base-path", "dev")),
        ("limit", limit_service_pb2, ("foo", "--task-type", "file/syncs", "--max-running", "4")),
        ("token", token_service_pb2, ("foo",)),
    ],
)
def test_a_request_id_makes_one(
    cli: Cli,
    noun: str,
    module: Any,  # noqa: ANN401  of one service
    words: tuple[str, ...],
) -> None:
    """Whoever creates something by name may repeat it under one id, as over REST."""
    response = getattr(module, f"Create{noun.capitalize()}Response")
    cli.core.answers[f"Create{noun.capitalize()}"] = partial(echo, noun, response)

    result = cli(noun, "create", *words, "--request-id", "once", "-v")

    (request,) = cli.core.asked(getattr(module, f"Create{noun.capitalize()}Request"))
    assert request.request_id == "once"
    assert "request_id=once" in result.err


def test_an_update_has_no_request_id(cli: Cli) -> None:
    """It is the same however often it is sent."""
    result = cli("repository", "update", "file/foo", "--description", "x", "--request-id", "once")

    assert result.status == 2
    assert "--request-id" in result.err


def test_enums_are_words(cli: Cli) -> None:
    """An enum is given, and shown, as a word in lower case."""
    echoing(cli, "remote", remote_service_pb2)

    result = cli(
        "remote", "create", "file/bar", "--url", "http://h/", "--policy", "on_demand", "-o", "json"
    )

    (request,) = cli.core.asked(remote_service_pb2.CreateRemoteRequest)
    assert request.remote.policy == remote_service_pb2.Remote.POLICY_ON_DEMAND
    assert json.loads(result.out)["policy"] == "on_demand"


@pytest.mark.parametrize("word", ["POLICY_ON_DEMAND", "On_Demand"])
def test_enums_are_understood_as_over_rest(cli: Cli, word: str) -> None:
    """A word is also understood with its prefix, and in either case."""
    echoing(cli, "remote", remote_service_pb2)

    cli("remote", "create", "file/bar", "--url", "http://h/", "--policy", word)

    (request,) = cli.core.asked(remote_service_pb2.CreateRemoteRequest)
    assert request.remote.policy == remote_service_pb2.Remote.POLICY_ON_DEMAND


def test_an_enum_that_is_none_is_refused(cli: Cli) -> None:
    """The words there are stand in the error; that nothing is said is not one of them."""
    result = cli("remote", "create", "file/bar", "--url", "http://h/", "--policy", "unspecified")

    assert result.status == 2
    assert "on_demand" in result.err


def test_a_required_field_is_named(cli: Cli) -> None:
    """A remote without a URL is refused before the server is asked."""
    result = cli("remote", "create", "file/bar")

    assert result.status == 2
    assert "--url" in result.err


def test_a_number_out_of_range_names_its_flag(cli: Cli) -> None:
    """A number that does not fit the field is a usage error."""
    result = cli("repository", "create", "file/foo", "--retain-versions", str(1 << 40))

    assert result.status == 2
    assert "--retain-versions" in result.err


def test_references_of_distributions_are_names(cli: Cli) -> None:
    """A distribution's repository and version are named as everywhere."""
    echoing(cli, "distribution", distribution_service_pb2)

    cli("distribution", "create", "file/dev", "--base-path", "dev", "--repository", "foo")
    cli("distribution", "update", "file/dev", "--version", "foo@3")

    (created,) = cli.core.asked(distribution_service_pb2.CreateDistributionRequest)
    (updated,) = cli.core.asked(distribution_service_pb2.UpdateDistributionRequest)
    assert created.distribution.repository == "repositories/file/foo"
    assert updated.distribution.version == "repositories/file/foo/versions/3"
    assert list(updated.update_mask.paths) == ["version"]


def test_an_update_changes_what_is_given(cli: Cli) -> None:
    """The mask names the flags, so that a default value is a change as well."""
    echoing(cli, "remote", remote_service_pb2)

    cli("remote", "update", "file/bar", "--max-retries", "0", "--description", "")

    (request,) = cli.core.asked(remote_service_pb2.UpdateRemoteRequest)
    assert sorted(request.update_mask.paths) == ["description", "max_retries"]


def test_an_update_of_nothing_is_refused(cli: Cli) -> None:
    """An update without a flag is a usage error."""
    assert cli("repository", "update", "file/foo").status == 2


def test_labels_are_merged(cli: Cli) -> None:
    """One label is changed or taken away, the others stay, and nobody else's change is lost."""
    echoing(cli, "repository", repository_service_pb2)
    known = repository_service_pb2.Repository(
        name="repositories/file/foo", labels={"a": "1", "b": "2", "c": "3"}, etag="e1"
    )
    cli.core.answers["GetRepository"] = lambda _: repository_service_pb2.GetRepositoryResponse(
        repository=known
    )

    cli("repository", "update", "file/foo", "--label", "a=9", "--label", "b=")

    (request,) = cli.core.asked(repository_service_pb2.UpdateRepositoryRequest)
    assert dict(request.repository.labels) == {"a": "9", "c": "3"}
    assert request.repository.etag == "e1"


def test_an_unknown_plugin_lists_those_there_are(cli: Cli) -> None:
    """A resource of a plugin that is not there ends with 4."""
    result = cli("repository", "create", "files/foo")

    assert result.status == 4
    assert "Did you mean file?" in result.err


@pytest.mark.parametrize("verb", ["create", "get"])
def test_a_word_that_is_no_text_is_refused(cli: Cli, verb: str) -> None:
    """A name in bytes that are not UTF-8 is a usage error, and shown escaped."""
    result = cli("repository", verb, "file/\udcff")

    assert result.status == 2
    assert "file/\\udcff' is not UTF-8" in result.err


def test_a_token_that_is_none_is_not_sent(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token with a line break is refused before it is sent, and is not shown."""
    monkeypatch.setenv("ENTREPOT_TOKEN", "ent_secret\n")

    result = cli("repository", "list")

    assert (result.status, "ENTREPOT_TOKEN holds no token" in result.err) == (3, True)
    assert "secret" not in result.err


def test_deleting_needs_a_yes_in_scripts(cli: Cli) -> None:
    """Without a terminal nothing is deleted unless --yes says so."""
    deleted = repository_service_pb2.DeleteRepositoryResponse()
    cli.core.answers["DeleteRepository"] = lambda _: deleted

    refused = cli("repository", "delete", "file/foo")
    allowed = cli("repository", "delete", "file/foo", "--yes")

    assert (refused.status, allowed.status) == (2, 0)
    (request,) = cli.core.asked(repository_service_pb2.DeleteRepositoryRequest)
    assert request.name == "repositories/file/foo"


@pytest.mark.parametrize(("typed", "count"), [("file/foo\n", 1), ("foo\n", 0), ("", 0)])
def test_deleting_on_a_terminal_wants_the_name(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, typed: str, count: int
) -> None:
    """On a terminal only the whole name, typed, deletes."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: typed, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    deleted = repository_service_pb2.DeleteRepositoryResponse()
    cli.core.answers["DeleteRepository"] = lambda _: deleted

    cli("repository", "delete", "file/foo")

    assert len(cli.core.asked(repository_service_pb2.DeleteRepositoryRequest)) == count


def test_a_list_says_none(cli: Cli) -> None:
    """An empty list is nothing on stdout, and a word on stderr."""
    empty = repository_service_pb2.ListRepositoriesResponse()
    cli.core.answers["ListRepositories"] = lambda _: empty

    result = cli("repository", "list")

    assert (result.out, result.err) == ("", "none\n")


def test_a_list_of_a_plugin_that_is_not_there(cli: Cli) -> None:
    """Nothing of a plugin that does not exist ends with 4, and the error lists those that do."""
    empty = repository_service_pb2.ListRepositoriesResponse()
    cli.core.answers["ListRepositories"] = lambda _: empty

    result = cli("repository", "list", "fyle")

    assert result.status == 4
    assert "There is no plugin fyle. Did you mean file?" in result.err


def test_secrets_and_certificates_come_from_files(cli: Cli, tmp_path: Path) -> None:
    """Each is what its file has, without the line break at the end; none can be a word."""
    echoing(cli, "remote", remote_service_pb2)
    for name in ("password", "key", "ca"):
        (tmp_path / name).write_text(f"{name} of a file\n")

    result = cli(
        "remote", "create", "file/bar", "--url", "http://h/", "--username", "u", "-v",
        "--password-file", str(tmp_path / "password"),
        "--header-file", f"X-Api-Key={tmp_path / 'key'}",
        "--ca-certificates-file", str(tmp_path / "ca"), "-o", "json",
    )  # fmt: skip

    (request,) = cli.core.asked(remote_service_pb2.CreateRemoteRequest)
    remote = request.remote
    assert remote.password == "password of a file"
    assert dict(remote.headers) == {"X-Api-Key": "key of a file"}
    assert remote.ca_certificates == "ca of a file"
    # Not even of what a server would send back, nor in the command that -v prints.
    assert "password of a file" not in result.out + result.err
    assert "key of a file" not in result.out + result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--password", "secret"], "argument --password: give it in a file: --password-file FILE"),
        (["--header", "X-A=secret"], "argument --header: give it in a file: --header-file FILE"),
        (["--password-file", "/no/such/file"], "cannot read /no/such/file: No such file"),
    ],
)
def test_a_secret_that_cannot_be_read_is_refused(cli: Cli, words: list[str], message: str) -> None:
    """A secret itself is refused and not repeated, and a file that is not there is named."""
    result = cli("remote", "create", "file/bar", "--url", "http://h/", *words)

    assert result.status == 2
    assert message in result.err
    assert "secret" not in result.err
