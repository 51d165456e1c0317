"""The set-up of `make`: every state that a broken attempt leaves is healed by the next one.

The environments are real. A program called `uv` on PATH stands in for the installer, so that no
network is needed: it notes how it was called, and puts a package and a `photo-worker` in place.
"""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
BOOTSTRAP = runpy.run_path(str(ROOT / "scripts" / "bootstrap.py"))
PROJECT = """
[project]
dependencies = ["one>=1"]
[project.optional-dependencies]
local = ["two>=1"]
test = ["three[x]>=1; python_version > '3'"]
"""
CONSTRAINTS = """\
four==1 \\
    --hash=sha256:44
    # via
    #   one
    #   three
one==1 \\
    --hash=sha256:11
    # via project (pyproject.toml)
setuptools==80 \\
    --hash=sha256:88
    # via project (pyproject.toml)
three==1 \\
    --hash=sha256:33
    # via project (pyproject.toml)
two==1 \\
    --hash=sha256:22
    # via project (pyproject.toml)
"""
INSTALLER = """\
import os, re, sys
from pathlib import Path
state = Path({state!r})
python = Path(sys.argv[sys.argv.index("--python") + 1])
with (state / "calls").open("a") as calls:
    print(" ".join(sys.argv[4:]), file=calls)
if (state / "hang").exists():
    (state / "hanging").touch()
    os.open(state / "hang", os.O_RDONLY)  # until somebody opens the other end
if (state / "fail").exists():
    sys.exit("no room")
site = next(python.parents[1].glob("lib/python3*/site-packages"))
if "-r" in sys.argv:
    listed = Path(sys.argv[sys.argv.index("-r") + 1]).read_text()
    for name in re.findall(r"^(\\w+)==", listed, re.M):
        (site / (name + "-1.dist-info")).mkdir(exist_ok=True)
if (state / "half").exists() and "requirements.txt" in " ".join(sys.argv):
    sys.exit("no network")
program = python.with_name("photo-worker")
program.write_text({program!r})
program.chmod(0o755)
"""
PROGRAM = """\
import json, os, signal, sys
print(json.dumps(sys.argv[1:]), flush=True)
if "wait" in sys.argv:
    signal.pause()
sys.exit(3 if "three" in sys.argv else 0)
"""


def script(text: str) -> str:
    """A program in Python; the interpreter's path may have a space, which `#!` cannot."""
    return f"#!/bin/sh\n'''exec' '{sys.executable}' \"$0\" \"$@\"\n'''\n{text}"


class Checkout:
    """A checkout with the real Makefile and bootstrap, and an installer that needs no network."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "a checkout"
        self.state = home / "state"
        self.started: list[subprocess.Popen[str]] = []
        self.state.mkdir()
        (self.folder / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "Makefile", self.folder)
        shutil.copy(ROOT / "scripts" / "bootstrap.py", self.folder / "scripts")
        (self.folder / "pyproject.toml").write_text(PROJECT)
        (self.folder / "constraints.txt").write_text(CONSTRAINTS)
        (home / "bin").mkdir()
        uv = home / "bin" / "uv"
        uv.write_text(script(INSTALLER.format(state=str(self.state), program=script(PROGRAM))))
        uv.chmod(0o755)
        self.environment = {
            "PATH": f"{home / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "PYTHON": f"'{sys.executable}'",
            # pip is tried when the installer fails; it has nowhere to look.
            "PIP_NO_INDEX": "1",
            "PIP_CONFIG_FILE": os.devnull,
        }

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    def command(self, *words: str, extras: str = "local") -> list[str]:
        script = str(self.folder / "scripts" / "bootstrap.py")
        return [sys.executable, script, "--extras", extras, "--", "photo-worker", *words]

    def run(self, *words: str, extras: str = "local") -> subprocess.CompletedProcess[str]:
        command = self.command(*words, extras=extras)
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            command or self.command(),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(started)
        return started

    def make(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *words],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> int:
        """How often requirements of the whole environment were installed."""
        said = self.state / "calls"
        return said.read_text().count("requirements.txt") if said.exists() else 0

    def installed(self) -> set[str]:
        return {each.name.partition("-")[0] for each in self.venv.rglob("*.dist-info")}

    def hang(self) -> None:
        """Let the next installer wait until `release`."""
        os.mkfifo(self.state / "hang")

    def wait_for_installer(self) -> None:
        eventually((self.state / "hanging").exists, "the installer did not start")

    def release(self) -> None:
        with (self.state / "hang").open("w"):
            (self.state / "hang").unlink()

    def close(self) -> None:
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose `.venv` is whole; a test that damages it has it healed."""
    made = Checkout(tmp_path_factory.mktemp("installed"))
    assert made.run().returncode == 0
    yield made
    made.close()


def test_the_first_run_installs_and_the_second_only_runs(checkout: Checkout) -> None:
    first = checkout.run("a b", "--", "$HOME")
    assert (first.returncode, json.loads(first.stdout)) == (0, ["a b", "--", "$HOME"])
    assert "set-up: making .venv for Python" in first.stderr
    assert re.search(r"set-up: \.venv is ready after \d+ s \(\d+ MB\)", first.stderr)
    assert checkout.installed() == {"one", "two", "four", "setuptools"}
    second = checkout.run("three")
    assert (second.returncode, second.stderr) == (3, "")
    assert checkout.calls() == 1


def _nothing_but_a_folder(checkout: Checkout) -> None:
    shutil.rmtree(checkout.venv)
    checkout.venv.mkdir()


def _without_a_stamp(checkout: Checkout) -> None:
    (checkout.venv / "setup.json").unlink()


def _half_a_stamp(checkout: Checkout) -> None:
    stamp = checkout.venv / "setup.json"
    stamp.write_text(stamp.read_text()[:40])


def _a_dead_interpreter(checkout: Checkout) -> None:
    (checkout.venv / "bin" / "python").unlink()
    (checkout.venv / "bin" / "python").symlink_to("/nowhere/python")


def _a_file_for_a_folder(checkout: Checkout) -> None:
    _without_a_stamp(checkout)
    shutil.rmtree(checkout.venv / "lib")
    (checkout.venv / "lib").touch()


def _another_python(checkout: Checkout) -> None:
    stamp = checkout.venv / "setup.json"
    stamp.write_text(stamp.read_text().replace("3.", "2.", 1))


def _moved(checkout: Checkout) -> None:
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("moved"))


@pytest.mark.parametrize(
    "damage",
    [
        _nothing_but_a_folder,
        _without_a_stamp,
        _half_a_stamp,
        _a_dead_interpreter,
        _a_file_for_a_folder,
        _another_python,
        _moved,
    ],
)
def test_what_is_not_whole_is_made_anew(installed: Checkout, damage: Any) -> None:
    calls = installed.calls()
    (installed.venv / "bin" / "left-over").touch()
    damage(installed)
    healed = installed.run("again")
    assert (healed.returncode, healed.stdout) == (0, '["again"]\n'), healed.stderr
    assert not (installed.venv / "bin" / "left-over").exists()
    assert installed.calls() == calls + 1


def test_changed_constraints_and_further_extras_are_installed_beside(checkout: Checkout) -> None:
    checkout.run()
    (checkout.venv / "bin" / "of-mine").touch()
    checkout.run(extras="test")
    assert checkout.installed() == {"one", "two", "three", "four", "setuptools"}
    checkout.run(extras="local")
    assert checkout.calls() == 2, "what is there already is not installed again"
    (checkout.folder / "constraints.txt").write_text(CONSTRAINTS.replace("two==1", "two==2"))
    checkout.run(extras="test")
    checkout.run(extras="local")
    assert checkout.calls() == 3
    assert (checkout.venv / "bin" / "of-mine").exists()


def test_a_failed_installation_says_so_and_the_next_one_heals(checkout: Checkout) -> None:
    (checkout.state / "fail").touch()
    failed = checkout.run()
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "no room\n" in failed.stderr
    assert "No such file" not in failed.stderr, "pip finds its list after uv has failed"
    (checkout.state / "fail").unlink()
    assert checkout.run().returncode == 0


def test_what_fails_to_be_added_costs_nothing_that_is_there(checkout: Checkout) -> None:
    """Without a network `make test` fails, and `make run` goes on as before."""
    checkout.run()
    (checkout.venv / "bin" / "of-mine").touch()
    (checkout.state / "half").touch()
    assert checkout.run(extras="test").returncode == 1
    assert (checkout.run().returncode, checkout.calls()) == (0, 2)
    assert checkout.installed() == {"one", "two", "four", "setuptools"}
    assert (checkout.venv / "bin" / "of-mine").exists()
    (checkout.state / "half").unlink()
    assert checkout.run(extras="test").returncode == 0
    assert checkout.installed() == {"one", "two", "three", "four", "setuptools"}


def test_what_a_killed_one_has_added_is_removed_before_the_next(checkout: Checkout) -> None:
    checkout.run()
    checkout.hang()
    killed = checkout.start(*checkout.command(extras="test"))
    checkout.wait_for_installer()
    half = next(checkout.venv.glob("lib/python3*/site-packages")) / "three-1.dist-info"
    half.mkdir()
    (half / "half").touch()
    killed.kill()
    killed.wait()
    assert checkout.run("meanwhile").stdout == '["meanwhile"]\n'
    following = checkout.start(*checkout.command(extras="test"))
    assert following.stdout
    assert "waiting" in following.stdout.readline()
    checkout.release()
    said, _ = following.communicate()
    assert following.returncode == 0, said
    assert half.exists()
    assert not (half / "half").exists()


@pytest.mark.parametrize("copies", [False, True], ids=["linked", "copied"])
def test_an_activated_environment_starts_what_it_was_made_with(
    checkout: Checkout, *, copies: bool
) -> None:
    checkout.run()
    active = checkout.state / "active"
    venv.create(active, symlinks=not copies)
    python = str(active / "bin" / "python")
    ended = subprocess.run(
        [python, *checkout.command("x")[1:]],
        env=checkout.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,  # it once started itself again and again
    )
    assert (ended.returncode, ended.stdout, checkout.calls()) == (0, '["x"]\n', 1)


def _a_link_to_a_folder(checkout: Checkout) -> None:
    checkout.venv.symlink_to(checkout.state)


def _a_link_to_nothing(checkout: Checkout) -> None:
    checkout.venv.symlink_to("/nowhere")


def _a_file(checkout: Checkout) -> None:
    checkout.venv.touch()


@pytest.mark.parametrize("put", [_a_link_to_a_folder, _a_link_to_nothing, _a_file])
def test_what_is_no_environment_is_left_alone(checkout: Checkout, put: Any) -> None:
    put(checkout)
    (checkout.state / "of-mine").touch()
    refused = checkout.run()
    assert refused.returncode == 1
    assert refused.stderr == f"set-up: {checkout.venv} is a link or a file; remove it\n"
    assert [each.name for each in checkout.state.iterdir()] == ["of-mine"]


def test_a_program_that_is_gone_is_told_with_the_way_out(checkout: Checkout) -> None:
    checkout.run()
    (checkout.venv / "bin" / "photo-worker").unlink()
    ended = checkout.run()
    assert ended.returncode == 127
    assert ended.stderr == (
        "set-up: photo-worker: No such file or directory; `make clean` begins anew\n"
    )


def test_older_pythons_are_told_which_is_needed() -> None:
    """Their parser reads the whole file first; Python 3.6 is the oldest that can."""
    text = (ROOT / "scripts" / "bootstrap.py").read_text()
    ast.parse(text, feature_version=(3, 6))
    first = next(line for line in text.partition('"""\n')[2].splitlines() if "import" in line)
    assert first == "import sys"
    assert text.index("sys.exit(") < text.index("\nimport argparse")
    assert "from __future__" not in text


def test_an_extra_that_there_is_not(installed: Checkout) -> None:
    failed = installed.run(extras="lokal")
    assert failed.returncode == 1
    assert failed.stderr == "set-up: no extra lokal; there are local, test\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_set_up_and_the_next_one_heals(
    checkout: Checkout, number: signal.Signals
) -> None:
    checkout.hang()
    process = checkout.start()
    checkout.wait_for_installer()
    process.send_signal(number)
    said, _ = process.communicate()
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    (checkout.state / "hang").unlink()
    assert checkout.run().returncode == 0


def test_after_kill_9_the_next_one_waits_for_the_installer_that_still_writes(
    checkout: Checkout,
) -> None:
    checkout.hang()
    killed = checkout.start()
    checkout.wait_for_installer()
    killed.kill()
    killed.wait()
    following = checkout.start()
    assert following.stdout
    assert "another set-up of .venv is at work; waiting" in following.stdout.readline()
    checkout.release()
    said, _ = following.communicate()
    assert following.returncode == 0, said


def test_of_two_first_runs_at_once_one_installs(checkout: Checkout) -> None:
    checkout.hang()
    first = checkout.start()
    checkout.wait_for_installer()
    second = checkout.start()
    assert second.stdout
    assert "waiting" in second.stdout.readline()
    checkout.release()
    for process in (first, second):
        said, _ = process.communicate()
        assert process.returncode == 0, said
    assert checkout.calls() == 1


@pytest.mark.parametrize(
    "path",
    ["~/x", "a b/`touch bad`", '"$HOME" $(touch bad)', "it's $x", "-n", "$(shell touch bad)"],
)
def test_make_hands_a_folder_over_as_it_is(installed: Checkout, path: str) -> None:
    python = f"PYTHON='{sys.executable}'"
    typed = installed.make("run", python, f"PHOTOS={path}")
    assert json.loads(typed.stdout) == ["local", "--", path], typed.stderr
    exported = installed.make("run", python, PHOTOS=path)
    assert json.loads(exported.stdout) == ["local", "--", path]
    assert not list(installed.folder.rglob("bad"))


def test_make_needs_no_folder(installed: Checkout) -> None:
    assert json.loads(installed.make("run", f"PYTHON='{sys.executable}'").stdout) == ["local"]


@pytest.mark.parametrize("during", ["set-up", "command"])
def test_ctrl_c_of_make_says_nothing_of_make(checkout: Checkout, during: str) -> None:
    if during == "set-up":
        checkout.hang()
    else:
        checkout.run()
    process = checkout.start("make", "run", "PHOTOS=wait")
    if during == "set-up":
        checkout.wait_for_installer()
    else:
        assert process.stdout
        assert process.stdout.readline() == '["local", "--", "wait"]\n'
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert "***" not in said
    assert "make:" not in said


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`apt-get` and `dpkg` that know the package once `update` was asked for."""
    folder = tmp_path / "debian"
    folder.mkdir()
    apt = '#!/bin/sh\ncase "$*" in\n*update) touch "$0.updated";;\n'
    apt += '*) test -e "$0.updated" && touch python3-pip-whl_1_all.deb || exit 100;;\nesac\n'
    dpkg = '#!/bin/sh\nmkdir -p "$3/usr/share/python-wheels"\n'
    dpkg += 'echo zip > "$3/usr/share/python-wheels/pip-25.1-py3-none-any.whl"\n'
    for name, text in (("apt-get", apt), ("dpkg", dpkg)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_pip_comes_from_debian_with_fresh_lists_where_there_are_none(
    debian: Path, tmp_path: Path
) -> None:
    wheel = BOOTSTRAP["wheel_of_debian"](tmp_path, BOOTSTRAP["Progress"]())
    assert wheel == tmp_path / "pip-25.1-py3-none-any.whl"
    assert wheel.read_text() == "zip\n"
    assert (debian / "apt-get.updated").exists()
    assert sorted(tmp_path.iterdir()) == [debian, wheel], "what apt-get needed is gone"


def test_without_network_debian_gives_none(debian: Path, tmp_path: Path) -> None:
    (debian / "apt-get").write_text("#!/bin/sh\nexit 100\n")
    assert BOOTSTRAP["wheel_of_debian"](tmp_path, BOOTSTRAP["Progress"]()) is None
    assert "apt install python3-pip" in BOOTSTRAP["advice"]()


def test_the_constraints_hold_what_each_target_asks_for() -> None:
    sets = BOOTSTRAP["Sets"](ROOT)
    pinned = BOOTSTRAP["blocks"]((ROOT / "constraints.txt").read_text())
    image = BOOTSTRAP["blocks"]((ROOT / "constraints-runtime.txt").read_text())
    assert set(sets.names(["otlp"])) == set(image) | {"setuptools"}
    assert set(sets.names(list(sets.extras))) == set(pinned)
    light = sets.text(["local"])
    assert "\npillow==" in light
    assert not re.search(r"^(mypy|ruff|playwright|pytest)==", light, re.MULTILINE)
    for asked in re.findall(r"--extras (\S+)", (ROOT / "Makefile").read_text()):
        assert set(asked.split(",")) <= set(sets.extras)
