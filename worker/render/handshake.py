"""The handshake with a child: it is up, names its codecs, and takes the watermark.

A child decodes the watermark like an original, shut in, before the first original comes: a bad one
stops the start of the worker.
"""

from __future__ import annotations

import queue
from typing import Final

from worker.errors import ConfigurationError, Fatal, RendererBroken, SlotUnavailable
from worker.render.job import RenderSettings
from worker.render.protocol import Ready
from worker.render.slot import Child
from worker.render.verification import verified_done, verified_ready

START_SECONDS: Final = 60.0
"""What a child may take to get ready."""


def shake_hands(child: Child, settings: RenderSettings, deadline: float) -> Ready:
    """Wait until a child is ready to render by these settings.

    Raises:
        ConfigurationError: the watermark cannot be decoded.
        RenderFailed: it does not come up.
        RendererBroken: the watermark cannot be put where it sees it.
        SlotUnavailable: it cannot read the watermark's file.
    """
    ready = verified_ready(child.receive(deadline))
    if request := settings.place_watermark():
        child.send(request)
        refusal = verified_done(child.receive(deadline))
        if isinstance(refusal, SlotUnavailable):
            raise refusal
        if refusal is not None and settings.watermark_file is not None:
            name = settings.watermark_file.name
            raise ConfigurationError(
                [f"WORKER_WATERMARK={name!r}: cannot be laid over anything: {refusal}"]
            )
    return ready


class FirstCodec:
    """The codecs of the first child that gets ready, or why all failed; thread-safe."""

    def __init__(self) -> None:
        self._told: queue.Queue[str | Exception] = queue.Queue()

    def tell(self, codec: str | Exception) -> None:
        """Of one child: its codecs, or what kept it from getting ready."""
        self._told.put(codec)

    def wait(self, children: int) -> str:
        """The codecs that the first of so many children names.

        Raises:
            RendererBroken: all failed; the message holds what the last one printed.
            ConfigurationError: the settings ask for what they cannot do.
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
