"""The threads of one run: who walks, who renders, who places.

The main thread walks and judges. A thread for each picture in flight reads it and waits for its
render; another places what is finished (`placing`). They are joined by queues of a few, so that no
more is held however many pictures there are.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from worker.console.text import duration
from worker.convert.engine import Engine
from worker.convert.outcomes import Converted, Failed, PassedOver, Pending, Stop, Unchanged
from worker.convert.picture import Pictures
from worker.convert.placing import Placer
from worker.convert.tally import Tally
from worker.convert.walk import Sighting
from worker.errors import Draining, Fatal
from worker.telemetry.logs import Log

_LOOK_SECONDS: Final = 0.1

_IN_FLIGHT_PER_SLOT: Final = 2
"""One renders, the next is copied, hashed and measured; and one more for all."""

_QUEUED: Final = 64


class Session:
    """One run's; `run` is called once, from the main thread."""

    def __init__(  # noqa: PLR0913 (the parts of a run, each by its name)
        self,
        *,
        pictures: Pictures,
        engine: Engine,
        placer: Placer,
        tally: Tally,
        stop: Stop,
        log: Log,
        look: Callable[[], None],
    ) -> None:
        """Start nothing. `look` is called often, in the main thread, to show how far it is."""
        self._pictures = pictures
        self._engine = engine
        self._placer = placer
        self._tally = tally
        self._stop = stop
        self._log = log
        self._show = look
        self._queue: queue.Queue[Pending | None] = queue.Queue(maxsize=_QUEUED)
        self._turned_away = False
        self._threads = [
            threading.Thread(target=self._work, name=f"picture-{number}", daemon=True)
            for number in range(engine.slots * _IN_FLIGHT_PER_SLOT + 1)
        ]

    def run(self, sightings: Iterable[Sighting], limit: int | None) -> bool:
        """Convert what the walk finds, `limit` pictures at most; whether it came to its end.

        Where it did not, `stop` tells why.
        """
        self._placer.start()
        for thread in self._threads:
            thread.start()
        complete = False
        try:
            complete = self._feed(sightings, limit)
        except Fatal as error:
            self._stop.fatal = self._stop.fatal or error
        for _ in self._threads:
            self._put(None)
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_LOOK_SECONDS)
                self._look()
        self._placer.finish()
        return complete and not self._stop.asked

    def _feed(self, sightings: Iterable[Sighting], limit: int | None) -> bool:
        begun = 0
        for sighting in sightings:
            self._look()
            if self._stop.asked:
                return False
            if isinstance(sighting, PassedOver):
                self._tally.add(sighting)
                continue
            self._tally.saw()
            judged = sighting if isinstance(sighting, Failed) else self._pictures.judge(sighting)
            if not isinstance(judged, Pending):
                self._tally.add(judged)
            elif begun == limit:
                self._tally.unsaw()
                self._stop.full = True
                return False
            else:
                begun += 1
                self._put(judged)
        return True

    def _put(self, pending: Pending | None) -> None:
        """Queue it, unless the run ends."""
        while pending is None or not self._stop.asked:
            with suppress(queue.Full):
                self._queue.put(pending, timeout=_LOOK_SECONDS)
                return
            self._look()

    def _look(self) -> None:
        if self._stop.asked and not self._turned_away:
            self._turned_away = True
            self._engine.close_admission()
        self._show()

    def _work(self) -> None:
        while (pending := self._queue.get()) is not None:
            if self._stop.asked:
                continue
            try:
                self._convert(pending)
            except Draining:
                continue
            except Fatal as error:
                self._stop.fatal = self._stop.fatal or error
            except Exception as error:  # noqa: BLE001 (without its threads the run would wait)
                self._log.exception("a picture ended the run", name=pending.found.name)
                self._stop.fatal = self._stop.fatal or Fatal(f"{type(error).__name__}: {error}")

    def _convert(self, pending: Pending) -> None:
        outcome = self._pictures.convert(pending)
        if isinstance(outcome, Converted | Unchanged):
            self._placer.put(outcome)
            return
        if isinstance(outcome, PassedOver):
            self._tally.unsaw()
        self._tally.add(outcome)


class Pace:
    """What progress shows: counts, how many there are, and when it may be over."""

    def __init__(self, tally: Tally, total: Callable[[], int | None]) -> None:
        """`total` guesses how many pictures there are, once it can."""
        self._tally = tally
        self._total = total
        self._begun = time.monotonic()

    def counts(self) -> dict[str, object]:
        """For `progress`."""
        counts = self._tally.counts
        shown: dict[str, object] = {
            "converted": counts.converted,
            "current": counts.current,
            "failed": counts.failed,
        }
        total = self._total()
        if total is not None and total >= counts.settled:
            shown["of"] = total
            worked = counts.converted + counts.failed
            if worked:
                each = (time.monotonic() - self._begun) / worked
                shown["left"] = duration((total - counts.settled) * each)
        return shown
