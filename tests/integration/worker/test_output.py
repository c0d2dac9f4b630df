"""Output and progress of real commands, on their way to the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from taskmaster_worker._pb import worker_pb2 as pb
from tests.helpers.eventually import until

if TYPE_CHECKING:
    from tests.integration.worker.conftest import Rig

MIB = 1 << 20
# Eight MiB of lines that tell their own position.
FLOOD = "import sys\nfor n in range(1 << 20): sys.stdout.write('%07d\\n' % n)"


async def test_both_streams_share_one_sequence_of_offsets(rig: Rig) -> None:
    await rig.agent()
    ended = await rig.engine.run(
        "echo one; /bin/sleep 0.05; echo two >&2; /bin/sleep 0.05; printf three; exit 1"
    )
    assert rig.engine.output(ended.fence) == b"one\ntwo\nthree"
    assert rig.engine.output(ended.fence, pb.OUTPUT_STREAM_STDOUT) == b"one\nthree"
    assert rig.engine.output(ended.fence, pb.OUTPUT_STREAM_STDERR) == b"two\n"
    chunks = rig.engine.chunks[ended.fence]
    assert [(o, len(chunks[o].data)) for o in sorted(chunks)] == [(0, 4), (4, 4), (8, 5)]
    assert ended.output_bytes == 13


async def test_output_arrives_before_its_line_and_its_command_end(rig: Rig, tmp_path: Path) -> None:
    await rig.agent()
    go = tmp_path / "go"
    fence = rig.engine.assign(f"printf 'name? '; while [ ! -e {go} ]; do /bin/sleep 0.01; done")
    await rig.engine.until(lambda: rig.engine.output(fence) == b"name? ")
    assert fence not in rig.engine.finished
    go.touch()
    assert (await rig.engine.result(fence)).exit_code == 0


async def test_progress_lines_are_reported_and_kept_out_of_the_output(rig: Rig) -> None:
    await rig.agent()
    script = (
        "echo begin; echo '::progress 5'; /bin/sleep 0.1; echo '::progress 42 half the way';"
        "echo '::progress lots'; echo ' ::progress 50'; echo '::progress 50' >&2;"
        "/bin/sleep 0.1; printf '::pro'; /bin/sleep 0.1; printf 'gress 300'"
    )
    ended = await rig.engine.run(script)
    assert rig.engine.output(ended.fence, 1) == b"begin\n::progress lots\n ::progress 50\n"
    assert rig.engine.output(ended.fence, 2) == b"::progress 50\n"
    notes = [(p.percent, p.text) for p in rig.engine.progress[ended.fence]]
    assert notes == [(5, ""), (42, "half the way"), (100, "")]


async def test_a_lossy_flood_never_blocks_the_command(rig: Rig) -> None:
    """Nothing is acknowledged: the first MiB and the newest stay, what is between may be lost."""
    rig.engine.acknowledge = False
    await rig.agent()
    ended = await rig.engine.run(["python3", "-c", FLOOD])
    assert ended.output_bytes == 8 * MIB
    assert ended.exit_code == 0
    chunks = rig.engine.chunks[ended.fence]
    for offset, chunk in chunks.items():
        assert chunk.data.startswith(b"%07d" % (offset // 8)) or offset % 8
    assert rig.engine.output(ended.fence)[:MIB] == b"".join(b"%07d\n" % n for n in range(MIB // 8))
    assert rig.engine.output(ended.fence).endswith(b"1048575\n")


async def test_a_lossless_flood_waits_for_the_engine(rig: Rig, tmp_path: Path) -> None:
    rig.engine.acknowledge = False
    await rig.agent()
    fence = rig.engine.assign(["python3", "-c", FLOOD], lossless_output=True)
    await rig.engine.until(lambda: len(rig.engine.output(fence)) >= 3 * MIB)
    # Nothing more comes while nothing is acknowledged: a heartbeat says that the agent had its time.
    beats = len(rig.engine.heartbeats)
    await rig.engine.until(lambda: len(rig.engine.heartbeats) > beats + 2)
    assert len(rig.engine.output(fence)) < 3 * MIB + 128 * 1024
    assert fence not in rig.engine.finished
    rig.engine.acknowledge = True
    rig.engine.session.send(
        pb.EngineMessage(output_acks=[pb.OutputAck(fence=fence, offset=len(rig.engine.output(fence)))])
    )
    ended = await rig.engine.result(fence)
    assert ended.output_bytes == 8 * MIB
    assert rig.engine.output(fence) == b"".join(b"%07d\n" % n for n in range(1 << 20))


async def test_a_paused_lossless_command_can_be_cancelled(rig: Rig) -> None:
    rig.engine.acknowledge = False
    await rig.agent()
    fence = rig.engine.assign(["yes"], lossless_output=True)
    await rig.engine.until(lambda: len(rig.engine.output(fence)) >= 3 * MIB)
    rig.engine.cancel(fence)
    ended = await rig.engine.result(fence)
    assert (ended.outcome, ended.exit_code) == (pb.OUTCOME_CANCELLED, 143)
    assert len(rig.engine.output(fence)) == ended.output_bytes


async def test_unacknowledged_output_is_sent_again_in_the_next_session(rig: Rig, tmp_path: Path) -> None:
    rig.engine.acknowledge = False
    await rig.agent()
    go = tmp_path / "go"
    fence = rig.engine.assign(f"echo one; while [ ! -e {go} ]; do /bin/sleep 0.01; done; echo two")
    await rig.engine.until(lambda: rig.engine.output(fence) == b"one\n")
    rig.engine.session.send(pb.EngineMessage(output_acks=[pb.OutputAck(fence=fence, offset=2)]))
    rig.engine.session.close()
    await until(rig.engine.session.ended.is_set)
    rig.engine.chunks.clear()
    await rig.engine.connected(2)
    go.touch()
    ended = await rig.engine.result(fence)
    assert rig.engine.output(fence) == b"one\ntwo\n"
    assert ended.output_bytes == 8
