"""The `plan` verb: what this machine would run, before it runs."""

from __future__ import annotations

from worker.photo.ladder import DEFAULT_LADDER
from worker.render.capacity import MIB, Capacity
from worker.render.memory import largest_pixels
from worker.settings.settings import Settings
from worker.system.machine import Machine

TYPICAL_PIXELS = 16_000_000
CPU_SECONDS_PER_MEGAPIXEL = 0.095
"""Rendering photographs with the default recipe; measured, see docs/performance.md."""

OVERHEAD_CPU_SECONDS = 0.05
"""Download, uploads, Pub/Sub and Python around one photo."""

TARGET_QUALITY_FACTOR = 3
"""Encodes, and looks at what came of them, until a rung looks as it should; measured likewise. A
target of bytes takes no more time in sum: what is smaller is encoded faster."""


def plan(settings: Settings, machine: Machine, capacity: Capacity) -> dict[str, object]:
    """Facts, sizes and an estimate, ready for JSON.

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


def _largest(settings: Settings, capacity: Capacity, *, progressive: bool) -> int:
    """What is rendered here at most: by memory, or by the limit of pixels."""
    recipe = settings.recipe("")
    by_memory = largest_pixels(capacity.render_memory_bytes, recipe, progressive=progressive)
    return min(settings.max_original_pixels, by_memory)


def rows(planned: dict[str, object]) -> list[tuple[str, str]]:
    """The same for a terminal: label and value."""
    return [(key.replace("_", " "), _human(key, value)) for key, value in planned.items()]


def _human(key: str, value: object) -> str:
    if value is None:
        return "unknown for a ladder of one's own"
    if key.endswith("_bytes") and isinstance(value, int):
        return f"{value // MIB:,} MiB"
    if key.endswith("_pixels") and isinstance(value, int):
        return f"about {value // 1_000_000:,} MP"
    if key == "expected_photos_an_hour":
        return f"about {value:,} (16 MP JPEG)"
    return str(value)
