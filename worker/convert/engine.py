"""The render pool of one run: its size, and the pool, which starts with the first picture."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from worker import __version__
from worker.convert.state import StateFile
from worker.render.capacity import CHILD_BYTES, MIB, no_room
from worker.render.job import RenderSettings
from worker.render.pool import RenderPool
from worker.settings.settings import Settings
from worker.system.facts import versions
from worker.system.machine import Machine
from worker.telemetry.logs import Log

PARENT_BYTES: Final = 64 * MIB
"""This process took 50 MiB over ten thousand pictures."""

_LEAST_RENDER_BYTES: Final = 96 * MIB
"""The memory of one slot; it is enough for a 12 MP photo."""

PACKAGES: Final = ("pyvips", "pyvips-binary", "pillow", "pi-heif")
"""The versions of these packages, and of this package, decide the bytes."""

_NOTE: Final = "codec"


def plan_slots(settings: Settings, machine: Machine) -> tuple[int, int]:
    """Return the number of render slots, and the memory of all renders together, in bytes.

    Raises:
        ConfigurationError: the memory is too small for one render.
    """
    memory_bytes = settings.memory_bytes or machine.memory_bytes
    room = memory_bytes - PARENT_BYTES
    each = CHILD_BYTES + _LEAST_RENDER_BYTES
    if room < each:
        raise no_room(memory_bytes, PARENT_BYTES + each)
    slots = min(settings.vcpus or machine.vcpus, room // each)
    return slots, room - slots * CHILD_BYTES


class Engine:
    """A `RenderPool` that starts with the first render; thread-safe."""

    def __init__(self, settings: RenderSettings, slots: int, log: Log) -> None:
        self.slots = slots
        self.started = False
        """True after the first render has started the pool."""

        self._lock = threading.Lock()
        self._pool = RenderPool(settings, slots, log)

    def pool(self) -> RenderPool:
        """Return the pool; start it at the first call.

        Raises:
            RendererBroken: child processes cannot be started.
        """
        with self._lock:
            if not self.started:
                self.started = True
                self._pool.start()
            return self._pool

    def close_admission(self) -> None:
        """Turn away waiting renders; running renders go on."""
        self._pool.close_admission()

    def stop(self) -> None:
        """Kill the children at once."""
        if self.started:
            self._pool.stop()


def codec_of(state: StateFile, pool: Callable[[], RenderPool]) -> str:
    """Return the libraries that encode; ask a child only if the installed packages have changed.

    Raises:
        RendererBroken: child processes cannot be started.
    """
    found = versions(PACKAGES)
    installed = json.dumps({"photo-worker": __version__, **found}, sort_keys=True)
    with suppress(TypeError, ValueError, KeyError):
        noted = json.loads(state.note(_NOTE) or "")
        if noted["installed"] == installed and len(found) == len(PACKAGES):
            return str(noted["codec"])
    codec = pool().recipe.codec
    state.keep_note(_NOTE, json.dumps({"installed": installed, "codec": codec}))
    return codec
