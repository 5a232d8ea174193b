"""`plugin`: what a plugin can do, in words."""

import json

from entrepot.core.v1 import plugin_service_pb2
from scripted_core import Cli, file_plugin


def knowing(cli: Cli) -> None:
    """Have core know the plugin of files."""
    plugin = plugin_service_pb2.Plugin(
        name="plugins/file", target="127.0.0.1:7443", declaration=file_plugin()
    )
    cli.core.answers["GetPlugin"] = lambda _: plugin_service_pb2.GetPluginResponse(plugin=plugin)


def test_people_see_its_types(cli: Cli) -> None:
    """The table names the types as they are typed, and has no JSON in it."""
    knowing(cli)

    out = cli("plugin", "get", "file").out

    assert "file/syncs, file/adds, file/removes, file/uploads" in out
    assert "file/files" in out
    assert "{" not in out


def test_scripts_see_its_declaration(cli: Cli) -> None:
    """JSON has the declaration as REST has it."""
    knowing(cli)

    shown = json.loads(cli("plugin", "get", "file", "-o", "json").out)

    assert shown["declaration"]["version"] == "0.1.0"
