"""`python -m taskmaster_worker`: reads the start-up bundle, runs the agent, exits with its code.

Owns the process: its session, its log on standard error, its standard input. The agent itself runs on one
asyncio loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from typing import NoReturn

from taskmaster_worker.secret import Bundle, BundleError, read_bundle


def main() -> NoReturn:
    leads_session = _lead_session()
    _set_up_log()
    code = 78
    try:
        bundle = read_bundle(0)
    except BundleError as error:
        logging.getLogger(__name__).critical("%s", error)
    else:
        code = _run(bundle, leads_session)
    logging.shutdown()
    sys.stdout.flush()
    # grpc's threads may be in the middle of something; nothing is left that would need a tidy exit.
    os._exit(code)


def _run(bundle: Bundle, leads_session: bool) -> int:
    # Commands must not find what is left of our standard input.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    # Commands are executed without a copy of this process (vfork), so grpc has nothing to do at a fork.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # grpc costs a third of a second to import; without a bundle there is no need of it.
    from taskmaster_worker.agent import Agent, ExitCode

    logger = logging.getLogger(__name__)
    logger.info(
        "worker %s (%s), %d slots, process %d", bundle.name, bundle.worker_id, bundle.slots, os.getpid()
    )
    try:
        code = asyncio.run(Agent(bundle, session_leader=leads_session).run())
    except Exception:
        logger.exception("a bug ended the agent")
        code = ExitCode.BUG
    logger.info("exit %d", code)
    return code


def _lead_session() -> bool:
    """Makes this process the leader of a session, so that its runtime can see when all of it is gone."""
    with contextlib.suppress(PermissionError):
        if os.getsid(0) != os.getpid():
            os.setsid()
    return os.getsid(0) == os.getpid()


def _set_up_log() -> None:
    logging.raiseExceptions = False  # The reader of the log may have died.
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )


main()
