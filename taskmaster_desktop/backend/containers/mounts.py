"""Which folders of this machine a worker may see. Pure apart from looking at the folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from taskmaster_desktop.backend.errors import UserError

# A container that can write there, or read secrets there, is as good as the host itself.
_FORBIDDEN = ("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys",
              "/usr", "/var", "/var/lib", "/var/run")  # fmt: skip
# Nothing beneath them either.
_CLOSED = ("/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/var/lib/docker", "/var/run")
LOOKED_AT = 20_000
"""How many entries of a folder are looked at for sockets before it is trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder of this machine, seen by workers at its own path, so that file names mean the same inside."""

    path: str
    read_only: bool

    @property
    def bind(self) -> str:
        return f"{self.path}:{self.path}:{'ro' if self.read_only else 'rw'}"


def parse_mount(
    text: str, *, allowed: Sequence[str], private: Path | None = None, home: Path | None = None
) -> Mount:
    """`FOLDER` or `FOLDER:ro` or `FOLDER:rw`; read-only unless it says otherwise.

    `allowed` are the folders in and beneath which a mount may lie; empty: anywhere that is not forbidden.
    `private` is the data folder: whoever reads the keys there can pass for any worker.
    Raises UserError: no such folder, a forbidden one, a socket in it, or not allowed.
    """
    path, read_only = _split(text)
    real = os.path.realpath(path)
    if not Path(path).is_absolute() or ":" in path + real:
        raise UserError(f"A mount must be an absolute path without a colon, not {text!r}.", field="mounts")
    if not Path(real).is_dir():
        raise UserError(f"There is no folder {path} to mount.", field="mounts")
    _refuse_forbidden(path, real, os.path.realpath(home or Path.home()))
    if private is not None:
        _refuse_private(path, real, os.path.realpath(private))
    _refuse_sockets(path, real)
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


def _refuse_private(path: str, real: str, private: str) -> None:
    if _within(private, real) or _within(real, private):
        raise UserError(
            f"{path} may not be mounted: the data folder of TaskMaster lies in it or around it.",
            field="mounts",
        )


def _refuse_sockets(path: str, real: str) -> None:
    try:
        socket = next(_sockets_in(real), None)
    except OSError as error:
        raise UserError(f"{path} cannot be looked at ({error.strerror}).", field="mounts") from error
    if socket is not None:
        raise UserError(f"{path} may not be mounted: it holds the socket {socket}.", field="mounts")


def _sockets_in(folder: str) -> Iterator[str]:
    """Those in it and beneath it, among the first `LOOKED_AT` entries; links are not followed downwards."""
    waiting = [folder]
    looked_at = 0
    while waiting and looked_at < LOOKED_AT:
        inside = waiting.pop(0)
        try:
            entries = list(os.scandir(inside))
        except OSError:
            if inside == folder:
                raise
            continue  # one that this user cannot look into
        looked_at += len(entries)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif not entry.is_file(follow_symlinks=False) and _is_socket(entry):
                yield os.path.relpath(entry.path, folder)


def _is_socket(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISSOCK(entry.stat(follow_symlinks=True).st_mode)
    except OSError:
        return False  # a link that leads nowhere


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
