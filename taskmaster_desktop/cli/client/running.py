"""`taskmaster run`: one command on a running instance, as if it ran here.

A thread of its own listens to what comes; everything else happens on the main thread, which waits for it and
for signals.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.client.instance import Client, NoInstance, path_of
from taskmaster_desktop.cli.client.printed import End, Heard, Piece, live, put_out
from taskmaster_desktop.cli.client.status import StatusLine
from taskmaster_desktop.cli.client.submission import Wanted, shared, works_of
from taskmaster_desktop.cli.client.submit import send
from taskmaster_desktop.cli.client.text import at_us, counted, visible
from taskmaster_desktop.cli.client.why import why_not_running
from taskmaster_desktop.cli.interrupts import Interrupts
from taskmaster_desktop.cli.output import Output, OutputBroken, OutputClosed

LOOK_EVERY_S = 1.0
HELD_PIECES = 64
"""How many wait to be printed before the listener does."""


def run(client: Client, output: Output, wanted: Wanted) -> int:
    """The exit code of the task, 124 if it timed out, 130 if it was interrupted."""
    works, _ = works_of(wanted)
    interrupts = Interrupts()
    one = _Run(client, output, interrupts)
    with interrupts.telling(one.leave, on_first=one.wake):
        options = {**shared(wanted), "lossless_output": True}
        created = send(client, output, works, count=1, options=options, key=None)
        output.json({"event": "submitted", "task": created["first_task"], "batch": created["batch"]})
        return one.go(created["first_task"])


class _Run:
    """Use once."""

    def __init__(self, client: Client, output: Output, interrupts: Interrupts) -> None:
        self._client = client
        self._output = output
        self._interrupts = interrupts
        self._inbox: queue.SimpleQueue[Heard | Exception | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(HELD_PIECES)
        self._status = StatusLine(output)
        self._quiet = True  # nothing has been printed yet
        self._lost_bytes = 0
        self._cancelled = False
        self._left = False

    # === signal handlers
    def wake(self) -> None:
        self._inbox.put(None)

    def leave(self) -> None:
        self._left = True
        self._inbox.put(None)

    # === the listener's thread
    def _listen(self, task: int) -> None:
        try:
            for heard in live(self._client.another(), str(task), "1", None):
                self._room.acquire()
                self._inbox.put(heard)
        except Exception as error:  # noqa: BLE001 - raised again on the main thread
            self._inbox.put(error)

    # === the main thread
    def go(self, task: int) -> int:
        threading.Thread(target=self._listen, args=(task,), name="listener", daemon=True).start()
        try:
            end = self._until_end(task)
        except (OutputClosed, OutputBroken):
            self._cancel(task)  # nobody reads it any more
            raise
        finally:
            self._status.clear()
        return exit_codes.INTERRUPTED if end is None else self._verdict(task, end)

    def _until_end(self, task: int) -> End | None:
        """None where somebody did not want to wait for it."""
        while not self._left:
            if self._interrupts.wanted and not self._cancelled:
                self._cancel(task)
            try:
                heard = self._inbox.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                self._say_how_it_is(task)
                continue
            if isinstance(heard, Exception):
                raise self._explained(heard, task)
            if heard is not None:
                self._room.release()
                self._take(heard)
            if isinstance(heard, End):
                return heard
        return None

    def _take(self, heard: Heard) -> None:
        if isinstance(heard, Piece):
            self._quiet = False  # a line of ours would wipe out what it has begun
            self._status.clear()
            self._lost_bytes += 0 if heard.stream else heard.size
        if self._output.as_json or (isinstance(heard, Piece) and heard.stream):
            put_out(self._output, heard)

    def _cancel(self, task: int) -> None:
        self._cancelled = True
        self._client.post(path_of("tasks", "cancel"), {"tasks": [task]})

    def _say_how_it_is(self, task: int) -> None:
        if not self._quiet or not self._status.shown:
            return
        found = self._client.get(path_of("tasks", str(task)))
        now = at_us(SystemClock().now().wall_us)
        why = why_not_running(found, self._client.get("/stats"), self._client.get("/fleet"), now)
        progress = f" {found['progress']:.0f} % {found['progress_text']}" if found["progress"] else ""
        self._status.show(f"#{task} {why or found['state'] + progress}")

    def _explained(self, error: Exception, task: int) -> Exception:
        if not isinstance(error, NoInstance):
            return error
        return NoInstance(
            f"The instance has gone away while #{task} was not finished.",
            fix=f"When it is back, taskmaster logs -f {task} shows the rest.",
        )

    def _verdict(self, task: int, end: End) -> int:
        """The exit code; says what the command itself could not."""
        if self._lost_bytes:
            self._output.problem(
                f"{counted(self._lost_bytes, 'byte')} of the output came too fast to be passed on and are lost."
            )
        facts: dict[str, Any] = end.facts
        state, outcome, code = facts["state"], facts["outcome"], facts["exit_code"]
        if self._interrupts.wanted:
            return exit_codes.INTERRUPTED
        if state == "completed":
            return exit_codes.OK
        if state == "cancelled":
            self._output.problem(f"#{task} was cancelled.")
            return exit_codes.TASK_FAILED
        if outcome == "timeout":
            self._output.problem(f"#{task} timed out.")
            return exit_codes.TIMED_OUT
        if not facts["reason"].startswith("exit code"):
            self._output.problem(f"#{task} failed: {visible(facts['reason'])}.")
        return int(code) if code else exit_codes.TASK_FAILED
