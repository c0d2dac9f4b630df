"""An engine's life in a process of its own: starts one stub worker, says where, and waits to be killed.

Run as `python short_engine.py DATA_DIR WORKER_ID MODE`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from taskmaster_desktop.backend.fleet.process import ProcessRuntime
from tests.helpers.leaks import RUN_MARK
from tests.helpers.worker_records import stub_command, worker_record, worker_secret


async def main(data_dir: Path, worker_id: str, mode: str) -> None:
    runtime = ProcessRuntime(data_dir, command=stub_command(mode), extra_env={RUN_MARK: os.environ[RUN_MARK]})
    await runtime.start()
    handle = await runtime.launch(worker_record(worker_id), worker_secret(worker_id))
    sys.stdout.write(f"{handle}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
