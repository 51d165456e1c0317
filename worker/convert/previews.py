"""Previews are a few small pictures for the report's page; children render them like any other."""

from __future__ import annotations

import base64
import dataclasses
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.convert.intake import ORIGINAL, NoPicture, OriginalUnreadable, take_in
from worker.convert.outcomes import Found, RunEnd
from worker.errors import Fatal, WorkerError
from worker.photo.ladder import Ladder
from worker.render.capacity import MIB
from worker.render.job import RenderSettings
from worker.render.pool import RenderPool
from worker.settings.settings import Settings
from worker.telemetry.logs import Log

_EDGE_PX: Final = 480
_MEMORY_BYTES: Final = 2048 * MIB


def previews(
    names: Sequence[str],
    originals: str,
    settings: Settings,
    log: Log,
    end: RunEnd,
    *,
    told_unconfined: bool = False,
) -> dict[str, str]:
    """Return the `data:` address of a small WebP for each name.

    Pictures that cannot be rendered are left out, and so are the rest when the run must `end`.
    `told_unconfined`: see `RenderPool`.
    """
    made: dict[str, str] = {}
    if not names or end.asked:
        return made
    # The run's own renditions may be only `full`, which is far too large for a page.
    with tempfile.TemporaryDirectory(prefix="photo-worker-previews-") as scratch:
        pool = RenderPool(
            RenderSettings(
                recipe=dataclasses.replace(
                    settings.recipe(""), ladder=Ladder.exactly(str(_EDGE_PX))
                ),
                max_pixels=settings.max_original_pixels,
                timeout_seconds=settings.render_timeout_seconds,
                memory_bytes=_MEMORY_BYTES,
                scratch=Path(scratch),
                watermark_file=settings.watermark,
                placeholders=False,
            ),
            1,
            log,
            told_unconfined=told_unconfined,
        )
        try:
            pool.start()
            for name in dict.fromkeys(names):
                if end.asked:
                    break
                folder = Path(tempfile.mkdtemp(dir=scratch))
                found = Found(name=name, path=f"{originals}/{name}", size_bytes=0, mtime_ns=0)
                with suppress(NoPicture, OriginalUnreadable, WorkerError, OSError):
                    take_in(found, folder / ORIGINAL, settings.limits)
                    (rendered,) = pool.render(folder / ORIGINAL, folder)
                    encoded = base64.b64encode(rendered.path.read_bytes()).decode()
                    made[name] = f"data:image/webp;base64,{encoded}"
        except Fatal as error:
            log.warning("the page has no previews", error=str(error))
        finally:
            pool.stop()
    return made
