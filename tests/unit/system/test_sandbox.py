"""The sandbox from inside: a process that has confined itself tries what it may not do."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest

from worker.system import interpreter
from worker.system.sandbox import FILE_BYTES, MIB, OPEN_FILES, _readable, tells_of_no_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")

_INSIDE = """
import ctypes, fcntl, json, mmap, os, resource, socket, struct, sys, threading
from pathlib import Path
from worker.render.image import imaging
from worker.system import sandbox

scratch, outside = Path(sys.argv[1]), Path(sys.argv[2])
parent = os.getppid()
inherited = os.open(outside, os.O_RDONLY)
refused = sandbox.confine(64 * sandbox.MIB, scratch)

def thread():
    ran = []
    started = threading.Thread(target=ran.append, args=(1,))
    started.start()
    started.join()
    return ran

def grow():
    with (scratch / "large").open("wb") as file:
        os.pwrite(file.fileno(), b"x", sandbox.FILE_BYTES)

libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def raise_limit(kind):
    resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

pipe = 1
own = os.sched_getaffinity(0)

def render_limit(mebibytes):
    sandbox.limit_render(8 * sandbox.MIB, 60)
    return len(bytearray(mebibytes * sandbox.MIB)) // sandbox.MIB

attempts = {
    "limits": {
        "read what was inherited": lambda: os.read(inherited, 1),
        "shared memory": lambda: mmap.mmap(-1, 1024 * sandbox.MIB),
        "raise the memory limit": lambda: raise_limit(resource.RLIMIT_DATA),
        "raise the address limit": lambda: raise_limit(resource.RLIMIT_AS),
        "raise the CPU limit": lambda: raise_limit(resource.RLIMIT_CPU),
        "a large file": grow,
        "many files": lambda: [open("/dev/null") for _ in range(sandbox.OPEN_FILES)],
        "much memory": lambda: len(bytearray(512 * sandbox.MIB)),
        "more than this render's": lambda: render_limit(160),
    },
    "system calls": {
        "socket": lambda: socket.socket(),
        "socketpair": lambda: socket.socketpair(),
        "execute": lambda: os.execv("/bin/true", ["true"]),
        "fork": lambda: os.fork() or os._exit(0),
        "signal the parent": lambda: os.kill(parent, 0),
        "trace the parent": lambda: 1 / (ctypes.CDLL(None).ptrace(16, parent, 0, 0) + 1),
        "have the parent signalled": lambda: fcntl.fcntl(pipe, fcntl.F_SETOWN, parent),
        "have it signalled too": lambda: fcntl.fcntl(pipe, 15, struct.pack("ii", 1, parent)),
        "choose the signal": lambda: fcntl.fcntl(pipe, 10, 9),
        "hold up who opens": lambda: fcntl.fcntl(pipe, fcntl.F_SETLEASE, fcntl.F_WRLCK),
        "watch a folder": lambda: fcntl.fcntl(pipe, fcntl.F_NOTIFY, 1),
        "be told of files": lambda: call("inotify_init1", 0),
        "slow the parent": lambda: os.setpriority(os.PRIO_PROCESS, parent, 1),
        "move the parent": lambda: os.sched_setaffinity(parent, own),
        "schedule the parent": lambda: os.sched_setscheduler(parent, 0, os.sched_param(0)),
        "chmod": lambda: os.chmod(outside, 0o640),
        "chown": lambda: os.chown(outside, os.getuid(), os.getgid()),
        "utime": lambda: os.utime(outside, (1, 1)),
        "truncate": lambda: os.truncate(outside, 0),
        "setxattr": lambda: os.setxattr(outside, "user.x", b"1"),
        "removexattr": lambda: os.removexattr(outside, "user.x"),
        "chroot": lambda: os.chroot(scratch),
        "fifo": lambda: os.mkfifo(Path(scratch, "fifo")),
        "symbolic link": lambda: os.symlink(outside, Path(scratch, "link")),
        "hard link": lambda: os.link(outside, Path(scratch, "another")),
        "mount": lambda: call("umount2", b"/nowhere", 0),
        "memory in a file": lambda: os.memfd_create("x"),
        "memory that stays": lambda: call("shmget", 0, 4096, 0o1600),
        "a queue that stays": lambda: call("msgget", 0, 0o1600),
        "a semaphore that stays": lambda: call("semget", 0, 1, 0o1600),
    },
    "files": {
        "read the parent's memory": lambda: open(f"/proc/{parent}/mem", "rb").close(),
        "read the parent's environment": lambda: open(f"/proc/{parent}/environ", "rb").close(),
        "read outside": lambda: outside.read_text(),
        "write outside": lambda: outside.write_text("taken over"),
        "create outside": lambda: (outside.parent / "new").write_text("x"),
    },
    "allowed": {
        "this render's": lambda: render_limit(64),
        "a thread": thread,
        "write in scratch": lambda: (scratch / "320.webp").write_text("rendition"),
        "read in scratch": lambda: (scratch / "320.webp").read_text(),
        "import": lambda: __import__("csv").__name__,
        "raise the limit again": lambda: sandbox.limit_render(32 * sandbox.MIB, 60),
    },
}

def outcome(attempt):
    try:
        attempt()
    except Exception as error:
        return type(error).__name__
    return "done"

results = {
    group: {name: outcome(attempt) for name, attempt in each.items()}
    for group, each in attempts.items()
}
print(json.dumps({"refused": refused, **results}))
"""

LIMITS = {
    "read what was inherited": "OSError",
    "a large file": "OSError",
    "many files": "OSError",
    "much memory": "MemoryError",
    "more than this render's": "MemoryError",
    "shared memory": "OSError",
    "raise the memory limit": "ValueError",
    "raise the address limit": "ValueError",
    "raise the CPU limit": "ValueError",
}


def run(script: str, *arguments: str | Path) -> str:
    """What a script prints, in a process of its own that has to succeed."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


Found = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("sandbox")
    scratch, outside = folder / "scratch", folder / "credentials.json"
    scratch.mkdir()
    outside.write_text("secret")
    found: Found = json.loads(run(_INSIDE, scratch, outside))
    assert outside.read_text() == "secret"
    return found


def skip_where_refused(inside: Found, what: str) -> None:
    if any(refusal.startswith(what) for refusal in inside["refused"]):
        pytest.skip(f"this kernel refuses: {inside['refused']}")


def test_what_a_render_needs_goes_on(inside: Found) -> None:
    assert inside["allowed"] == dict.fromkeys(inside["allowed"], "done")


def test_memory_files_and_descriptors_are_limited(inside: Found) -> None:
    assert inside["limits"] == LIMITS


def test_network_programs_and_other_processes_are_out_of_reach(inside: Found) -> None:
    skip_where_refused(inside, "system calls")
    calls = inside["system calls"]
    expected = dict.fromkeys(calls, "PermissionError") | {"trace the parent": "ZeroDivisionError"}
    assert calls == expected


def test_files_outside_the_scratch_folder_are_out_of_reach(inside: Found) -> None:
    skip_where_refused(inside, "files")
    assert inside["files"] == dict.fromkeys(inside["files"], "PermissionError")


_OWNER = """
import subprocess, sys
from pathlib import Path

subprocess.run([sys.executable, "-c", *sys.argv[1:]], check=True)
print("lived")
"""

_SIGNALLER = """
import contextlib, fcntl, os, sys
from pathlib import Path
from worker.system import landlock
from worker.system import sandbox
from worker.system import seccomp

parent, nothing = os.getppid(), lambda *_: None
if sys.argv[2] == "landlock":
    seccomp.install = nothing
if sys.argv[2] == "seccomp":
    landlock.restrict = nothing
sandbox.confine(64 * sandbox.MIB, Path(sys.argv[1]))
reads, writes = os.pipe()
with contextlib.suppress(PermissionError):
    fcntl.fcntl(reads, fcntl.F_SETOWN, parent)
    fcntl.fcntl(reads, 10, 9)
    fcntl.fcntl(reads, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writes, b"x")
with contextlib.suppress(PermissionError):
    os.kill(parent, 9)
"""

_SCOPES_SINCE = 6


@pytest.mark.parametrize("by", ["both", "landlock", "seccomp"])
def test_a_child_cannot_have_its_parent_killed(tmp_path: Path, by: str) -> None:
    if by == "landlock" and landlock_version() < _SCOPES_SINCE:
        pytest.skip("this kernel's Landlock knows no scopes")
    assert run(_OWNER, _SIGNALLER, tmp_path, by) == "lived\n"


def landlock_version() -> int:
    return int(ctypes.CDLL(None).syscall(444, None, 0, 1))


def test_what_lies_beside_a_checkouts_package_is_not_readable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkout = interpreter.checkout()
    assert checkout is not None, "these tests run from a checkout"
    monkeypatch.setattr(sys, "path", ["/current", str(checkout), "", "/libraries"])
    readable = _readable()
    assert checkout / "worker" in readable
    assert Path("/libraries") in readable
    assert not {checkout, Path("/current"), Path(), Path("/")} & set(readable)


_REFUSING = """
import errno, sys
from pathlib import Path
from worker.system import landlock
from worker.system import sandbox
from worker.system import seccomp

def refuse(*_):
    raise OSError(errno.EPERM, "not here")

landlock.restrict = seccomp.install = refuse
print(*sandbox.confine(64 * sandbox.MIB, Path(sys.argv[1])), sep="\\n")
"""


def test_a_kernel_that_refuses_is_reported_and_the_limits_hold(tmp_path: Path) -> None:
    files, calls = run(_REFUSING, tmp_path).splitlines()
    assert files.startswith("files: ")
    assert calls.startswith("system calls: ")


_LIMITS_REFUSED = """
import json, resource, sys
from pathlib import Path
from worker.system import landlock
from worker.system import sandbox
from worker.system import seccomp

landlock.restrict = seccomp.install = lambda *_: None
real, names = resource.setrlimit, sys.argv[2:]
kinds = {name: getattr(resource, name) for name in names}

def told():
    refused = sandbox.confine(64 * sandbox.MIB, Path(sys.argv[1]))
    sandbox.limit_render(8 * sandbox.MIB, 60)
    return [each for each in refused if each.startswith("RLIMIT_")]

found = {}
for name, refused in kinds.items():
    def setrlimit(kind, limits):
        if kind == refused:
            raise ValueError("current limit exceeds maximum limit")
        real(kind, limits)
    resource.setrlimit = setrlimit
    refusing = told()
    delattr(resource, name)
    unknown = told()
    setattr(resource, name, refused)
    found[name] = refusing + unknown
resource.setrlimit = real
print(json.dumps(found | {"none": told()}))
"""

_EVERY_LIMIT = (
    *("RLIMIT_DATA", "RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NOFILE"),
)


def test_a_limit_that_the_platform_refuses_or_lacks_is_told_and_the_others_are_set(
    tmp_path: Path,
) -> None:
    found = json.loads(run(_LIMITS_REFUSED, tmp_path, *_EVERY_LIMIT))
    assert found.pop("none") == []
    assert set(found) == set(_EVERY_LIMIT)
    for name, (refused, unknown) in found.items():
        assert refused == f"{name}: current limit exceeds maximum limit"
        assert unknown.startswith(f"{name}: ")


_LIMITED_ALREADY = """
import resource, sys
from pathlib import Path
from worker.system import sandbox

kinds = resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE
for kind in kinds:
    resource.setrlimit(kind, (40, 40))
refused = sandbox.confine(64 * sandbox.MIB, Path(sys.argv[1]))
print([each for each in refused if each.startswith("RLIMIT_")])
print([resource.getrlimit(kind) for kind in kinds])
"""


def test_a_lower_limit_that_the_worker_was_started_with_stays(tmp_path: Path) -> None:
    assert run(_LIMITED_ALREADY, tmp_path).splitlines() == ["[]", "[(40, 40), (40, 40)]"]


def test_the_limits_leave_room_for_a_render() -> None:
    assert FILE_BYTES >= 128 * MIB
    assert OPEN_FILES >= 16


@pytest.mark.parametrize(
    ("said", "means_memory"),
    [
        ("GLib-ERROR **: gmem.c:106: failed to allocate 74886288 bytes", True),
        ("memory allocation of 64000000 bytes failed", True),
        ("terminate called after throwing an instance of 'std::bad_alloc'", True),
        ("unable to copy to memory VipsJpeg: Insufficient memory (case 4)", True),
        ("vips_tracked: out of memory -- size == 91MB", True),
        ("unable to call webpsave_buffer webpsave: failed to allocate 36000000 bytes", True),
        ("glib: Error creating thread: Resource temporarily unavailable", True),
        ("unable to encode wbuffer_write: write failed system error: Unknown error -1", True),
        ("VipsJpeg: premature end of JPEG image", False),
        ("double free or corruption (!prev)", False),
    ],
)
def test_each_librarys_words_for_no_memory_are_known(said: str, *, means_memory: bool) -> None:
    assert tells_of_no_memory(said) is means_memory
