"""A log without a reader, as with Docker on a busy disk: only lines are lost."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys

from tests.e2e.stage import Stage
from tests.support.pictures import noisy_jpeg

F_SETPIPE_SZ = 1031

MESSAGES = 15
"""Whose lines are more than the pipe holds, and too few for the brake."""


def test_a_full_pipe_holds_up_neither_work_nor_drain(stage: Stage) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, F_SETPIPE_SZ, 4096)
    worker = subprocess.Popen(
        [sys.executable, "-m", "worker", "run"],
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=write,
        start_new_session=True,
    )
    os.close(write)
    try:
        for n in range(MESSAGES):
            stage.publish(b"no event %d" % n)
        stage.pull(stage.dead_letters, MESSAGES)
        stage.register("photo", 1, noisy_jpeg(300, 200))
        stage.wait_for("photo", "ready", 1)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
        os.close(read)


def test_a_worker_whose_outputs_are_closed_works_and_ends_with_0(stage: Stage) -> None:
    worker = subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$0" -m worker run >&- 2>&-', sys.executable],
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        stage.register("photo", 1, noisy_jpeg(300, 200))
        stage.wait_for("photo", "ready", 1)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
