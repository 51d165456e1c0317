"""Make a virtual environment ready, then run a command in it; needs Python's own library only.

    python3 scripts/bootstrap.py --extras local -- photo-worker local ~/Pictures
    python3 scripts/bootstrap.py --venv .venv-deploy --requirements FILE -- python scripts/x.py

`setup.json` in the environment says what is installed, for which interpreter and under which path.
It is removed before anything is changed and written at the end. An environment without it, or with
another interpreter or path in it, is emptied and filled anew: whatever a broken attempt left.

A further set is added beside what is there, and `setup.json` stays meanwhile. So an attempt that
fails, as without a network, costs only what it was about to add.
"""

import sys

# Before anything that an older Python lacks; 3.6 still reads the rest of this file.
if sys.version_info < (3, 11):  # noqa: UP036 (it may be started with any)
    sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12 ...")

import argparse
import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
BUILDER = "setuptools"
"""Builds pyvips and the project. It is pinned like every package, so it is installed first."""

_PIP_OPTIONS = (
    *("install", "--no-input", "--disable-pip-version-check", "--progress-bar=off"),
    *("--no-warn-script-location", "--root-user-action=ignore"),
)
_PIP_WITH_PYTHON_OPTION = (22, 3)
_LINE_SECONDS = 10.0
_INTERRUPTED = 128 + signal.SIGINT
_NOT_STARTED = 127


class SetupFailed(Exception):
    """The environment cannot be made; the message says why, and what to do where that is known."""


class Progress:
    """Tells how far the set-up is: one changing line, or one every ten seconds."""

    def __init__(self) -> None:
        self._started = self._told = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._clear = "\r\x1b[K" if self._terminal else ""

    def say(self, text: str) -> None:
        """Print a line that stays."""
        print(f"{self._clear}set-up: {text}", file=sys.stderr, flush=True)
        self._told = time.monotonic()

    def show(self, text: str) -> None:
        """Print a line that the next one replaces; without a terminal one every ten seconds."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            line = f"set-up: {text}; {self.seconds()}"[:width]
            print(f"{self._clear}{line}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._told >= _LINE_SECONDS:
            self.say(text)

    def seconds(self) -> str:
        """The time since the start, in words."""
        return f"{time.monotonic() - self._started:.0f} s"


# -- What to install -------------------------------------------------------------------------------


class Sets:
    """The sets of packages that can be asked for: the extras, or one file of requirements."""

    def __init__(self, root: Path, requirements: Path | None = None) -> None:
        self._requirements = requirements
        self._project = (root / "pyproject.toml").read_text()
        self._pinned = blocks((requirements or root / "constraints.txt").read_text())
        table = tomllib.loads(self._project)["project"]
        self._asked = table["dependencies"]
        self.extras: dict[str, list[str]] = table["optional-dependencies"]

    def text(self, extras: list[str]) -> str:
        """The requirements of `extras` together, pinned and hashed, as pip and uv read them."""
        names = self._pinned if self._requirements else self.names(extras)
        return "".join(self._pinned[name] for name in names)

    def digests(self, extras: list[str]) -> dict[str, str]:
        """For each set the digest of all that it is made from."""
        if self._requirements:
            return {self._requirements.name: _digest(self.text([]))}
        return {extra: _digest(self._project + self.text([extra])) for extra in extras}

    def names(self, extras: list[str]) -> list[str]:
        """What the project and `extras` ask for, and what that asks for.

        The resolver's `# via` comments say who asks for a package.

        Raises:
            SetupFailed: there is no such extra.
        """
        unknown = [extra for extra in extras if extra not in self.extras]
        if unknown:
            raise SetupFailed(f"no extra {', '.join(unknown)}; there are {', '.join(self.extras)}")
        asked = [*self._asked, *(each for extra in extras for each in self.extras[extra])]
        askers = {
            name: set(re.findall(r"^ +#(?: via)? +([\w.-]+)", text, re.MULTILINE))
            for name, text in self._pinned.items()
        }
        found = {BUILDER}
        more = {re.split(r"[^\w.-]", each, maxsplit=1)[0].lower() for each in asked}
        while more:
            found |= more
            more = {name for name, who in askers.items() if who & more} - found
        return sorted(found)


def blocks(constraints: str) -> dict[str, str]:
    """Take a constraints file with hashes apart: each package's name, and its lines."""
    found: dict[str, str] = {}
    name = None
    for line in constraints.splitlines(keepends=True):
        start = re.match(r"([\w.-]+)==", line)
        if start:
            name = start[1].lower()
        if name:
            found[name] = found.get(name, "") + line
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# -- What installs it ------------------------------------------------------------------------------


def installers(folder: Path, progress: Progress) -> Iterator[tuple[str, list[str]]]:
    """What can install packages into the environment `folder`: a name, and how its command begins.

    The best comes first. The next one is looked for when that one has failed.
    """
    python = str(folder / "bin" / "python")
    uv = shutil.which("uv")
    if uv:
        yield "uv", [uv, "pip", "install", "--python", python, "--color=never"]
    if importlib.util.find_spec("pip"):
        version = importlib.metadata.version("pip")
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= _PIP_WITH_PYTHON_OPTION:
            yield f"pip {version}", [sys.executable, "-m", "pip", "--python", python, *_PIP_OPTIONS]
            return
    kept = next(folder.glob("pip-*.whl"), None)
    wheel = wheel_of_python() or kept or wheel_of_debian(folder, progress)
    if wheel:
        # Python runs a wheel, which is a zip file, as it is.
        yield wheel.name.partition("-py")[0], [python, f"{wheel}/pip", *_PIP_OPTIONS]


def wheel_of_python() -> Path | None:
    """The wheel of pip that comes with Python, or that a distribution keeps for it."""
    folders = [Path(folder) for folder in [sysconfig.get_config_var("WHEEL_PKG_DIR")] if folder]
    spec = importlib.util.find_spec("ensurepip")
    if spec and spec.origin:
        folders.append(Path(spec.origin).parent / "_bundled")
    return next((wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))), None)


def wheel_of_debian(folder: Path, progress: Progress) -> Path | None:
    """The wheel of pip in Debian's package of it, put into `folder`; this needs no root.

    The machine's own package lists are tried first, then fresh ones.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    progress.say("fetching pip from Debian (python3-pip-whl)")
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        for part in ("lists/partial", "archives/partial"):
            (Path(cache) / part).mkdir(parents=True)
        apt = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "-o", f"Dir::Cache={cache}"]
        # Its caches of the lists take 90 MB.
        apt += ["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]
        fresh = [*apt, "-o", f"Dir::State::lists={cache}/lists"]
        download = ("download", "python3-pip-whl")
        for command in ([*apt, *download], [*fresh, "update"], [*fresh, *download]):
            subprocess.run(command, cwd=cache, capture_output=True, check=False)
            for archive in Path(cache).glob("python3-pip-whl_*.deb"):
                unpack = ["dpkg", "-x", str(archive), cache]
                if subprocess.run(unpack, capture_output=True, check=False).returncode:
                    raise SetupFailed(f"{archive.name} cannot be unpacked; is the disk full?")
            for wheel in Path(cache).glob("usr/share/python-wheels/pip-*.whl"):
                return Path(shutil.copy(wheel, folder))
    return None


def advice() -> str:
    """What to install on a machine that has nothing to install packages with."""
    if shutil.which("apt-get"):
        return (
            "pip is missing and Debian's servers do not give it; as root: apt install python3-pip"
        )
    return f"pip is missing; install it for {sys.executable}, or put uv on PATH"


# -- The environment -------------------------------------------------------------------------------


class Environment:
    """A virtual environment, and the stamp in it that says what it holds."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder = folder
        self._progress = progress
        self._stamp = folder / "setup.json"
        self._before = folder / "before.json"
        self._fetched: dict[str, float] = {}
        # An activated environment starts this with another name of the same interpreter.
        self._identity = [str(folder), sys.version, os.path.realpath(sys.executable)]

    def held(self) -> dict[str, str] | None:
        """What is installed, as `Sets.digests` has it; None where the environment is unusable."""
        try:
            stamp = json.loads(self._stamp.read_text())
            usable = stamp["identity"] == self._identity and (self.folder / "bin/python").exists()
            return dict(stamp["sets"]) if usable else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Keep other set-ups out, and wait for one that is at work.

        The installer inherits the descriptor. So after `kill -9` the lock stays for as long as the
        installer goes on writing.

        Raises:
            SetupFailed: something else has the folder's name, or it is another user's.
        """
        if self.folder.is_symlink() or self.folder.is_file():
            # What a link leads to is somebody's, and `venv` makes no environment there.
            raise SetupFailed(f"{self.folder} is a link or a file; remove it")
        self.folder.mkdir(exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise SetupFailed(f"{self.folder} is not writable for this user; remove it")
        descriptor = os.open(self.folder / "setup.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._progress.say(f"another set-up of {self.folder.name} is at work; waiting")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, *, adding: bool) -> None:
        """Prepare for an installation: `adding` only packages, or changing those that are there.

        Where there is no valid stamp, the environment is made anew.

        Raises:
            SetupFailed: Python cannot make one.
        """
        if self.held() is not None:
            self._roll_back()
            if adding:
                _write(self._before, sorted(self._entries()))
            else:
                self._stamp.unlink()
            return
        for each in self.folder.iterdir():
            if each.name != "setup.lock":
                _remove(each)
        command = [sys.executable, "-m", "venv", "--without-pip", str(self.folder)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            said = (made.stdout + made.stderr).strip().splitlines()[-1:]
            raise SetupFailed(f"`{' '.join(command[1:4])}` fails: {' '.join(said)}")

    def _entries(self) -> set[str]:
        """The names that an installer adds to."""
        found = (self.folder.glob(each) for each in ("bin/*", "lib/python3*/site-packages/*"))
        return {str(path.relative_to(self.folder)) for paths in found for path in paths}

    def _roll_back(self) -> None:
        """Remove what a broken attempt to add packages left."""
        if self._before.exists():
            for each in self._entries() - set(json.loads(self._before.read_text())):
                _remove(self.folder / each)
            self._before.unlink()

    def install(self, requirements: str, lock: int, *, project: bool, adding: bool) -> None:
        """Install `requirements`, and with `project` this checkout, by the first that can.

        `adding` is as for `open`; the checkout is installed already then.

        Raises:
            SetupFailed: nothing could; what the last one said has been printed.
        """
        listed, builder = self.folder / "requirements.txt", self.folder / "builder.txt"
        steps = [["--require-hashes", "-r", str(listed)]]
        if project:
            # Else pip fetches the newest builder, whose hash is checked by nothing.
            steps[0].append("--no-build-isolation")
            steps.insert(0, ["--require-hashes", "-r", str(builder)])
        if project and not adding:
            steps.append(["--no-deps", "--no-build-isolation", "-e", str(ROOT)])
        failure = advice()
        for name, command in installers(self.folder, self._progress):
            listed.write_text(requirements)
            builder.write_text(blocks(requirements).get(BUILDER, ""))
            self._progress.say(f"installing {len(blocks(requirements))} packages with {name}")
            if all(self._follow([*command, *step], lock) for step in steps):
                return
            failure = f"{name} could not install the packages; its last lines stand above"
            # The next one, or the next run, finds no half of a package.
            self.open(adding=adding)
        raise SetupFailed(failure)

    def _follow(self, command: list[str], lock: int) -> bool:
        """Run an installer and show how far it is; True when it succeeded."""
        before = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV"}
        environment = {name: value for name, value in os.environ.items() if name not in before}
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        said: list[str] = []
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment | {"PIP_USER": "0", "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=[lock],
        )

        def read() -> None:
            for line in process.stdout or ():
                lines.put(line)
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            line: str | None = ""
            while line is not None:
                with contextlib.suppress(queue.Empty):
                    line = lines.get(timeout=1)
                    said.append(line or "")
                    self._fetched |= _fetched(line or "")
                self._progress.show(self._so_far())
            succeeded = process.wait() == 0
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if not succeeded:
            self._progress.say("this failed: " + " ".join(command))
            print("".join(said[-12:]), file=sys.stderr)
        return succeeded

    def _so_far(self) -> str:
        there = sum(1 for _ in self.folder.glob("lib/python3*/site-packages/*.dist-info"))
        megabytes = sum(self._fetched.values())
        fetched = f"{len(self._fetched)} packages fetched ({megabytes:.0f} MB), "
        return f"{fetched if self._fetched else ''}{there} installed"

    def close(self, sets: dict[str, str]) -> None:
        """Say what is installed."""
        # The other way round, a kill in between would have what is held rolled back.
        self._before.unlink(missing_ok=True)
        _write(self._stamp, {"identity": self._identity, "sets": sets})

    def megabytes(self) -> float:
        """What the files take on the disk."""
        return sum(each.lstat().st_blocks for each in self.folder.rglob("*")) * 512 / 1e6


def _write(file: Path, value: object) -> None:
    """Write JSON. The rename makes the file whole or absent."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(value, indent=1))
    new.replace(file)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _fetched(line: str) -> dict[str, float]:
    """The file that a line of pip's tells of, and its megabytes as far as they are told."""
    found = re.match(
        r"(?:Processing| +Downloading| +Using cached) (\S+\.(?:whl|gz))(?: \(([\d.]+) ([kM])B\))?$",
        line,
    )
    return {found[1]: float(found[2] or 0) * (1e-3 if found[3] == "k" else 1)} if found else {}


def set_up(folder: Path, sets: Sets, extras: list[str], *, project: bool) -> None:
    """Make `folder` hold what `extras` need; this returns at once where it does.

    Extras that are there already stay, and are brought up to date with the rest.

    Raises:
        SetupFailed: it cannot.
    """
    progress = Progress()
    environment = Environment(folder, progress)

    def ready() -> bool:
        return sets.digests(extras).items() <= (environment.held() or {}).items()

    if ready():
        return
    with environment.locked() as lock:
        if ready():
            return
        held = environment.held()
        verb = "making" if held is None else "completing"
        progress.say(f"{verb} {folder.name} for Python {sys.version.split()[0]}")
        together = sorted({*extras, *(each for each in held or () if each in sets.extras)})
        adding = held is not None and held.items() <= sets.digests(together).items()
        environment.open(adding=adding)
        environment.install(sets.text(together), lock, project=project, adding=adding)
        environment.close(sets.digests(together))
    progress.say(
        f"{folder.name} is ready after {progress.seconds()} ({environment.megabytes():.0f} MB)"
    )


# -- The command -----------------------------------------------------------------------------------


def supervise(command: list[str]) -> int:
    """Run a command to its end, and return its exit code; 128 and the number after a signal.

    A terminal's Ctrl-C reaches the command itself. `make` passes SIGTERM on to this process only.
    """
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []
    interrupted = False

    def note(_: int, __: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True

    def forward(number: int, _: FrameType | None) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    for number, handler in (
        (signal.SIGINT, note),
        (signal.SIGHUP, note),
        (signal.SIGTERM, forward),
    ):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        print(f"set-up: {command[0]}: {error.strerror}; `make clean` begins anew", file=sys.stderr)
        return _NOT_STARTED
    for missed in early:
        child.send_signal(missed)
    code = child.wait()
    if interrupted:
        return _after_interrupt()
    return 128 - code if code < 0 else code


def _after_interrupt() -> int:
    """The exit code after Ctrl-C.

    `make` gets the signal too and ends with it. It says `*** Interrupt` only of a failed recipe.
    """
    return 0 if "MAKELEVEL" in os.environ else _INTERRUPTED


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a virtual environment, run a command in it.")
    parser.add_argument("--venv", default=".venv", metavar="FOLDER", help="below the checkout")
    parser.add_argument("--extras", default="", metavar="A,B", help="extras of pyproject.toml")
    parser.add_argument("--requirements", type=Path, metavar="FILE", help="instead of the project")
    # argparse would take a second `--`, the command's own, for its.
    cut = [*sys.argv, "--"].index("--")
    options, command = parser.parse_args(sys.argv[1:cut]), sys.argv[cut + 1 :]
    if not command:
        parser.error("a command is missing: -- COMMAND...")
    if sys.prefix != sys.base_prefix:
        # An environment that is activated may be the one to be made anew.
        python = sys._base_executable  # type: ignore[attr-defined]  # noqa: SLF001 (as `venv` does)
        os.execv(python, [python, *sys.argv])  # noqa: S606 (no shell is wanted)
    folder = ROOT / options.venv
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        sets = Sets(ROOT, options.requirements)
        extras = [each for each in options.extras.split(",") if each]
        set_up(folder, sets, extras, project=options.requirements is None)
    except KeyboardInterrupt:
        print("\nset-up: interrupted; the next run begins it anew", file=sys.stderr)
        return _after_interrupt()
    except (SetupFailed, OSError) as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    program = folder / "bin" / command[0]
    return supervise([str(program) if program.exists() else command[0], *command[1:]])


if __name__ == "__main__":
    sys.exit(main())
