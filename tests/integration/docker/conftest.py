"""A real Docker Engine with the images that tests start from."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
from collections.abc import Iterator

import docker
import docker.errors
import docker.utils
import pytest

from tests.helpers.source_rules import ROOT

ANSWER_TIMEOUT_S = 120
# The first test of a run may have to make a Debian and the worker image.
TEST_TIMEOUT_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("docker") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[docker.APIClient]:
    """A client of the engine, for the tests' own questions; skips where none answers. Both base images and
    the folder of wheels are there afterwards."""
    client = connect()
    if isinstance(client, str):
        pytest.skip(f"no Docker Engine answers: {client}")
    try:
        made = subprocess.run(
            [sys.executable, ROOT / "scripts" / "make_test_base.py"],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            pytest.fail(f"the base images could not be made:\n{made.stdout}{made.stderr}", pytrace=False)
        yield client
    finally:
        client.close()


def connect() -> docker.APIClient | str:
    """A client that has had an answer, or why there is none."""
    with warnings.catch_warnings():
        # WORKAROUND: the SDK does not close a socket it cannot connect, https://github.com/docker/docker-py/pull/3356
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            # With no version given it asks the engine for it.
            return docker.APIClient(**docker.utils.kwargs_from_env(), timeout=ANSWER_TIMEOUT_S)
        except docker.errors.DockerException as error:
            reason = str(error)
        gc.collect()
    return reason
