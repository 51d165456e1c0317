"""This module limits which files a process can open, by the three system calls of Linux's Landlock.

The process may read below some paths, and write new files below one path. Every other file is
denied, even the user's own. The process also cannot reach into processes outside of its domain
(`/proc/PID/mem`, ptrace). Newer kernels also deny signals and connections to those processes. See
https://docs.kernel.org/userspace-api/landlock.html.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from worker.system.seccomp import system_call

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_MAKE_FILE: Final = 1 << 8
_TRUNCATE: Final = 1 << 14

_BIND_AND_CONNECT_TCP: Final = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 0b11

_RIGHTS_BY_VERSION: Final = (13, 14, 15, 15, 16)
"""The number of file rights in each version of the interface; later versions count as the last."""

_NETWORK_SINCE: Final = 4
_SCOPES_SINCE: Final = 6


def restrict(readable: Iterable[Path], writable: Path) -> None:
    """Deny all other files to the calling thread, and to threads that it starts later, for good.

    Paths that do not exist are skipped. Call `seccomp.forbid_new_privileges` first.

    Raises:
        OSError: the kernel lacks Landlock, or refuses the call.
    """
    if sys.platform != "linux":
        raise OSError("no Landlock but on Linux")
    version = system_call("landlock", _CREATE_RULESET, None, 0, _ASK_VERSION)
    known = _RIGHTS_BY_VERSION[min(version, len(_RIGHTS_BY_VERSION)) - 1]
    handled = (1 << known) - 1
    attributes = struct.pack("=Q", handled)
    if version >= _NETWORK_SINCE:
        attributes += struct.pack("=Q", _BIND_AND_CONNECT_TCP)
    if version >= _SCOPES_SINCE:
        attributes += struct.pack("=Q", _ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = system_call("landlock", _CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        _allow(
            ruleset,
            writable,
            handled & (_READ_FILE | _READ_DIR | _WRITE_FILE | _MAKE_FILE | _TRUNCATE),
        )
        system_call("landlock", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= ~_READ_DIR
        system_call(
            "landlock", _ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0
        )
    finally:
        os.close(descriptor)
