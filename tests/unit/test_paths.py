"""Folders of this user and files of the package."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from taskmaster_desktop import paths
from taskmaster_desktop.backend.errors import EnvironmentProblem


def test_default_places_belong_to_this_application() -> None:
    places = [paths.default_data_dir(), paths.default_config_file(), paths.default_log_dir()]
    assert all(place.is_absolute() and "taskmaster-desktop" in place.parts for place in places)
    assert places[1].name == "config.toml"


def test_bundled_files_are_found_and_missing_ones_named() -> None:
    assert paths.bundled("py.typed").is_file()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt is missing"):
        paths.bundled("nowhere.txt")


def test_a_private_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True, mode=0o755)
    assert paths.make_private_folder(folder) == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_in_the_way_is_told_in_one_sentence_with_the_fix(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(EnvironmentProblem, match=r"file cannot be used: File exists\. Choose another"):
        paths.make_private_folder(in_the_way)
