"""The token's file: made once, private, whole, and replaced where it cannot be trusted."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.http.token import load_token, same_token, token_file


def test_it_is_made_once_and_is_private(tmp_path: Path) -> None:
    run_dir = tmp_path / "data" / "run"
    token = load_token(run_dir)
    assert len(token) == 43  # 256 bit
    assert load_token(run_dir) == token
    assert stat.S_IMODE(token_file(run_dir).stat().st_mode) == 0o600
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
    assert [file.name for file in run_dir.iterdir()] == ["token"]


def test_every_instance_has_its_own(tmp_path: Path) -> None:
    assert load_token(tmp_path / "a") != load_token(tmp_path / "b")


def test_several_who_come_at_once_get_the_same(tmp_path: Path) -> None:
    tokens: list[str] = []
    together = threading.Barrier(8)

    def load() -> None:
        together.wait()
        tokens.append(load_token(tmp_path))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8
    assert len(set(tokens)) == 1


@pytest.mark.expects_logs
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666])
def test_one_that_others_could_read_is_replaced(tmp_path: Path, mode: int) -> None:
    token = load_token(tmp_path)
    token_file(tmp_path).chmod(mode)
    assert load_token(tmp_path) != token
    assert stat.S_IMODE(token_file(tmp_path).stat().st_mode) == 0o600


@pytest.mark.expects_logs
@pytest.mark.parametrize("text", ["", "short", "x" * 44, "\n" * 2000])
def test_a_file_without_a_token_is_replaced(tmp_path: Path, text: str) -> None:
    file = token_file(tmp_path)
    file.write_text(text)
    file.chmod(0o600)
    assert len(load_token(tmp_path)) == 43


@pytest.mark.expects_logs
def test_a_link_to_elsewhere_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("x" * 43)
    elsewhere.chmod(0o600)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    token_file(run_dir).symlink_to(elsewhere)
    assert load_token(run_dir) != "x" * 43
    assert elsewhere.read_text() == "x" * 43


def test_a_folder_that_cannot_be_used_is_said_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(EnvironmentProblem, match="token"):
        load_token(tmp_path / "run")


def test_comparing() -> None:
    assert same_token(b"abc", "abc")
    for other in (b"", b"ab", b"abd", b"abcd", "ab\xe9".encode("latin-1")):
        assert not same_token(other, "abc")
