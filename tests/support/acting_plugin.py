"""The file plugin, but a sync acts outside: it adds a line to a file, and must not be repeated.

ACTING_FILE names the file. With ACTING_SECONDS it then goes on for so long, and reports nothing.
Run it as `python -m acting_plugin`.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from entrepot.plugins.file.v1.file_pb2 import Sync, SyncResult
from entrepot_plugin_file.plugin import plugin
from entrepot_sdk import TaskType, Workspace, serve
from entrepot_sdk.testing import PluginProcess

COMMAND = [sys.executable, "-m", "acting_plugin"]


async def act(parameters: Sync, _workspace: Workspace) -> SyncResult:
    """Leave a trace at once: nothing is asked of core before."""
    leave_trace(parameters.repository)
    await asyncio.sleep(float(os.environ.get("ACTING_SECONDS", "0")))
    return SyncResult()


def leave_trace(line: str) -> None:
    """Add a line to the file."""
    with Path(os.environ["ACTING_FILE"]).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def acting_plugin(
    core: str, file: Path, seconds: float = 0, extra: Mapping[str, str] | None = None
) -> PluginProcess:
    """Return the process, to be entered; `core` is the address that it calls back."""
    environment = {
        **(extra or {}),
        "PYTHONPATH": str(Path(__file__).parent),
        "ACTING_FILE": str(file),
        "ACTING_SECONDS": str(seconds),
    }
    return PluginProcess(COMMAND, core, environment=environment)


def main() -> None:
    """Serve until told to stop."""
    syncs = TaskType(
        collection="syncs", parameters=Sync, run=act, result=SyncResult, repeatable=False
    )
    others = [one for one in plugin.task_types if one.collection != "syncs"]
    serve(replace(plugin, task_types=[syncs, *others]))


if __name__ == "__main__":
    main()
