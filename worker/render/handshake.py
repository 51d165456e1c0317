"""The handshake with a child: the child says that it is up, names its codecs, takes the watermark.

The child decodes the watermark like an original, in the sandbox, before the first original comes. A
bad watermark stops the start of the worker.
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
"""A child must be ready after this time."""


def shake_hands(child: Child, settings: RenderSettings, deadline: float) -> Ready:
    """Wait until a child is ready to render with these settings, until `deadline` (monotonic).

    Raises:
        ConfigurationError: the watermark cannot be decoded.
        RenderFailed: the child does not come up.
        RendererBroken: the watermark's file cannot be written to the scratch folder.
        SlotUnavailable: the child cannot read the watermark's file.
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
    """Waits for the codecs of the first child that gets ready; thread-safe."""

    def __init__(self) -> None:
        self._reports: queue.Queue[str | Exception] = queue.Queue()

    def report(self, codec: str | Exception) -> None:
        """Report one child's codecs, or the error that kept it from getting ready."""
        self._reports.put(codec)

    def wait(self, children: int) -> str:
        """Return the codecs of the first child that is ready, out of so many `children`.

        Raises:
            RendererBroken: all children failed; the message holds the last child's error.
            ConfigurationError: the children cannot do what the settings ask for.
        """
        error: Exception = RendererBroken("there are no slots")
        for _ in range(children):
            try:
                reported = self._reports.get(timeout=START_SECONDS)
            except queue.Empty:
                message = f"no child process got ready in {START_SECONDS:.0f} s"
                raise RendererBroken(message) from None
            if isinstance(reported, str):
                return reported
            error = reported
        if isinstance(error, Fatal):
            raise error
        raise RendererBroken(f"a child process did not start: {error}") from error
