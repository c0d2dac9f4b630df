"""Makes what the Docker tests need where no image can be pulled: two base images and the agent's wheels.

`taskmaster-test-base:bookworm` is a Debian with its Python, `taskmaster-test-busybox:1` has nothing but one static
busybox, and `build/wheels` holds what worker_image/requirements.txt names, for the Python of that Debian. Each is
made only if it is missing. Needs root, the Debian archive that apt is set up for, and an engine.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import docker
import docker.utils

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "worker_image" / "requirements.txt"
WHEELS = ROOT / "build" / "wheels"
SUITE = "bookworm"
PYTHON_OF_SUITE = "3.11"
BASE_IMAGE = f"taskmaster-test-base:{SUITE}"
BUSYBOX_IMAGE = "taskmaster-test-busybox:1"
ENGINE_TIMEOUT_S = 300
# The engine makes its own devices; the rest is for people and for apt, and half of the whole.
LEFT_OUT = (
    "dev", "usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man", "var/cache", "var/lib/apt/lists",
    "var/log",
)  # fmt: skip


def run(*command: str, cwd: Path | None = None) -> str:
    """Runs a program to its end and returns what it prints.

    Raises:
        SystemExit: it failed; says how, with the end of what it printed.
    """
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = "\n".join((ended.stdout + ended.stderr).splitlines()[-20:])
        raise SystemExit(f"{' '.join(command)} ended with exit code {ended.returncode}:\n{last}")
    return ended.stdout


def make_wheels() -> bool:
    """Downloads the agent's locked dependencies; False if they are there already."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = WHEELS / ".requirements.sha256"
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return False
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir(parents=True)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
    # The Python of the base image decides, not the one that runs this script.
    kind = ("--only-binary", ":all:", "--python-version", PYTHON_OF_SUITE, "--implementation", "cp")
    run(*pip, *kind, "--require-hashes", "-r", str(REQUIREMENTS), "-d", str(WHEELS))
    stamp.write_text(wanted, encoding="ascii")
    return True


def make_base(api: docker.APIClient) -> bool:
    """Bootstraps a small Debian with Python and imports it; False if the engine has it already."""
    if has_image(api, BASE_IMAGE):
        return False
    if shutil.which("debootstrap") is None:
        run("apt-get", "update", "-q")
        needed = ("debootstrap", "debian-archive-keyring", "gpgv")
        run("apt-get", "install", "-qy", "--no-install-recommends", *needed)
    with tempfile.TemporaryDirectory(prefix="taskmaster-base-") as folder:
        root = Path(folder, "root")
        bootstrap = ("debootstrap", "--variant=minbase", "--include=python3,python3-venv")
        run(*bootstrap, SUITE, str(root), *configured_archive())
        archive = Path(folder, "root.tar")
        without = [f"--exclude=./{part}/*" for part in LEFT_OUT]
        run("tar", "-C", str(root), "--one-file-system", *without, "-cf", str(archive), ".")
        import_image(api, archive, BASE_IMAGE)
    return True


def configured_archive() -> list[str]:
    """The address of the Debian archive that apt uses here; without one debootstrap has its own idea."""
    lines = run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
    found = [line.split()[1] for line in lines.splitlines() if line.split()[:1] == [SUITE]]
    return found[:1]


def make_busybox(api: docker.APIClient) -> bool:
    """Imports an image of one static program: no libc, no Python; False if the engine has it already."""
    if has_image(api, BUSYBOX_IMAGE):
        return False
    with tempfile.TemporaryDirectory(prefix="taskmaster-busybox-") as folder:
        unpacked = Path(folder, "unpacked")
        # Not installed: that would replace the busybox this machine may have.
        run("apt-get", "update", "-q")
        run("apt-get", "-o", "APT::Sandbox::User=root", "download", "busybox-static", cwd=Path(folder))
        (package,) = Path(folder).glob("busybox-static_*.deb")
        run("dpkg-deb", "--extract", str(package), str(unpacked))
        program = unpacked / "bin" / "busybox"
        archive = Path(folder, "root.tar")
        archive.write_bytes(busybox_root(program.read_bytes(), run(str(program), "--list").split()))
        import_image(api, archive, BUSYBOX_IMAGE)
    return True


def busybox_root(program: bytes, applets: list[str]) -> bytes:
    """A tar of /tmp and /bin with the program and a link to it for each of its names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("tmp", 0o1777)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        entry = tarfile.TarInfo("bin/busybox")
        entry.mode, entry.size = 0o755, len(program)
        tar.addfile(entry, io.BytesIO(program))
        for applet in applets:
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    return buffer.getvalue()


def has_image(api: docker.APIClient, name: str) -> bool:
    return bool(api.images(name, quiet=True))


def import_image(api: docker.APIClient, archive: Path, name: str) -> None:
    """Makes an image of one layer from a tar."""
    repository, tag = name.split(":")
    answer = api.import_image_from_file(str(archive), repository=repository, tag=tag)
    if not has_image(api, name):
        raise SystemExit(f"the engine did not import {name}: {answer}")


def main() -> int:
    """Makes what is missing and says how long that took."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    api = docker.APIClient(**docker.utils.kwargs_from_env(), timeout=ENGINE_TIMEOUT_S)
    steps: dict[str, Callable[[], bool]] = {
        str(WHEELS.relative_to(ROOT)): make_wheels,
        BUSYBOX_IMAGE: lambda: make_busybox(api),
        BASE_IMAGE: lambda: make_base(api),
    }
    try:
        for name, make in steps.items():
            started = time.monotonic()
            made = make()
            print(
                f"{name}: made in {time.monotonic() - started:.1f} s" if made else f"{name}: is there",
                flush=True,
            )
    finally:
        api.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
