"""Where things lie on this system: per-user folders and the files shipped inside the package.

Pure look-ups apart from `make_private_folder`; any thread.
"""

from __future__ import annotations

from pathlib import Path

from platformdirs import PlatformDirs

from taskmaster_desktop.backend.errors import EnvironmentProblem

_DIRS = PlatformDirs("taskmaster-desktop", appauthor=False)
_PACKAGE = Path(__file__).resolve().parent


def default_data_dir() -> Path:
    """Database, certificates and workers' files, unless the `data_dir` setting says otherwise."""
    return _DIRS.user_data_path


def default_config_file() -> Path:
    """The `config.toml` that is read when no other is named; it need not exist."""
    return _DIRS.user_config_path / "config.toml"


def default_log_dir() -> Path:
    """The folder for log files of the application itself; it need not exist."""
    return _DIRS.user_log_path


def bundled(*parts: str) -> Path:
    """A file or folder shipped inside the package, such as `bundled("templates", "report.html")`.

    Raises:
        FileNotFoundError: it is not there; the installation is damaged.
    """
    path = _PACKAGE.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing from the installation")
    return path


def make_private_folder(path: Path) -> Path:
    """Creates `path` with its parents if need be and lets nobody but the user in (0700).

    Raises:
        EnvironmentProblem: it cannot be created or closed to others, or something else is in its place.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as err:
        raise EnvironmentProblem(
            f"The folder {path} cannot be used: {err.strerror or err}.",
            fix="Choose another one with --data-dir, or give this user the right to write there.",
        ) from err
    return path
