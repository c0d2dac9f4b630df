"""Which folders workers may see, on a machine of the test's own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from taskmaster_desktop.backend.containers.mounts import Mount, owner_of, parse_mount
from taskmaster_desktop.backend.errors import UserError

HOME = "home/ann"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / HOME / "work" / "deep").mkdir(parents=True)
    return tmp_path


def parse(machine: Path, text: str, **more: object) -> Mount:
    return parse_mount(text, **{"allowed": (), "home": machine / HOME, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(("ending", "read_only"), [("", True), (":ro", True), (":rw", False)])
def test_a_mount_is_read_only_unless_it_says_otherwise(machine: Path, ending: str, read_only: bool) -> None:
    folder = f"{machine}/{HOME}/work"
    mount = parse(machine, folder + ending)
    assert mount == Mount(path=folder, read_only=read_only)
    assert mount.bind == f"{folder}:{folder}:{'ro' if read_only else 'rw'}"


@pytest.mark.parametrize(
    "folder",
    ["/", "//", "/etc", "/etc/ssl", "/proc/self", "/sys", "/dev/shm", "/run", "/var/run", "/var", "/usr", "/home",
     "/tmp/../etc", "/root"],
)  # fmt: skip
def test_folders_of_the_system_are_refused(machine: Path, folder: str) -> None:
    with pytest.raises(UserError, match=r"may not be mounted|There is no folder") as caught:
        parse(machine, folder)
    assert caught.value.field == "mounts"


@pytest.mark.parametrize("folder", [HOME, "home", ".", f"{HOME}/work/.."])
def test_the_home_folder_and_what_holds_it_are_refused(machine: Path, folder: str) -> None:
    with pytest.raises(UserError, match="is or holds your whole home folder"):
        parse(machine, f"{machine}/{folder}")


@pytest.mark.parametrize("target", ["/", "/etc", f"../../{HOME}"])
def test_a_link_is_judged_by_where_it_leads(machine: Path, target: str) -> None:
    link = machine / HOME / "link"
    link.symlink_to(target)
    with pytest.raises(UserError, match="may not be mounted"):
        parse(machine, str(link))


def test_a_link_to_a_harmless_folder_stands_for_that_folder(machine: Path) -> None:
    link = machine / HOME / "link"
    link.symlink_to("work")
    assert parse(machine, str(link)).path == f"{machine}/{HOME}/work"


@pytest.mark.parametrize("place", ["x", "deep/x"])
def test_a_folder_with_a_socket_is_refused(
    machine: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(machine / HOME / "work")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)  # a short name: the folder's whole path may be too long for one
        with pytest.raises(UserError, match=f"it holds the socket {place}"):
            parse(machine, f"{machine}/{HOME}/work")


def test_a_link_to_a_socket_counts_and_one_to_nowhere_does_not(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = machine / HOME / "work"
    (work / "nowhere").symlink_to("gone")
    assert parse(machine, str(work))
    monkeypatch.chdir(machine)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("x")
        (work / "link").symlink_to(machine / "x")
        with pytest.raises(UserError, match="it holds the socket link"):
            parse(machine, str(work))


@pytest.mark.parametrize("folder", [f"{HOME}/data", f"{HOME}/data/tls", f"{HOME}/around"])
def test_the_data_folder_and_what_is_in_or_around_it_are_refused(machine: Path, folder: str) -> None:
    for name in ("data/tls", "around/it"):
        (machine / HOME / name).mkdir(parents=True)
    private = machine / HOME / ("around/it" if "around" in folder else "data")
    with pytest.raises(UserError, match="data folder of TaskMaster"):
        parse(machine, f"{machine}/{folder}", private=private)
    assert parse(machine, f"{machine}/{HOME}/work", private=private)


@pytest.mark.parametrize("text", ["work", "./work", "", "work:ro", "/a:b", "/a:b:ro", "/work:wr"])
def test_what_is_no_absolute_path_is_refused(machine: Path, text: str) -> None:
    with pytest.raises(UserError, match="absolute path without a colon"):
        parse(machine, text)


def test_a_link_to_a_folder_with_a_colon_is_refused(machine: Path) -> None:
    (machine / HOME / "a:rw").mkdir()
    (machine / HOME / "link").symlink_to("a:rw")
    with pytest.raises(UserError, match="without a colon"):
        parse(machine, f"{machine}/{HOME}/link")


def test_what_is_no_folder_is_refused(machine: Path) -> None:
    (machine / HOME / "file").touch()
    for name in ("file", "absent"):
        with pytest.raises(UserError, match="There is no folder"):
            parse(machine, f"{machine}/{HOME}/{name}")


def test_only_allowed_folders_and_what_is_beneath_them_can_be_mounted(machine: Path) -> None:
    allowed = (f"{machine}/{HOME}/work", "/srv")
    assert parse(machine, f"{machine}/{HOME}/work", allowed=allowed)
    assert parse(machine, f"{machine}/{HOME}/work/deep", allowed=allowed)
    (machine / HOME / "workshop").mkdir()
    (machine / HOME / "work" / "out").symlink_to(machine / HOME / "workshop")
    for folder in ("workshop", "work/out"):
        with pytest.raises(UserError, match="in none of the allowed folders"):
            parse(machine, f"{machine}/{HOME}/{folder}", allowed=allowed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_workers_run_as_the_owner_of_the_first_writable_folder_and_never_as_root(machine: Path) -> None:
    folders = [machine / name for name in ("of-root", "of-1234", "of-5678", "read-only")]
    for folder, owner in zip(folders, (0, 1234, 5678, 999), strict=True):
        folder.mkdir()
        os.chown(folder, owner, owner + 1)
    mounts = [Mount(path=str(folder), read_only=folder.name == "read-only") for folder in folders]
    assert owner_of([mounts[3], *mounts[:3]]) == (1234, 1235)
    assert owner_of([mounts[0], mounts[3]]) is None
    assert owner_of([]) is None
