"""The render pool of one run: started with the first picture that needs it, never without one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from worker import __version__
from worker.convert.state import State
from worker.render.capacity import CHILD_BYTES, MIB, no_room
from worker.render.job import RenderSettings
from worker.render.pool import RenderPool
from worker.settings.settings import Settings
from worker.system.facts import versions
from worker.system.machine import Machine
from worker.telemetry.logs import Log

PARENT_BYTES: Final = 64 * MIB
"""This process, which knows no cloud: 50 MiB over ten thousand pictures."""

_LEAST_RENDER_BYTES: Final = 96 * MIB
"""Of one slot: a 12 MP photo."""

_LIBRARIES: Final = ("pyvips", "pyvips-binary", "pillow", "pi-heif")
_NOTE: Final = "codec"


def plan_slots(settings: Settings, machine: Machine) -> tuple[int, int]:
    """Render slots, and what all renders may have together, in bytes.

    Raises:
        ConfigurationError: not even one render fits.
    """
    memory_bytes = settings.memory_bytes or machine.memory_bytes
    room = memory_bytes - PARENT_BYTES
    each = CHILD_BYTES + _LEAST_RENDER_BYTES
    if room < each:
        raise no_room(memory_bytes, PARENT_BYTES + each)
    slots = min(settings.vcpus or machine.vcpus, room // each)
    return slots, room - slots * CHILD_BYTES


class Engine:
    """A `RenderPool` that begins late; thread-safe."""

    def __init__(self, settings: RenderSettings, slots: int, log: Log) -> None:
        """Start nothing."""
        self.slots = slots
        self._settings = settings
        self._log = log
        self._lock = threading.Lock()
        self._pool: RenderPool | None = None
        self._closed = False

    @property
    def started(self) -> bool:
        """Whether there ever was a child process."""
        return self._pool is not None

    def pool(self) -> RenderPool:
        """The pool, started.

        Raises:
            RendererBroken: no child process can be started.
        """
        with self._lock:
            if self._pool is None:
                pool = RenderPool(self._settings, self.slots, self._log)
                pool.start()
                self._pool = pool
                if self._closed:
                    pool.close_admission()
            return self._pool

    def close_admission(self) -> None:
        """Turn away what waits; what runs goes on."""
        with self._lock:
            self._closed = True
            if self._pool is not None:
                self._pool.close_admission()

    def stop(self) -> None:
        """End the children, at once."""
        pool = self._pool
        if pool is not None:
            pool.stop()


def codec_of(state: State, pool: Callable[[], RenderPool]) -> str:
    """The libraries that encode; no child is started as long as they are the same packages.

    Raises:
        RendererBroken: no child process can be started.
    """
    found = versions(_LIBRARIES)
    installed = json.dumps({"photo-worker": __version__, **found}, sort_keys=True)
    with suppress(TypeError, ValueError, KeyError):
        noted = json.loads(state.note(_NOTE) or "")
        if noted["installed"] == installed and len(found) == len(_LIBRARIES):
            return str(noted["codec"])
    codec = pool().recipe.codec
    state.keep_note(_NOTE, json.dumps({"installed": installed, "codec": codec}))
    return codec
