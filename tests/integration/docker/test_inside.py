"""What a worker's container may do, asserted by a task from inside it, and what its inspection shows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from taskmaster_desktop.backend.containers.mounts import Mount
from taskmaster_desktop.backend.model import Outcome
from tests.helpers.containers import OWN_IMAGE, Containers, running_containers, short_folder

pytestmark = pytest.mark.docker

SECRET = "nobody-else-may-read-this-1f0c"


@pytest.fixture(scope="module")
def worker(docker_engine: docker.APIClient) -> Iterator[Containers]:
    """One worker of the default profile, apart from its environment; tests only look at it."""
    profile = replace(OWN_IMAGE, env={"API_TOKEN": SECRET})
    with (
        short_folder() as folder,
        running_containers(folder, docker_engine, workers=1, profile=profile) as running,
    ):
        yield running


def test_a_command_has_no_privilege(worker: Containers) -> None:
    assert worker.lines("id -u; id -g") == ["1000", "1000"]
    status = dict(line.split(":\t") for line in worker.lines("cat /proc/self/status") if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert worker.lines("unshare -U true 2>/dev/null && echo allowed || echo denied") == ["denied"]


def test_only_tmp_and_the_home_folder_can_be_written(worker: Containers) -> None:
    tried = 'for f in / /etc /usr /opt/taskmaster /var /run /tmp "$HOME"; do'
    tried += ' if (: > "$f/x") 2>/dev/null; then echo "$f"; fi; done'
    assert worker.lines(tried) == ["/tmp", "/home/taskmaster"]
    mounts = {line.split()[1]: line.split()[3] for line in worker.lines("cat /proc/mounts")}
    assert "ro" in mounts["/"].split(",")
    for folder in ("/tmp", "/home/taskmaster"):
        assert {"nosuid", "nodev", "rw"} <= set(mounts[folder].split(","))


def test_limits_of_memory_processes_and_files_hold(worker: Containers) -> None:
    described = worker.inspect(worker.workers()[0])["HostConfig"]
    assert described["MemorySwap"] == described["Memory"] == 512 * 2**20
    either = "cat /sys/fs/cgroup/{0} 2>/dev/null || cat /sys/fs/cgroup/{1}"
    assert worker.lines(either.format("memory/memory.limit_in_bytes", "memory.max")) == [str(512 * 2**20)]
    assert worker.lines(either.format("pids/pids.max", "pids.max")) == ["256"]
    assert worker.lines("ulimit -n; ulimit -c") == ["1024", "0"]


def test_a_fork_bomb_stays_in_its_container(docker_engine: docker.APIClient) -> None:
    profile = replace(OWN_IMAGE, pids=64)
    with (
        short_folder() as folder,
        running_containers(folder, docker_engine, workers=1, profile=profile) as running,
    ):
        many = "for i in $(seq 200); do /bin/sleep 30 & done 2>/dev/null; exit 3"
        submitted = running.submit(many)
        assert running.done(submitted).failed == 1
        assert running.lines("echo still here") == ["still here"]
        assert len(running.workers()) == 1


def test_there_is_no_way_to_the_engine(worker: Containers) -> None:
    assert worker.lines("ls /var/run/docker.sock /run/docker.sock 2>/dev/null; echo none") == ["none"]
    assert worker.lines("find / -type s -not -path '/proc/*' 2>/dev/null; echo none") == ["none"]
    assert worker.lines("test -S /run/taskmaster/worker.sock && echo ours") == ["ours"]


def test_the_environment_reaches_commands_and_nothing_else(worker: Containers) -> None:
    environment = dict(line.split("=", 1) for line in worker.lines("env"))
    assert environment.pop("API_TOKEN") == SECRET
    shell = {"PWD", "SHLVL", "_", "OLDPWD"}
    told = {"TASKMASTER_TASK_ID", "TASKMASTER_TASK_NUMBER", "TASKMASTER_ATTEMPT", "TASKMASTER_WORKER"}
    assert set(environment) - shell <= {"PATH", "HOME", "LANG", "TMPDIR"} | told
    assert not any("PRIVATE KEY" in value for value in environment.values())


def test_an_inspection_shows_nothing_secret(worker: Containers) -> None:
    record = worker.workers()[0]
    described = json.dumps(worker.inspect(record))
    listed = json.dumps(worker.client.containers(all=True, filters={"id": worker.container(record)}))
    logged = worker.client.logs(worker.container(record)).decode()
    for text in (described, listed, logged):
        assert SECRET not in text
        assert "PRIVATE KEY" not in text
        assert "BEGIN CERTIFICATE" not in text


def test_a_command_finds_no_secret_at_the_agent(worker: Containers) -> None:
    everything = worker.lines("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'")
    assert any("taskmaster_worker" in line for line in everything)
    assert not any("PRIVATE KEY" in line for line in everything)


@pytest.mark.parametrize("network", [True, False], ids=["on", "off"])
def test_the_network_is_on_or_off_and_workers_come_up_either_way(
    docker_engine: docker.APIClient, network: bool
) -> None:
    profile = replace(OWN_IMAGE, network=network)
    with (
        short_folder() as folder,
        running_containers(folder, docker_engine, workers=1, profile=profile) as running,
    ):
        interfaces = set(running.lines("ls /sys/class/net"))
        assert interfaces >= {"lo"}
        assert ("eth0" in interfaces) is network
        assert len(running.lines("cat /proc/net/route")) == (3 if network else 1)


def test_mounts_lie_at_their_own_path_and_belong_to_their_owner(
    docker_engine: docker.APIClient, tmp_path: Path
) -> None:
    read_only, writable = tmp_path / "read only", tmp_path / "writable"
    for mounted in (read_only, writable):
        mounted.mkdir()
        (mounted / "there").write_text(mounted.name)
    os.chown(writable, 1234, 2345)
    profile = replace(
        OWN_IMAGE,
        mounts=(Mount(path=str(read_only), read_only=True), Mount(path=str(writable), read_only=False)),
    )
    with (
        short_folder() as folder,
        running_containers(folder, docker_engine, workers=1, profile=profile) as running,
    ):
        assert running.lines(f"id -u; id -g; cat '{read_only}/there'") == ["1234", "2345", "read only"]
        assert running.lines(f"echo new > '{writable}/made'; touch ~/x /tmp/x; echo done") == ["done"]
        submitted = running.submit(f"echo new > '{read_only}/made'")
        assert running.done(submitted).failed == 1
        assert running.task(submitted.batch.first_task).outcome is Outcome.FAILED
    assert (writable / "made").read_text() == "new\n"
    assert ((writable / "made").stat().st_uid, (writable / "made").stat().st_gid) == (1234, 2345)
    assert not (read_only / "made").exists()
