"""The `plan` verb shows what a worker on this machine would run."""

from __future__ import annotations

from contextlib import ExitStack
from time import monotonic

from worker.console.printer import Printer
from worker.console.text import size, to_json
from worker.errors import RendererBroken, RenderFailed, SlotUnavailable
from worker.photo.ladder import DEFAULT_LADDER
from worker.render.capacity import Capacity
from worker.render.handshake import START_SECONDS, shake_hands
from worker.render.memory import largest_pixels
from worker.render.slot import Child
from worker.settings.settings import Settings
from worker.system.machine import Machine, read_machine
from worker.system.scratch import Scratch

_MEGAPIXEL = 1_000_000

TYPICAL_PIXELS = 16_000_000
CPU_SECONDS_PER_MEGAPIXEL = 0.095
"""The cost of rendering photographs with the default recipe; measured, see docs/performance.md."""

OVERHEAD_CPU_SECONDS = 0.05
"""The cost of download, uploads, Pub/Sub and Python for one photo."""

TARGET_QUALITY_FACTOR = 3
"""The factor of a target quality, which encodes and compares each rung until it fits; measured
likewise. A target of bytes takes no more time, because smaller files are encoded faster."""


def run_plan(settings: Settings, *, check: bool, as_json: bool) -> None:
    """Print the plan of this machine; with `check`, check first that the resources exist.

    A watermark is decoded by a child process, as a worker does at its start.

    Raises:
        Fatal: a resource is missing or does not answer.
    """
    machine = read_machine()
    capacity = settings.capacity(machine)
    planned = plan(settings, machine, capacity)
    if settings.watermark is not None:
        _try_watermark(settings, capacity)
    if check:
        warning = _check(settings)
        planned["resources"] = "checked"
        if warning is not None:
            planned["warning"] = warning
    Printer()(to_json(planned) if as_json else as_text(planned))


def plan(settings: Settings, machine: Machine, capacity: Capacity) -> dict[str, object]:
    """Return facts, sizes and an estimate, ready for JSON.

    The estimate assumes photos of 16 megapixels and the default ladder and efforts; `bench`
    measures instead.
    """
    factor = TARGET_QUALITY_FACTOR if settings.target_quality else 1
    render = factor * TYPICAL_PIXELS / 1e6 * CPU_SECONDS_PER_MEGAPIXEL
    per_photo = render + OVERHEAD_CPU_SECONDS
    recipe = settings.recipe("")
    default = settings.ladder == DEFAULT_LADDER
    return {
        "vcpus": settings.vcpus or machine.vcpus,
        "memory_bytes": settings.memory_bytes or machine.memory_bytes,
        "render_slots": capacity.slots,
        "in_flight": capacity.in_flight,
        "memory_for_renders_bytes": capacity.render_memory_bytes,
        "largest_jpeg_pixels": _largest(settings, capacity, progressive=False),
        "largest_progressive_jpeg_pixels": _largest(settings, capacity, progressive=True),
        "drain_seconds": settings.drain_seconds,
        "ladder": str(settings.ladder),
        "quality": settings.quality,
        "effort": recipe.looks.effort,
        "full_effort": recipe.looks.full_effort,
        "expected_photos_an_hour": int(3600 * capacity.slots / per_photo) if default else None,
    }


def as_text(planned: dict[str, object]) -> str:
    """Return the plan for a terminal: a line with label and value for each entry."""
    labels = {key: _label(key) for key in planned}
    width = max(map(len, labels.values()))
    return "\n".join(f"{labels[key]:<{width}}  {_human(key, planned[key])}" for key in planned)


def _try_watermark(settings: Settings, capacity: Capacity) -> None:
    """Let a child process decode the watermark.

    Raises:
        ConfigurationError: it cannot.
        RendererBroken: no child process comes up.
    """
    from worker.wiring import render_settings

    with Scratch() as scratch:
        try:
            child = Child(capacity.render_memory_bytes, scratch)
        except OSError as error:
            raise RendererBroken(f"no child process could be started: {error}") from error
        try:
            shake_hands(
                child, render_settings(settings, capacity, scratch), monotonic() + START_SECONDS
            )
        except (RenderFailed, SlotUnavailable) as error:
            raise RendererBroken(str(error)) from error
        finally:
            child.close()


def _check(settings: Settings) -> str | None:
    """What to warn of, if anything."""
    # The clients of Google take half a CPU second to import; --no-check runs without them.
    from worker.pubsub.clients import PubSubPublisher
    from worker.wiring import check_resources, open_store, open_subscriber, told_of_nesting

    with ExitStack() as stack:
        store, subscriber = open_store(settings), open_subscriber(settings)
        publisher = PubSubPublisher(settings.pubsub_emulator_host)
        for each in (store, subscriber, publisher):
            stack.callback(each.close)
        check_resources(settings, store, publisher, subscriber)
        return told_of_nesting(settings, store) if settings.renditions_bucket else None


def _largest(settings: Settings, capacity: Capacity, *, progressive: bool) -> int:
    """Return the pixels of the largest JPEG that the memory and the limit of pixels allow."""
    recipe = settings.recipe("")
    by_memory = largest_pixels(capacity.render_memory_bytes, recipe, progressive=progressive)
    return min(settings.max_original_pixels, by_memory)


def _label(key: str) -> str:
    for unit in ("_bytes", "_pixels", "_seconds"):
        key = key.removesuffix(unit)
    return key.replace("_", " ").replace("jpeg", "JPEG").replace("vcpus", "vCPUs")


def _human(key: str, value: object) -> str:
    if value is None:
        return "unknown for a ladder of one's own"
    if key.endswith("_bytes") and isinstance(value, int):
        return size(value)
    if key.endswith("_pixels") and isinstance(value, int):
        shown, unit = (
            (value / _MEGAPIXEL, "megapixels") if value >= _MEGAPIXEL else (value, "pixels")
        )
        return f"{shown:,.0f} {unit}"
    if key.endswith("_seconds"):
        return f"{value:g} s"
    if key == "expected_photos_an_hour":
        return f"about {value:,} (JPEG of {TYPICAL_PIXELS // _MEGAPIXEL} megapixels)"
    return str(value)
