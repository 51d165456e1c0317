"""`python tests/like_macos.py MODULE ARGUMENT...`: run a module as if this were macOS.

What macOS refuses, lacks or answers otherwise is changed at the lowest level that Python reaches,
before the module is imported, and for every process of the package that it starts in turn. It
cannot show what only a Mac has: its libraries, its file system, its memory.
"""

from __future__ import annotations

import errno
import os
import resource
import runpy
import select
import signal
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

_LINUXS = {
    os: (
        *("sched_getaffinity", "sched_setaffinity", "posix_fadvise", "posix_fallocate"),
        *("memfd_create", "eventfd", "pidfd_open", "copy_file_range", "splice", "getrandom"),
        *("getxattr", "setxattr", "listxattr", "removexattr", "unshare", "setns"),
        *("O_PATH", "O_TMPFILE", "waitid"),
    ),
    resource: ("prlimit", "RLIMIT_OFILE", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO"),
    select: ("epoll", "EPOLLIN"),
    signal: ("sigtimedwait", "sigwaitinfo", "pidfd_send_signal"),
}

_MEMORY = (resource.RLIMIT_DATA, resource.RLIMIT_AS)


def _refuse_memory_limits() -> None:
    real = resource.setrlimit

    def setrlimit(kind: int, limits: tuple[int, int]) -> None:
        if kind in _MEMORY and limits != (resource.RLIM_INFINITY, resource.RLIM_INFINITY):
            raise ValueError("current limit exceeds maximum limit")
        real(kind, limits)

    resource.setrlimit = setrlimit


def _count_memory_in_bytes() -> None:
    def in_bytes(usage: resource.struct_rusage) -> resource.struct_rusage:
        fields = list(usage)
        fields[2] *= 1024  # ru_maxrss
        return resource.struct_rusage(fields)

    getrusage, wait4 = resource.getrusage, os.wait4

    def waited(pid: int, options: int) -> tuple[int, int, resource.struct_rusage]:
        found, status, usage = wait4(pid, options)
        return found, status, in_bytes(usage)

    resource.getrusage = lambda who: in_bytes(getrusage(who))
    os.wait4 = waited


class Poll:
    """A pipe whose other end is closed can be read at once: macOS says so beside `POLLHUP`."""

    _make = select.poll

    def __init__(self) -> None:
        self._real: Any = Poll._make()
        self.register, self.modify = self._real.register, self._real.modify
        self.unregister = self._real.unregister

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        return [
            (descriptor, events | select.POLLIN if events & select.POLLHUP else events)
            for descriptor, events in self._real.poll(timeout)
        ]


def _hide_files(event: str, arguments: tuple[Any, ...]) -> None:
    if not arguments or event not in {"open", "os.listdir", "os.scandir", "ctypes.dlopen"}:
        return
    name = arguments[0]
    path = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else ""
    if path.startswith(("/proc", "/sys", "/dev/shm")) or path == "libc.so.6":  # noqa: S108
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _pass_on() -> None:
    """Have the package start its own processes by this program too."""
    from worker.system import interpreter

    def command(module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-P", __file__, module, *arguments]

    interpreter.command = command


def imitate() -> None:
    """Change this process; must come before any import of the package."""
    sysconfig.get_config_vars()  # read once, from a file that has the platform's name
    sys.platform = "darwin"
    # urllib asks for them.
    proxies: Any = types.ModuleType("_scproxy")
    proxies._get_proxies = proxies._get_proxy_settings = dict
    sys.modules["_scproxy"] = proxies
    for module, names in _LINUXS.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    _refuse_memory_limits()
    _count_memory_in_bytes()
    for name, ours in {"poll": Poll, "PIPE_BUF": 512}.items():
        setattr(select, name, ours)
    sys.addaudithook(_hide_files)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    imitate()
    _pass_on()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
