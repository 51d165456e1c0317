"""The first words with a child: that it is up, which codecs it has, and that it has the watermark.

A watermark is decoded where originals are, shut in, and before the first of them comes: a bad one
stops the worker, and costs no photo.
"""

from __future__ import annotations

import queue
from typing import Final

from worker.errors import ConfigurationError, Fatal, RendererBroken, SlotUnavailable
from worker.render.job import RenderSettings
from worker.render.protocol import Ready, read_kept, read_ready
from worker.render.slot import Child

START_SECONDS: Final = 60.0
"""What a child may take to get ready."""


def greet(child: Child, settings: RenderSettings, deadline: float) -> Ready:
    """Wait until a child is ready to render by these settings.

    Raises:
        ConfigurationError: the watermark is no picture that can be decoded.
        RenderFailed: it does not come up.
        RendererBroken: the watermark cannot be put where it sees it.
        SlotUnavailable: it cannot read the watermark's file.
    """
    ready = read_ready(child.receive(deadline))
    watermark = settings.recipe.watermark
    if watermark is None:
        return ready
    settings.place_watermark()
    child.send({"watermark": settings.watermark_request()})
    refusal = read_kept(child.receive(deadline))
    if isinstance(refusal, SlotUnavailable):
        raise refusal
    if refusal is not None:
        raise ConfigurationError(
            [f"WORKER_WATERMARK={watermark.file.name!r}: cannot be laid over anything: {refusal}"]
        )
    return ready


class FirstCodec:
    """What the first child that gets ready says of its codecs, or why none did; thread-safe."""

    def __init__(self) -> None:
        """Nobody has said anything."""
        self._told: queue.Queue[str | Exception] = queue.Queue()

    def tell(self, codec: str | Exception) -> None:
        """Of one child: its codecs, or what kept it from getting ready."""
        self._told.put(codec)

    def wait(self, children: int) -> str:
        """The first answer of so many children that is one.

        Raises:
            RendererBroken: none got ready; the message holds what the last one printed.
            ConfigurationError: none could do what the settings ask of it.
        """
        error: Exception = RendererBroken("there are no slots")
        for _ in range(children):
            try:
                told = self._told.get(timeout=START_SECONDS)
            except queue.Empty:
                message = f"no child process got ready in {START_SECONDS:.0f} s"
                raise RendererBroken(message) from None
            if isinstance(told, str):
                return told
            error = told
        if isinstance(error, Fatal):
            raise error
        raise RendererBroken(f"a child process did not start: {error}") from error
