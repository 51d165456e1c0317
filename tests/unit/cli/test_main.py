"""The command line where it cannot run."""

from __future__ import annotations

import subprocess
import sys

_ON_WINDOWS = """
import sys

for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
from worker.cli import main as cli
sys.platform, sys.argv = "win32", ["photo-worker", "--version"]
cli.main()
"""


def test_windows_is_refused_in_one_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _ON_WINDOWS], capture_output=True, text=True, check=False, timeout=60
    )
    said = "photo-worker: it runs on Linux and macOS; on Windows run it in WSL\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", said)


_LOADED = """
import sys

from worker.cli.main import app

app(["plan", "--no-check", "--json"], standalone_mode=False)
roots = {name.split(".")[0] for name in sys.modules}
print(roots & {"google", "grpc", "requests"}, file=sys.stderr)
"""


def test_a_plan_without_checks_imports_no_cloud_library() -> None:
    """They would more than double its time."""
    ended = subprocess.run(
        [sys.executable, "-c", _LOADED], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "set()\n")
