"""The parts of worker_image/bundle.py that need no image; the whole is tested by building one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from taskmaster_desktop.backend.containers.image import AGENT_COMMAND, AGENT_FOLDER
from tests.helpers.source_rules import ROOT

LISTING = """\
/opt/x/a.so:
\tlinux-vdso.so.1 (0x00007ffd3a5f2000)
\tlibstdc++.so.6 => /lib/x86_64-linux-gnu/libstdc++.so.6 (0x00007f3ea6400000)
\tlibpython3.11.so.1.0 => /usr/local/bin/../lib/libpython3.11.so.1.0 (0x00007f3ea5000000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f3ea795e000)
/opt/x/with space.so:
\tstatically linked
"""


@pytest.fixture
def bundle() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundle", ROOT / "worker_image" / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_listing(bundle: ModuleType) -> None:
    assert [str(path) for path in bundle.read_listing(LISTING)] == [
        "/lib/x86_64-linux-gnu/libstdc++.so.6",
        "/usr/local/bin/../lib/libpython3.11.so.1.0",
        "/lib64/ld-linux-x86-64.so.2",
    ]


def test_missing_library_is_named(bundle: ModuleType) -> None:
    with pytest.raises(bundle.BundleProblem, match=r"library libx\.so\.1 is missing"):
        list(bundle.read_listing("\tlibx.so.1 => not found\n"))


def test_it_is_tested_with_the_command_that_starts_it(bundle: ModuleType) -> None:
    command = [*bundle.start_command(Path(AGENT_FOLDER)), "-m", "taskmaster_worker"]
    assert tuple(command) == AGENT_COMMAND
