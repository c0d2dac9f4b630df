"""Which folders of this machine a worker may see. Pure apart from looking at the folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from taskmaster_desktop.backend.errors import UserError

# A container that can write there, or read secrets there, is as good as the host itself.
_FORBIDDEN = ("/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys",
              "/usr", "/var", "/var/lib", "/var/run")  # fmt: skip
# Nothing beneath them either.
_CLOSED = ("/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/var/lib/docker", "/var/run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder of this machine, seen by workers at its own path, so that file names mean the same inside."""

    path: str
    read_only: bool

    @property
    def bind(self) -> str:
        return f"{self.path}:{self.path}:{'ro' if self.read_only else 'rw'}"


def parse_mount(text: str, *, allowed: Sequence[str], home: Path | None = None) -> Mount:
    """`FOLDER` or `FOLDER:ro` or `FOLDER:rw`; read-only unless it says otherwise.

    `allowed` are the folders in and beneath which a mount may lie; empty: anywhere that is not forbidden.
    Raises UserError: no such folder, a forbidden one, a socket in it, or not allowed.
    """
    path, read_only = _split(text)
    if not Path(path).is_absolute() or ":" in path:
        raise UserError(f"A mount must be an absolute path without a colon, not {text!r}.", field="mounts")
    real = os.path.realpath(path)
    if not Path(real).is_dir():
        raise UserError(f"There is no folder {path} to mount.", field="mounts")
    _refuse_forbidden(path, real, os.path.realpath(home or Path.home()))
    if allowed and not any(_within(real, os.path.realpath(root)) for root in allowed):
        raise UserError(
            f"{path} may not be mounted: it lies in none of the allowed folders ({', '.join(allowed)}).",
            field="mounts",
        )
    return Mount(path=real, read_only=read_only)


def _split(text: str) -> tuple[str, bool]:
    for ending, read_only in ((":ro", True), (":rw", False)):
        if text.endswith(ending):
            return text.removesuffix(ending), read_only
    return text, True


def _refuse_forbidden(path: str, real: str, home: str) -> None:
    if real in _FORBIDDEN or any(_within(real, closed) for closed in _CLOSED):
        raise UserError(f"{path} may not be mounted: it belongs to the system.", field="mounts")
    if _within(home, real):
        raise UserError(
            f"{path} may not be mounted: it is or holds your whole home folder. Choose a folder inside it.",
            field="mounts",
        )
    try:
        with os.scandir(real) as entries:
            sockets = [
                entry.name for entry in entries if stat.S_ISSOCK(entry.stat(follow_symlinks=True).st_mode)
            ]
    except OSError as error:
        raise UserError(f"{path} cannot be looked at ({error.strerror}).", field="mounts") from error
    if sockets:
        raise UserError(f"{path} may not be mounted: it holds the socket {sockets[0]}.", field="mounts")


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def owner_of(mounts: Sequence[Mount]) -> tuple[int, int] | None:
    """Who a worker runs as: the owner of the first folder that it may write; never root."""
    for mount in mounts:
        if not mount.read_only:
            found = Path(mount.path).stat()
            if found.st_uid:
                return found.st_uid, found.st_gid
    return None
