"""The committed protocol code is what `make proto` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import gen_proto


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return gen_proto.generate()


@pytest.mark.parametrize("target", gen_proto.TARGETS, ids=["engine", "agent"])
def test_generated_code_is_current(target: Path, files: dict[str, str]) -> None:
    assert gen_proto.outdated(target, files) == [], "run `make proto`"


def test_every_difference_is_noticed_and_mended(tmp_path: Path, files: dict[str, str]) -> None:
    target = tmp_path / "_pb"
    assert gen_proto.outdated(target, files) == sorted(files)
    gen_proto.write(target, files)
    assert gen_proto.outdated(target, files) == []
    (target / "worker_pb2.py").write_text("changed")
    (target / "worker_pb2.pyi").unlink()
    (target / "left_over_pb2.py").touch()
    assert gen_proto.outdated(target, files) == ["left_over_pb2.py", "worker_pb2.py", "worker_pb2.pyi"]
    gen_proto.write(target, files)
    assert gen_proto.outdated(target, files) == []
