"""Order of the sources, ranges and the sentence a wrong value gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from taskmaster_desktop import settings as module
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.settings import ENV_PREFIX, Settings, load_settings
from tests.helpers.source_rules import ROOT


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean environment and the place of the default file, which is not there yet."""
    for name in list(os.environ):
        if name.startswith(ENV_PREFIX):
            monkeypatch.delenv(name)
    file = tmp_path / "config.toml"
    monkeypatch.setattr(module, "default_config_file", lambda: file)
    return file


def error_of(flags: dict[str, object]) -> str:
    with pytest.raises(UserError) as caught:
        load_settings(flags)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_defaults() -> None:
    found = load_settings({})
    assert (found.runtime, found.workers, found.slots, found.self_heal) == ("auto", 3, 1, True)
    assert (found.retention_days, found.retention_bytes) == (30, 2 * 2**30)
    assert (found.log_level, found.log_format, found.database_url) == ("info", "text", None)
    assert found.data_dir.is_absolute()


def test_flags_beat_environment_beats_file_beats_default(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("workers = 5\nslots = 5\nretention_days = 5\n")
    monkeypatch.setenv("TASKMASTER_DESKTOP_WORKERS", "6")
    monkeypatch.setenv("TASKMASTER_DESKTOP_SLOTS", "6")
    found = load_settings({"workers": 7, "slots": None})
    assert (found.workers, found.slots, found.retention_days) == (7, 6, 5)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMASTER_DESKTOP_WORKERS", "")
    assert load_settings({}).workers == 3


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings({}).workers = 4


GOOD: list[tuple[str, object, object]] = [
    ("workers", "0", 0),
    ("workers", 50, 50),
    ("slots", 64, 64),
    ("self_heal", "false", False),
    ("retention_days", 1, 1),
    ("retention_bytes", "500MB", 500_000_000),
    ("retention_bytes", "2GiB", 2 * 2**30),
    ("log_level", "DEBUG", "debug"),
    ("runtime", "process", "process"),
]


@pytest.mark.parametrize(("name", "value", "expected"), GOOD)
def test_good_values(name: str, value: object, expected: object) -> None:
    assert getattr(load_settings({name: value}), name) == expected


BAD: list[tuple[str, object]] = [
    ("workers", -1),
    ("workers", 51),
    ("workers", "three"),
    ("workers", 2.5),
    ("workers", True),
    ("workers", "9" * 10_000),
    ("slots", 0),
    ("slots", 65),
    ("self_heal", "perhaps"),
    ("retention_days", 0),
    ("retention_bytes", "1 byte"),
    ("retention_bytes", True),
    ("retention_bytes", "2 XB"),
    ("runtime", "podman"),
    ("log_level", "loud"),
    ("log_level", 3),
    ("log_format", "xml"),
    ("data_dir", ""),
    ("data_dir", 7),
    ("data_dir", "a\0b"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_names_field_range_and_flag(name: str, value: object) -> None:
    text = error_of({name: value})
    allowed = Settings.model_fields[name].description
    assert text.startswith(f"{name} must be {allowed}, but the flag --{name.replace('_', '-')} says ")
    assert len(text) < 300


def test_a_bad_value_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMASTER_DESKTOP_WORKERS", "99")
    assert error_of({}) == (
        "workers must be a whole number from 0 to 50, "
        "but the environment variable TASKMASTER_DESKTOP_WORKERS says '99'."
    )


def test_a_bad_value_in_the_file_names_the_file(config: Path) -> None:
    config.write_text("slots = true\n")
    assert error_of({}) == f"slots must be a whole number from 1 to 64, but the file {config} says True."


def test_an_unknown_name_in_the_file_is_refused_with_a_guess(config: Path) -> None:
    config.write_text("wokers = 3\n")
    assert error_of({}) == f"{config} has an unknown setting wokers, did you mean workers?"


def test_a_broken_file_is_named_with_the_line(config: Path) -> None:
    config.write_text("workers = \n")
    assert f"The settings file {config} cannot be read:" in error_of({})
    assert "line 1" in error_of({})


def test_a_file_that_is_not_text_is_named(config: Path) -> None:
    config.write_bytes(b"\xff\xfe\x00")
    assert f"The settings file {config} cannot be read:" in error_of({})


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no settings file .*other\.toml\."):
        load_settings({}, config_file=tmp_path / "other.toml")


def test_the_data_dir_may_not_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert error_of({"data_dir": file}).startswith("data_dir must be the name of a folder, but the flag")


def test_the_data_dir_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_settings({"data_dir": "data"}).data_dir == tmp_path / "data"
    assert load_settings({"data_dir": "~/data"}).data_dir == tmp_path / "home" / "data"


def test_a_password_in_the_database_url_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hunter2" not in repr(load_settings({"database_url": "postgresql://me:hunter2@host/db"}))
    monkeypatch.setenv("TASKMASTER_DESKTOP_DATABASE_URL", "hunter2")
    assert "hunter2" not in error_of({})


def test_the_document_names_every_setting_in_its_order() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    told = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert told == list(Settings.model_fields)


def test_the_document_tells_the_defaults() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = {
        line.split("`")[1]: line.split("|")[2].strip().strip("`")
        for line in text.splitlines()
        if "| `" in line
    }
    for name in (
        "runtime",
        "workers",
        "slots",
        "worker_base",
        "cpus",
        "pids",
        "api_host",
        "api_port",
        "log_level",
    ):
        assert rows[name] == str(Settings.model_fields[name].default)
    for name in ("self_heal", "network", "read_only", "api"):
        assert rows[name] == str(Settings.model_fields[name].default).lower()
