"""What a command took, and what /proc says of processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from worker.errors import Fatal
from worker.system import processes


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_a_command_is_measured_with_the_children_it_waited_for() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {burn!r}])"
    cost = processes.run([*python(code + "; print('done')")], os.environ, "a.jpg")
    assert cost.cpu_seconds >= 0.2
    assert cost.output.strip() == "done"
    assert cost.peak_bytes > 1 << 20


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_that_fails_says_why(unbuffered: str) -> None:
    # Buffered, what it printed comes behind the error that ended it.
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    said = "import sys; print('much before'); sys.exit('the end of it\\n')"
    with pytest.raises(Fatal) as raised:
        processes.run(python(said), environment, "ours, /a.jpg")
    assert str(raised.value) == "ours, /a.jpg: ended with 1: the end of it"
    with pytest.raises(Fatal, match="ended with 1: told in the output"):
        processes.run(
            python("print('told in the output'); raise SystemExit(1)"), os.environ, "a.jpg"
        )


def test_a_command_that_fails_says_why_or_that_it_cannot_be_started() -> None:
    with pytest.raises(Fatal, match="ended with 3: it said nothing"):
        processes.run(python("raise SystemExit(3)"), os.environ, "a.jpg")
    with pytest.raises(Fatal, match=r"a\.jpg: /nowhere/at/all: No such file"):
        processes.run(["/nowhere/at/all"], os.environ, "a.jpg")


def test_children_that_ended_still_count() -> None:
    pid = os.getpid()
    before = processes.children_cpu_seconds(pid)
    burn = "import time\nwhile time.process_time() < 0.1: pass"
    subprocess.run(python(burn), check=True)
    assert processes.children_cpu_seconds(pid) >= before + 0.09


def test_a_tree_leaves_out_what_it_is_told_to() -> None:
    with subprocess.Popen(python("input()"), stdin=subprocess.PIPE) as child:
        assert child.pid in processes.children(os.getpid())
        own = processes.tree_cpu_seconds(child.pid, without=frozenset({child.pid}))
        assert own == 0.0
        child.communicate(b"\n")
    assert processes.cpu_seconds(child.pid) == 0.0
    assert processes.memory_bytes(child.pid, "VmHWM") == 0
    assert processes.memory_bytes("self", "VmHWM") > 1 << 20
