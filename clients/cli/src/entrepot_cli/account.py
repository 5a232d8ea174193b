"""Under whose name PostgreSQL runs: it refuses to be root, so root lends it another identity."""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from entrepot_cli.outcome import StartError

# Accounts that every system, or every system with PostgreSQL, has; we never create one.
NAMES = ("postgres", "nobody")


class NoAccountError(StartError):
    """Root cannot lend PostgreSQL another identity here."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs a program: this user, another one, or this one under another name.

    The last is a user namespace: outside of it nothing changes.
    """

    user: int | None = None
    group: int | None = None
    prefix: tuple[str, ...] = ()

    def own(self, path: Path) -> None:
        """Give the account a folder that this process made."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)


def account_for(data_dir: Path, binaries: Path) -> Account:
    """Choose who runs the server on this data folder, of which the folder above exists.

    Its owner if it is there already, else somebody who can reach it.
    """
    if os.geteuid() != 0:
        return Account()
    owner = data_dir.stat().st_uid if data_dir.exists() else None
    if owner:
        entry = pwd.getpwuid(owner)
        return Account(entry.pw_uid, entry.pw_gid)
    entry = _unprivileged()
    if owner is None and _can_reach(entry, data_dir) and _can_reach(entry, binaries / "postgres"):
        return Account(entry.pw_uid, entry.pw_gid)
    renamed = _renamed(entry)
    if renamed is None and owner is None and _let_pass(entry, data_dir):
        return Account(entry.pw_uid, entry.pw_gid)
    if renamed is None:
        raise NoAccountError(
            f"PostgreSQL does not run as root, user {entry.pw_name} cannot reach {data_dir}, and "
            "user namespaces are not allowed here. Start as another user, or set ENTREPOT_HOME to "
            "a folder whose parents others may pass through, or ENTREPOT_DATABASE_URL to a server."
        )
    return renamed


def _unprivileged() -> pwd.struct_passwd:
    for name in NAMES:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoAccountError(
        f"PostgreSQL does not run as root, and there is no user {' or '.join(NAMES)}."
    )


def _can_reach(entry: pwd.struct_passwd, path: Path) -> bool:
    return all(_may_pass(entry, folder) for folder in path.resolve().parents if folder.exists())


def _may_pass(entry: pwd.struct_passwd, folder: Path) -> bool:
    status = folder.stat()
    if status.st_uid == entry.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == entry.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _let_pass(entry: pwd.struct_passwd, data_dir: Path) -> bool:
    """Let others pass through the folder above, if those further up let them already."""
    home = data_dir.resolve().parent
    if not _can_reach(entry, home):
        return False
    home.chmod(stat.S_IMODE(home.stat().st_mode) | stat.S_IXGRP | stat.S_IXOTH)
    return True


def _renamed(entry: pwd.struct_passwd) -> Account | None:
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    prefix = (unshare, "--user", f"--map-user={entry.pw_uid}", f"--map-group={entry.pw_gid}")
    tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return Account(prefix=prefix) if tried.returncode == 0 else None
