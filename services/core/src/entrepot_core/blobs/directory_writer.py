"""One blob on its way into a folder, which has its temporary file on the same disk."""

from __future__ import annotations

import os

from entrepot_core.blobs.scratch_writer import ScratchWriter

__all__ = ["DirectoryWriter"]


class DirectoryWriter(ScratchWriter):
    """A writer whose file gets another name in the end."""

    def move_to(self, final: str) -> None:
        """Gives the synced file its final name, in place of whatever has it. OSError."""
        if self.memory is not None:
            os.rename(self.path, final)  # noqa: PTH104  thousands of them
            self.path = ""
            return
        # The temporary name is kept: nothing else could bring the bytes back.
        try:
            os.link(self.path, final)
        except FileExistsError:
            substitute = self.scratch.new_path()
            os.link(self.path, substitute)
            os.replace(substitute, final)  # noqa: PTH105  as above
