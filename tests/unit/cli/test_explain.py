"""`explain` and completion: the server's own descriptors as documentation."""

import json

import pytest

from entrepot.core.v1 import plugin_service_pb2, repository_service_pb2
from entrepot.plugin.v1 import describe_pb2
from scripted_core import Cli, file_plugin


def test_everything_is_listed(cli: Cli) -> None:
    """Without an argument all types are listed, with what they are."""
    out = cli("explain").out

    for text in ("file/syncs", "file/files", "repository", "Where content comes from"):
        assert text in out


def test_what_a_plugin_has(cli: Cli) -> None:
    """The name of a plugin lists what is its own."""
    names = cli("explain", "file", "-o", "name").out.split()

    assert names == ["file/syncs", "file/adds", "file/removes", "file/uploads", "file/files"]


def test_a_plugin_that_cannot_be_read_is_left_out(cli: Cli) -> None:
    """One declaration without its messages does not hide the others."""
    broken = describe_pb2.DescribeResponse(name="broken")
    broken.task_types.add(collection="syncs", parameters_message="gone.Sync")
    both = plugin_service_pb2.WatchPluginsResponse(declarations=[broken, file_plugin()])
    cli.core.answers["WatchPlugins"] = lambda _: [both]

    names = cli("explain", "-o", "name").out.split()

    assert "file/syncs" in names
    assert "broken/syncs" not in names


def test_a_task_type(cli: Cli) -> None:
    """A task type is its comment and its fields, with what is required."""
    shown = json.loads(cli("explain", "file/syncs", "-o", "json").out)

    fields = {field["name"]: field for field in shown["fields"]}
    assert shown["text"].startswith("Brings the files")
    assert fields["remote"]["notes"] == ["required", "also --importer"]


@pytest.mark.parametrize("name", ["file/syncs.remote", "file/syncs.importer"])
def test_a_field_by_any_name(cli: Cli, name: str) -> None:
    """A field is found by its name and by its aliases."""
    assert "PULP_MANIFEST" in cli("explain", name).out


def test_an_enum_shows_its_words(cli: Cli) -> None:
    """A field with a choice shows the words and what they mean."""
    out = cli("explain", "remote.policy").out

    assert "on_demand" in out
    assert "When a client first asks" in out


def test_an_unknown_field_names_the_nearest(cli: Cli) -> None:
    """A typing error in a field ends with 4 and what was meant."""
    result = cli("explain", "file/syncs.mirrors")

    assert result.status == 4
    assert "There is no field mirrors in file/syncs. Did you mean mirror?" in result.err


def test_completion_of_types_and_flags(cli: Cli) -> None:
    """Types and their flags complete from what the server declares."""
    assert cli("__complete", "run", "file/s").out.split() == ["file/syncs"]
    assert "--importer" in cli("__complete", "run", "file/syncs", "--").out.split()


def test_completion_of_names(cli: Cli) -> None:
    """A flag that names a repository completes with the repositories of the plugin."""
    repository = repository_service_pb2.Repository(name="repositories/file/foo")
    page = repository_service_pb2.ListRepositoriesResponse(repositories=[repository])
    cli.core.answers["ListRepositories"] = lambda _: page

    assert cli("__complete", "run", "file/syncs", "--repository", "").out == "file/foo\n"
    assert cli("__complete", "repository", "get", "f").out == "file/foo\n"


def test_completion_without_a_server_uses_what_was_kept(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned with the last command is enough to complete types."""
    cli("explain")
    del cli.core.answers["WatchPlugins"]

    assert cli("__complete", "run", "file/s").out.split() == ["file/syncs"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(cli: Cli, shell: str) -> None:
    """Each shell has a script that asks the command."""
    assert "entrepot __complete" in cli("completion", shell).out
