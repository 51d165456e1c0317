"""The daemon's first moments: what a signal finds half done."""

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


def test_a_signal_while_the_scratch_folder_is_made_leaves_none(tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WORKER_")},
        "PUBSUB_EMULATOR_HOST": "127.0.0.1:1",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
        "WORKER_SUBSCRIPTION": "projects/p/subscriptions/photos",
        "WORKER_ORIGINALS_BUCKETS": "originals",
        "WORKER_RENDITIONS_BUCKET": "renditions",
        "WORKER_HTTP_PORT": "0",
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert list(tmp_path.iterdir()) == []
