"""Core's own tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.dispatch.executors import ready_made
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.plugins import builtin
from entrepot_core.plugins.registry import Registry
from entrepot_core.store.database import Database
from remote_keys import remotes_of

if TYPE_CHECKING:
    from pathlib import Path


def test_somebody_does_each_task_that_core_declares(tmp_path: Path) -> None:
    """Each type of task that core declares is done, and no other."""
    database = Database("postgresql:///never", size=1, name="never")

    keeper = Keeper(database, open_blob_store(str(tmp_path), tmp_path))
    downloader = Downloader(allow_loopback=False)
    done = ready_made(database, keeper, Registry(database), downloader, remotes_of(database))
    downloader.close()

    declared = {f"core/{one.collection}" for one in builtin.declaration().task_types}
    assert done.task_types == declared
