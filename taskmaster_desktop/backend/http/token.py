"""The secret that lets in whoever is not known to be this user: 256 bits in a file that only they can read."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import stat
from pathlib import Path

from taskmaster_desktop.backend.errors import EnvironmentProblem

log = logging.getLogger(__name__)

TOKEN_FILE = "token"
TOKEN_BYTES = 32
_FORM = re.compile(r"[A-Za-z0-9_-]{43}")


def token_file(run_dir: Path) -> Path:
    return run_dir / TOKEN_FILE


def load_token(run_dir: Path) -> str:
    """The token of this instance, made if there is none. May be called by several processes at once.

    A file that others could read, or that holds no token, is replaced. Raises EnvironmentProblem where it can
    be neither read nor written.
    """
    file = token_file(run_dir)
    try:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = _read(file)
        return known if known is not None else _make(file)
    except OSError as error:
        raise EnvironmentProblem(
            f"The token for HTTP cannot be kept in {file} ({error.strerror}).",
            fix="Make the folder writable for this user, or switch HTTP off with --no-api.",
        ) from error


def same_token(given: bytes, token: str) -> bool:
    """Takes as long for a near miss as for any other."""
    return secrets.compare_digest(given, token.encode())


def _read(file: Path) -> str | None:
    """None where there is no token that only we know; a useless file is removed."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s is no readable file (%s), so a new token is made", file, error.strerror)
        file.unlink()
        return None
    with os.fdopen(opened, encoding="ascii", errors="replace") as reader:
        about = os.fstat(opened)
        text = reader.read(1024).strip()
    private = os.name != "posix" or not (stat.S_IMODE(about.st_mode) & 0o077 or about.st_uid != os.geteuid())
    if private and _FORM.fullmatch(text):
        return text
    log.warning("%s %s, so a new token is made", file, "holds no token" if private else "was open to others")
    file.unlink()
    return None


def _make(file: Path) -> str:
    """Whoever of several comes first makes it; the file is whole when it appears."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    draft = file.with_name(f".{file.name}-{secrets.token_hex(8)}")
    created = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(created, "w", encoding="ascii") as writer:
        writer.write(token + "\n")
        writer.flush()
        os.fsync(writer.fileno())
    try:
        os.link(draft, file)
    except FileExistsError:
        other = _read(file)
        if other is not None:
            return other
        return _make(file)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return token
