"""What a real agent does with commands and built-in jobs."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from taskmaster_worker._pb import worker_pb2 as pb
from tests.helpers.eventually import until

if TYPE_CHECKING:
    from tests.integration.worker.conftest import Rig

IGNORE_TERM = "trap '' TERM; "


def is_alive(pid: int) -> bool:
    """Running, and not just a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def pids_in(file: Path, count: int) -> list[int]:
    await until(lambda: len(numbers_in(file)) == count, timeout_s=10)
    return numbers_in(file)


def numbers_in(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()] if file.exists() else []


async def test_outcomes_and_exit_codes(rig: Rig, tmp_path: Path) -> None:
    await rig.agent(slots=4)
    not_executable = tmp_path / "plain.txt"
    not_executable.write_text("x")
    no_program = tmp_path / "empty-line"
    no_program.write_text("no interpreter line")
    no_program.chmod(0o755)
    nowhere = str(tmp_path / "nowhere")
    table: list[tuple[str | list[str], dict[str, Any], int, str]] = [
        ("true", {}, 0, ""),
        ("exit 3", {}, 3, "exit code 3"),
        (["/bin/true"], {}, 0, ""),
        (["sh", "-c", "exit 255"], {}, 255, "exit code 255"),
        ("kill -SEGV $$", {}, 139, "SIGSEGV"),
        ("kill -KILL $$", {}, 137, "SIGKILL"),
        (["no-such-program"], {}, 127, "no-such-program was not found"),
        ("no-such-program", {}, 127, "exit code 127"),
        ([str(not_executable)], {}, 126, "cannot be executed"),
        ([str(no_program)], {}, 126, "cannot be executed"),
        (["true"], {"cwd": nowhere}, 127, f"the folder {nowhere} cannot be entered"),
        ("true", {"cwd": str(not_executable)}, 126, "cannot be entered"),
        ([nowhere], {"cwd": nowhere}, 127, "cannot be entered"),
        (["true"], {"env": {"PATH": nowhere}}, 127, "not found"),
        (["a\0b"], {}, 126, "null"),
        ("true", {"env": {"A=B": "x"}}, 126, "illegal environment variable"),
        ("sleep 0", {}, 0, ""),
        ("sleep soon", {}, 2, "sleep SECONDS"),
        ("sleep 1; echo done", {}, 2, "/bin/sleep"),
        ("noop", {}, 0, ""),
        (" noop ", {}, 0, ""),
        ("noop 1", {}, 2, "without arguments"),
        ("demo-job --ms 10", {}, 0, ""),
        ("demo-job --ms 10 --fail-rate 1", {}, 1, "on purpose"),
        ("demo-job --fail-rate 2", {}, 2, "--fail-rate P"),
        ("  ", {}, 126, "empty"),
        ([], {}, 126, "no command"),
        ("true", {"task_id": b"short"}, 126, "task id"),
    ]
    for work, fields, exit_code, sentence in table:
        ended = await rig.engine.run(work, **fields)
        assert ended.exit_code == exit_code, (work, ended)
        assert sentence in ended.reason, (work, ended)
        assert ended.outcome == (pb.OUTCOME_FAILED if exit_code else pb.OUTCOME_COMPLETED)
        assert (ended.reason == "") == (exit_code == 0)
        assert not ended.never_started
        assert rig.engine.started[ended.fence].at_us <= ended.at_us


async def test_an_assignment_without_work_fails(rig: Rig) -> None:
    await rig.agent()
    rig.engine.session.send(pb.EngineMessage(assign=[pb.Assign(task=900, attempt=1, fence=900)]))
    ended = await rig.engine.result(900)
    assert (ended.outcome, ended.exit_code) == (pb.OUTCOME_FAILED, 126)
    assert (await rig.engine.run("true")).outcome == pb.OUTCOME_COMPLETED


async def test_environment_folder_and_standard_input(rig: Rig) -> None:
    await rig.agent(env={"SECRET_OF_THE_HOST": "1", "TZ": "UTC"})
    task_id = uuid.uuid4()
    ended = await rig.engine.run(
        "env; echo PWD_IS=$(pwd); echo LEFT=$(ls -A | wc -l); echo INPUT=$(cat | wc -c); ps -o pgid= -o sid= -p $$",
        task_id=task_id.bytes,
        env={"MINE": "a=b c", "TZ": "Asia/Tokyo"},
    )
    lines = rig.engine.output(ended.fence).decode().splitlines()
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    assert seen["TASKMASTER_TASK_ID"] == str(task_id)
    assert seen["TASKMASTER_TASK_NUMBER"] == str(ended.fence)
    assert seen["TASKMASTER_ATTEMPT"] == "1"
    assert seen["TASKMASTER_WORKER"] == "w1"
    assert seen["MINE"] == "a=b c"
    assert seen["TZ"] == "Asia/Tokyo"
    assert seen["PATH"] == os.environ["PATH"]
    assert seen["LEFT"].strip() == "0"
    assert seen["INPUT"].strip() == "0"
    assert "SECRET_OF_THE_HOST" not in seen
    assert Path(seen["PWD_IS"]).is_relative_to(rig.folder / "work")


async def test_a_command_gets_an_empty_folder_whatever_the_one_before_did(rig: Rig) -> None:
    agent = await rig.agent()
    for mess in (
        "touch x",
        "mkdir -p a/b; touch a/b/c; chmod 0 a",
        "chmod 0 .",
        "rmdir $PWD",
        "ln -s / away",
    ):
        await rig.engine.run(mess)
        ended = await rig.engine.run("ls -A; touch works && rm works")
        assert (ended.exit_code, rig.engine.output(ended.fence)) == (0, b""), mess
    agent.process.terminate()
    assert await agent.exit_code() == 0
    assert list((rig.folder / "work").iterdir()) == []


async def test_a_command_runs_in_its_own_group_inside_the_session_of_the_agent(rig: Rig) -> None:
    agent = await rig.agent()
    ended = await rig.engine.run(["cat", "/proc/self/stat"])
    fields = rig.engine.output(ended.fence).rpartition(b")")[2].split()
    group, session = int(fields[2]), int(fields[3])
    assert session == agent.pid
    assert group != agent.pid


async def test_given_folder(rig: Rig, tmp_path: Path) -> None:
    await rig.agent()
    ended = await rig.engine.run(["pwd"], cwd=str(tmp_path))
    assert rig.engine.output(ended.fence).decode().strip() == str(tmp_path)


async def test_cancel_kills_the_whole_group_though_it_ignores_term(rig: Rig, tmp_path: Path) -> None:
    await rig.agent()
    pids = tmp_path / "pids"
    child = f'sh -c "{IGNORE_TERM}echo \\$\\$ >> {pids}; while :; do /bin/sleep 0.05; done"'
    fence = rig.engine.assign(
        f"{IGNORE_TERM}echo $$ >> {pids}; {child} > /dev/null 2>&1 & {child}", kill_grace_ms=300
    )
    family = await pids_in(pids, 3)
    rig.engine.cancel(fence)
    ended = await rig.engine.result(fence)
    assert (ended.outcome, ended.exit_code) == (pb.OUTCOME_CANCELLED, 137)
    assert ended.duration_us >= 300_000
    await until(lambda: not any(map(is_alive, family)))


async def test_cancel_leaves_the_group_its_grace_after_the_shell_is_gone(rig: Rig, tmp_path: Path) -> None:
    """The shell dies of TERM at once; its child writes to a file and still gets time to end well."""
    await rig.agent()
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    careful = (
        f"trap '/bin/sleep 0.3; touch {saved}; exit' TERM; touch {ready}; while :; do /bin/sleep 0.05; done"
    )
    fence = rig.engine.assign(f'sh -c "{careful}" > /dev/null 2>&1; true', kill_grace_ms=15_000)
    await until(ready.exists, timeout_s=10)
    rig.engine.cancel(fence)
    ended = await rig.engine.result(fence)
    assert (ended.outcome, ended.exit_code) == (pb.OUTCOME_CANCELLED, 143)
    assert saved.exists()
    assert ended.duration_us < 15_000_000


async def test_exit_code_zero_after_cancel_is_still_cancelled(rig: Rig) -> None:
    await rig.agent()
    fence = rig.engine.assign("trap 'exit 0' TERM; echo ready; while :; do /bin/sleep 0.02; done")
    await rig.engine.until(lambda: rig.engine.output(fence))
    rig.engine.cancel(fence)
    ended = await rig.engine.result(fence)
    assert (ended.outcome, ended.exit_code, ended.reason) == (pb.OUTCOME_CANCELLED, 0, "cancelled")


@pytest.mark.parametrize("work", ["/bin/sleep 60", "sleep 60", "demo-job --ms 60000"])
async def test_timeout(rig: Rig, work: str) -> None:
    await rig.agent()
    ended = await rig.engine.run(work, timeout_ms=200)
    assert (ended.outcome, ended.exit_code) == (pb.OUTCOME_TIMEOUT, 143)
    assert "0.2 s" in ended.reason
    assert 200_000 <= ended.duration_us < 10_000_000


async def test_cancel_of_a_waiting_attempt(rig: Rig) -> None:
    await rig.agent()
    running, waiting = rig.engine.assign("sleep 60"), rig.engine.assign("true")
    rig.engine.cancel(waiting, 12345)
    ended = await rig.engine.result(waiting)
    assert (ended.outcome, ended.never_started, ended.duration_us) == (pb.OUTCOME_CANCELLED, True, 0)
    rig.engine.cancel(running)
    ended = await rig.engine.result(running)
    assert (ended.outcome, ended.never_started) == (pb.OUTCOME_CANCELLED, False)
    assert waiting not in rig.engine.started


async def test_recall(rig: Rig) -> None:
    rig.engine.acknowledge = False
    await rig.agent()
    done = (await rig.engine.run("noop")).fence
    running, waiting = rig.engine.assign("sleep 60"), rig.engine.assign("noop")
    await rig.engine.until(lambda: running in rig.engine.started)
    rig.engine.recall(done, running, waiting, 4711)
    await rig.engine.until(lambda: len(rig.engine.recalls) == 4)
    assert rig.engine.recalls == {
        done: pb.RECALL_RESULT_ALREADY_STARTED,
        running: pb.RECALL_RESULT_ALREADY_STARTED,
        waiting: pb.RECALL_RESULT_RECALLED,
        4711: pb.RECALL_RESULT_UNKNOWN,
    }
    rig.engine.cancel(running)
    await rig.engine.result(running)
    assert waiting not in rig.engine.finished


async def test_a_duplicate_assignment_is_ignored(rig: Rig, tmp_path: Path) -> None:
    await rig.agent(slots=2)
    runs = tmp_path / "runs"
    assign = pb.Assign(
        task=1, attempt=1, fence=77, task_id=bytes(16), command=f"echo x >> {runs}; while [ ! -e {tmp_path}/go ]; do :; done"
    )  # fmt: skip
    rig.engine.session.send(pb.EngineMessage(assign=[assign, assign]))
    await until(runs.exists)
    rig.engine.session.send(pb.EngineMessage(assign=[assign]))
    await rig.engine.run("true")
    (tmp_path / "go").touch()
    await rig.engine.result(77)
    assert runs.read_text() == "x\n"
    assert rig.engine.finished_times[77] == 1


async def test_slots_bound_what_runs_and_waiting_is_first_in_first_out(rig: Rig) -> None:
    await rig.agent(slots=2)
    fences = [rig.engine.assign("sleep 0.05") for _ in range(6)]
    for fence in fences:
        await rig.engine.result(fence)
    starts = [rig.engine.started[f].at_us for f in fences]
    assert starts == sorted(starts)
    for fence in fences:
        began = rig.engine.started[fence].at_us
        beside = [f for f in fences if rig.engine.started[f].at_us <= began < rig.engine.finished[f].at_us]
        assert len(beside) <= 2


async def test_a_background_child_that_holds_the_pipe_is_given_half_a_second(
    rig: Rig, tmp_path: Path
) -> None:
    await rig.agent()
    pids = tmp_path / "pids"
    ended = await rig.engine.run(f"(/bin/sleep 60; echo late) & echo $! > {pids}; echo early; exit 4")
    assert (ended.exit_code, ended.outcome) == (4, pb.OUTCOME_FAILED)
    assert rig.engine.output(ended.fence) == b"early\n"
    assert 500_000 <= ended.duration_us < 10_000_000
    await until(lambda: not is_alive(int(pids.read_text())))


async def test_a_background_child_without_the_pipe_ends_with_its_attempt(rig: Rig, tmp_path: Path) -> None:
    await rig.agent()
    pids = tmp_path / "pids"
    ended = await rig.engine.run(f"/bin/sleep 60 > /dev/null 2>&1 & echo $! > {pids}")
    assert ended.outcome == pb.OUTCOME_COMPLETED
    await until(lambda: not is_alive(int(pids.read_text())))


async def test_demo_job_reports_progress_and_writes_its_ledger(rig: Rig, tmp_path: Path) -> None:
    await rig.agent(slots=2)
    ledger = tmp_path / "ledger"
    env = {"TASKMASTER_LEDGER": str(ledger)}
    ended = await rig.engine.run("demo-job --ms 200", env=env)
    noop = await rig.engine.run("noop", env=env)
    percents = [p.percent for p in rig.engine.progress[ended.fence]]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1]) == (0, 100)
    assert rig.engine.output(ended.fence).count(b"\n") == 1
    assert ended.duration_us > 190_000
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [(e["event"], e["task"], e["attempt"], e["fence"], e["worker"]) for e in entries] == [
        (event, end.fence, 1, end.fence, "w1") for end in (ended, noop) for event in ("start", "end")
    ]
    assert entries[1]["at_us"] - entries[0]["at_us"] >= 200_000
    failed = await rig.engine.run("noop", env={"TASKMASTER_LEDGER": str(tmp_path / "no" / "ledger")})
    assert (failed.outcome, failed.exit_code) == (pb.OUTCOME_FAILED, 1)


async def test_many_noops_in_one_message(rig: Rig) -> None:
    await rig.agent()
    for start in range(1000, 3000, 100):
        assigns = [
            pb.Assign(task=f, attempt=1, fence=f, task_id=bytes(16), command="noop")
            for f in range(start, start + 100)
        ]
        rig.engine.session.send(pb.EngineMessage(assign=assigns))
    await rig.engine.until(lambda: len(rig.engine.finished) == 2000)
    assert set(rig.engine.finished) == set(rig.engine.started) == set(range(1000, 3000))
    assert set(rig.engine.finished_times.values()) == {1}
