"""The daemon and signals that come at a bad moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SIGNALLED = """
import os, signal
from worker.service import daemon
from worker.render.capacity import MIB, Capacity
from worker.settings.settings import Settings
from worker.telemetry.logs import configure_logs

class Signalled(daemon.Scratch):
    def _hold(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return super()._hold()

daemon.Scratch = Signalled
capacity = Capacity(slots=1, in_flight=1, render_memory_bytes=512 * MIB)
daemon.run_and_exit(Settings.load(os.environ), capacity, configure_logs("json", "info"))
"""

WAITING = """
import os, signal, threading
from worker.console.stop import Stop

stop = Stop()
signal.signal(signal.SIGTERM, lambda *_: stop.ask())
real = threading.Condition.wait

def signalled(condition, timeout=None):
    # The waiting thread holds the condition's lock here, and runs the signal's handler.
    os.kill(os.getpid(), signal.SIGTERM)
    return real(condition, timeout)

threading.Condition.wait = signalled
assert not stop.wait(0.01)
os.kill(os.getpid(), signal.SIGTERM)
assert stop.asked and stop.wait(60)
"""


def test_a_signal_while_the_scratch_folder_is_made_leaves_none(tmp_path: Path) -> None:
    run(
        SIGNALLED,
        {
            "PUBSUB_EMULATOR_HOST": "127.0.0.1:1",
            "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
            "WORKER_SUBSCRIPTION": "projects/p/subscriptions/photos",
            "WORKER_ORIGINALS_BUCKETS": "originals",
            "WORKER_RENDITIONS_BUCKET": "renditions",
            "WORKER_HTTP_PORT": "0",
            "TMPDIR": str(tmp_path),
        },
    )
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_comes_while_the_daemon_waits_does_not_lock_it_up() -> None:
    run(WAITING, {})


def run(script: str, settings: dict[str, str]) -> None:
    """Run a script to its end in another process, which has to succeed."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=own | settings,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
