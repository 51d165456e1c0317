"""The threads of one run: one walks, some render, one places.

The main thread walks and judges. Each picture in flight has a thread that reads it and waits for
its render. Another thread places finished pictures (`placing`). The queues between the threads are
short, so memory stays flat however many pictures there are.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from worker.convert.engine import Engine
from worker.convert.originals import Sighting
from worker.convert.outcomes import Converted, Failed, Found, PassedOver, RunEnd, Unchanged
from worker.convert.picture import Pictures
from worker.convert.placing import Placer
from worker.convert.tally import Tally
from worker.errors import Draining, Fatal
from worker.telemetry.logs import Log

_LOOK_SECONDS: Final = 0.1

_IN_FLIGHT_PER_SLOT: Final = 2
"""For each slot, one picture renders while the next is copied, hashed and measured; plus one."""

_QUEUED: Final = 64


@dataclass(slots=True, kw_only=True)
class Session:
    """The session of one run; used by the main thread. It calls `show` often, for the progress."""

    pictures: Pictures
    engine: Engine
    placer: Placer
    tally: Tally
    end: RunEnd
    log: Log
    show: Callable[[], None]
    _queue: queue.Queue[Found | None] = field(
        init=False, default_factory=lambda: queue.Queue(maxsize=_QUEUED)
    )
    _turned_away: bool = field(init=False, default=False)

    def judge(self, sightings: Iterable[Sighting], limit: int | None) -> bool:
        """Count what `run` would do, without doing it."""
        return self._feed(sightings, limit, self.tally.wants)

    def run(self, sightings: Iterable[Sighting], limit: int | None) -> bool:
        """Convert what the walk finds, up to `limit` pictures; return True if the walk ended.

        If it did not, `end` has the reason.
        """
        threads = [
            threading.Thread(target=self._work, name=f"picture-{number}", daemon=True)
            for number in range(self.engine.slots * _IN_FLIGHT_PER_SLOT + 1)
        ]
        self.placer.start()
        for thread in threads:
            thread.start()
        complete = False
        try:
            complete = self._feed(sightings, limit, self._put)
        except Fatal as error:
            self.end.fail(error)
        for _ in threads:
            self._put(None)
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK_SECONDS)
                self._look()
        self.placer.finish()
        return complete and not self.end.asked

    def _feed(
        self, sightings: Iterable[Sighting], limit: int | None, begin: Callable[[Found], None]
    ) -> bool:
        begun = 0
        for sighting in sightings:
            self._look()
            if self.end.asked:
                return False
            if isinstance(sighting, PassedOver):
                self.tally.add(sighting)
                continue
            settled = sighting if isinstance(sighting, Failed) else self.pictures.judge(sighting)
            if settled is None and begun == limit:
                self.end.limited = True
                return False
            self.tally.saw()
            if settled is not None:
                self.tally.add(settled)
            elif isinstance(sighting, Found):
                begun += 1
                begin(sighting)
        return True

    def _put(self, found: Found | None) -> None:
        """Queue a picture, unless the run ends; `None` ends a thread."""
        while found is None or not self.end.asked:
            with suppress(queue.Full):
                self._queue.put(found, timeout=_LOOK_SECONDS)
                return
            self._look()

    def _look(self) -> None:
        if self.end.asked and not self._turned_away:
            self._turned_away = True
            self.engine.close_admission()
        self.show()

    def _work(self) -> None:
        while (found := self._queue.get()) is not None:
            if self.end.asked:
                continue
            try:
                self._convert(found)
            except Draining:
                continue
            except Fatal as error:
                self.end.fail(error)
            except Exception as error:
                self.log.exception("a picture ended the run", name=found.name)
                self.end.fail(Fatal(f"{type(error).__name__}: {error}"))

    def _convert(self, found: Found) -> None:
        outcome = self.pictures.convert(found)
        if isinstance(outcome, Converted | Unchanged):
            self.placer.put(outcome)
            return
        if isinstance(outcome, PassedOver):
            self.tally.unsaw()
        self.tally.add(outcome)
