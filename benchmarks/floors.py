"""What the machine can do at all, measured in the same run: disk commits, processes, messages."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from pathlib import Path

import grpc.aio

from benchmarks.report import Figures
from taskmaster_desktop.backend.rpc._pb import worker_pb2

BATCH = 128
METHOD = "/floor/Echo"


def measure(figures: Figures) -> None:
    figures.add("floor_commits_per_s", commits_per_s(), unit="commits/s")
    figures.add("floor_true_per_s", true_per_s(), unit="processes/s")
    figures.add("floor_grpc_per_s", grpc_per_s(), unit="items/s")


def commits_per_s(seconds: float = 2.0) -> float:
    """One row a commit, SQLite in WAL mode with synchronous=FULL."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "floor.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, v TEXT)")
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            connection.execute("INSERT INTO t (v) VALUES ('x')")
            count += 1
        rate = count / (time.perf_counter() - began)
        connection.close()
    return rate


def true_per_s(processes: int = 3, each: int = 1000) -> float:
    """`/bin/true` run and awaited, one after the other, by three bare processes."""
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(_warm, range(processes))
        began = time.perf_counter()
        pool.map(_run_true, [each] * processes, chunksize=1)
        return processes * each / (time.perf_counter() - began)


def _warm(_: int) -> None:
    subprocess.run(["/bin/true"], check=True)


def _run_true(count: int) -> None:
    for _ in range(count):
        subprocess.Popen(["/bin/true"]).wait()


def grpc_per_s(seconds: float = 2.0) -> float:
    """Assignments down and results up in batches of 128 over one bidirectional grpc.aio stream, no storage."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/floor.sock"
        context = multiprocessing.get_context("spawn")
        ready, theirs = context.Pipe()
        server = context.Process(target=_serve, args=(address, theirs))
        server.start()
        ready.recv()
        rate = asyncio.run(_drive(address, seconds))
        ready.send("stop")
        server.join()
    return rate


async def _drive(address: str, seconds: float) -> float:
    assignments = [
        worker_pb2.Assign(task=n, attempt=1, fence=n, task_id=b"0" * 16, command="noop") for n in range(BATCH)
    ]
    count = 0
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(
            METHOD,
            request_serializer=worker_pb2.EngineMessage.SerializeToString,
            response_deserializer=worker_pb2.WorkerMessage.FromString,
        )()
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            await call.write(worker_pb2.EngineMessage(assign=assignments))
            answer = await call.read()
            assert isinstance(answer, worker_pb2.WorkerMessage)
            count += len(answer.finished)
        elapsed = time.perf_counter() - began
        await call.done_writing()
    return count / elapsed


async def _echo(requests: AsyncIterator[worker_pb2.EngineMessage], _: object) -> AsyncIterator[object]:
    async for message in requests:
        yield worker_pb2.WorkerMessage(
            finished=[
                worker_pb2.Finished(
                    task=a.task, attempt=a.attempt, fence=a.fence, outcome=worker_pb2.OUTCOME_COMPLETED
                )
                for a in message.assign
            ]
        )


def _serve(address: str, told: Connection) -> None:
    async def main() -> None:
        server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(
            _echo,
            request_deserializer=worker_pb2.EngineMessage.FromString,
            response_serializer=worker_pb2.WorkerMessage.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("floor", {"Echo": handler}),))
        server.add_insecure_port(address)
        await server.start()
        told.send("ready")
        await asyncio.get_running_loop().run_in_executor(None, told.recv)
        await server.stop(None)

    asyncio.run(main())
