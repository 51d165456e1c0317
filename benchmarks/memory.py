"""Compare the memory that is predicted for renders with what they take, format by format.

    python -m benchmarks.memory [--megapixels 12,24] [--only progressive]
    python -m benchmarks.memory --files *.jpg [--set quality=95 --set format=png]

Makes the originals (noise over a gradient, 3:2; some in shapes of their own), renders each in a
child process of its own, as a slot does, under the limit that its prediction sets, and reads the
peak from /proc (Linux). Prints a Markdown table in MiB, each figure above what an idle child holds.
Give it 4 GiB for the largest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from worker.photo.header import Header
from worker.render.capacity import MIB
from worker.render.handshake import shake_hands
from worker.render.image import imaging  # noqa: F401 # sets libvips up before pyvips is imported
from worker.render.job import QueuedRendering, RenderSettings
from worker.render.memory import header_bytes, limit_bytes, peak_bytes
from worker.render.protocol import Answer, RungWritten
from worker.render.slot import Child
from worker.settings.settings import Settings

import pyvips  # isort: skip

PATIENCE_SECONDS = 600.0
ROOM_BYTES = 16 << 30
DEEP = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", default="3,12,24,50,100")
    parser.add_argument("--only", default="", help="a part of the kinds' names")
    parser.add_argument("--files", nargs="*", type=Path, default=[], help="instead of made ones")
    parser.add_argument(
        "--set", action="append", default=[], help="a setting, as in encoding=small"
    )
    options = parser.parse_args()
    settings = dict(each.split("=", 1) for each in options.set)
    written = settings.pop("format", "webp")
    loaded = Settings.load({}, settings)
    recipe = loaded.recipe("")
    template = RenderSettings(
        recipe=replace(recipe, looks=replace(recipe.looks, format=written)),
        max_pixels=1 << 40,
        timeout_seconds=PATIENCE_SECONDS,
        memory_bytes=ROOM_BYTES,
        scratch=Path(),
        watermark_file=loaded.watermark,
    )
    print("| original | MP | file | predicted | measured | ratio |")
    print("|---|---|---|---|---|---|")
    for file in options.files:
        report(file.name, file.read_bytes(), template)
    for megapixels in [] if options.files else map(int, options.megapixels.split(",")):
        for kind, encode in KINDS.items():
            if options.only in kind and megapixels <= MOST.get(kind, 100):
                report(kind, encode(*size(megapixels)), template)
    for shape, encode_shape in SHAPES.items():
        if options.only in shape and not options.files:
            report(shape, encode_shape(), template)


def report(kind: str, data: bytes, template: RenderSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder, "original")
        original.write_bytes(data)
        size_bytes = len(data)
        del data
        try:
            settings = replace(template, scratch=Path(folder))
            header, predicted, measured, end = measure(original, settings)
        except Exception as error:  # noqa: BLE001 (the table says so)
            print(f"| {kind} | {error!r} |")
            return
    ratio = f"{predicted / measured:.2f}" if end == "Finished" else end
    cells = " | ".join(f"{each / MIB:,.0f}" for each in (size_bytes, predicted, measured))
    print(f"| {kind} | {header.pixels / 1e6:.1f} | {cells} | {ratio} |", flush=True)


def measure(original: Path, settings: RenderSettings) -> tuple[Header, int, int, str]:
    """Predicted and measured peak in bytes, and how the render ended."""
    rendering = QueuedRendering(settings, original, settings.scratch)
    child = Child(ROOM_BYTES, settings.scratch)
    try:
        shake_hands(child, settings, time.monotonic() + PATIENCE_SECONDS)
        idle = memory(child.pid, "VmRSS")
        size_bytes = original.stat().st_size
        child.send(rendering.measure_request(header_bytes(size_bytes)))
        header = last_answer(child)
        assert isinstance(header, Header)  # noqa: S101 (its originals are sound)
        predicted = peak_bytes(header, size_bytes, settings.recipe)
        rendering.limit_bytes = limit_bytes(header, predicted)
        child.send(rendering.render_request())
        end = type(last_answer(child)).__name__
        return header, predicted, memory(child.pid, "VmHWM") - idle, end
    finally:
        child.close()


def last_answer(child: Child) -> Answer:
    while isinstance(answer := child.receive(time.monotonic() + PATIENCE_SECONDS), RungWritten):
        pass
    return answer


def memory(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def size(megapixels: int) -> tuple[int, int]:
    width = round((megapixels * 1_500_000) ** 0.5)
    return width, width * 2 // 3


def picture(width: int, height: int, *, bands: int = 3, bits: int = 8) -> pyvips.Image:
    """Noise over a gradient: hard enough to encode, quick to make."""
    tile = pyvips.Image.gaussnoise(512, 512, sigma=12, mean=0, seed=1)
    tiles = [
        pyvips.Image.gaussnoise(512, 512, sigma=12, mean=0, seed=n) for n in range(2, bands + 1)
    ]
    noise = tile.bandjoin(tiles) if tiles else tile
    noise = noise.copy_memory().replicate(width // 512 + 1, height // 512 + 1)
    slope = pyvips.Image.xyz(width, height)[0] * (180.0 / width) + 40
    image = noise.crop(0, 0, width, height) + slope
    if bits == DEEP:
        return (image * 256).cast("ushort").copy(interpretation="rgb16")
    return image.cast("uchar").copy(interpretation="srgb" if bands > 1 else "b-w")


def alpha(width: int, height: int, *, bits: int = 8) -> pyvips.Image:
    """The same, fading out to one side without noise, as cut-out pictures do."""
    image = picture(width, height, bits=bits)
    fade = pyvips.Image.xyz(width, height)[1] * (255.0 / height)
    return image.bandjoin((fade * 256).cast("ushort") if bits == DEEP else fade.cast("uchar"))


def svg(width: int, height: int) -> bytes:
    circles = "".join(
        f'<circle cx="{n * 7919 % width}" cy="{n * 104729 % height}" r="{width // 9}" '
        f'fill="#{n * 999331 % 0xFFFFFF:06x}" opacity="0.5"/>'
        for n in range(60)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{circles}</svg>'
    ).encode()


Encode = Callable[[int, int], bytes]

KINDS: dict[str, Encode] = {
    "JPEG": lambda w, h: picture(w, h).jpegsave_buffer(Q=88),
    "JPEG grey": lambda w, h: picture(w, h, bands=1).jpegsave_buffer(Q=88),
    "JPEG turned": lambda w, h: oriented(picture(w, h), 6).jpegsave_buffer(Q=88),
    "JPEG progressive": lambda w, h: picture(w, h).jpegsave_buffer(Q=88, interlace=True),
    "JPEG progressive 4:4:4": lambda w, h: picture(w, h).jpegsave_buffer(
        Q=88, interlace=True, subsample_mode="off"
    ),
    "PNG": lambda w, h: picture(w, h).pngsave_buffer(compression=1),
    "PNG interlaced": lambda w, h: picture(w, h).pngsave_buffer(compression=1, interlace=True),
    "PNG 16 bit": lambda w, h: picture(w, h, bits=16).pngsave_buffer(compression=1),
    "PNG 16 bit interlaced": lambda w, h: picture(w, h, bits=16).pngsave_buffer(
        compression=1, interlace=True
    ),
    "PNG alpha": lambda w, h: alpha(w, h).pngsave_buffer(compression=1),
    "PNG noisy alpha": lambda w, h: picture(w, h, bands=4).pngsave_buffer(compression=1),
    "PNG 16 bit alpha": lambda w, h: alpha(w, h, bits=16).pngsave_buffer(compression=1),
    "WebP": lambda w, h: picture(w, h).webpsave_buffer(Q=80, effort=0),
    "WebP alpha": lambda w, h: alpha(w, h).webpsave_buffer(Q=80, effort=0),
    "GIF": lambda w, h: picture(w, h).gifsave_buffer(effort=1),
    "TIFF LZW": lambda w, h: picture(w, h).tiffsave_buffer(compression="lzw"),
    "TIFF one strip": lambda w, h: picture(w, h).tiffsave_buffer(
        compression="deflate", tile_height=h
    ),
    "TIFF 16 bit tiled": lambda w, h: picture(w, h, bits=16).tiffsave_buffer(
        compression="deflate", tile=True
    ),
    "AVIF": lambda w, h: picture(w, h).heifsave_buffer(Q=60, compression="av1", effort=0),
    "AVIF 4:4:4": lambda w, h: picture(w, h).heifsave_buffer(
        Q=60, compression="av1", effort=0, subsample_mode="off"
    ),
    "AVIF lossless": lambda w, h: picture(w, h).heifsave_buffer(
        lossless=True, compression="av1", effort=0
    ),
    "AVIF 10 bit": lambda w, h: picture(w, h, bits=16).heifsave_buffer(
        Q=60, compression="av1", effort=0, bitdepth=10
    ),
    "SVG": svg,
}


def oriented(image: pyvips.Image, orientation: int) -> pyvips.Image:
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return image


def floats(width: int, height: int) -> pyvips.Image:
    return (picture(width, height) / 255.0).cast("float").copy(interpretation="scrgb")


SHAPES: dict[str, Callable[[], bytes]] = {
    "panorama 30000x3300": lambda: picture(30000, 3300).jpegsave_buffer(Q=75),
    "panorama 65000x1500": lambda: picture(65000, 1500).jpegsave_buffer(Q=75),
    "panorama PNG alpha 60000x400": lambda: alpha(60000, 400).pngsave_buffer(compression=1),
    "panorama PNG grey 100000x1400": lambda: picture(100000, 1400, bands=1).pngsave_buffer(
        compression=1
    ),
    "panorama tall 1500x65000": lambda: picture(1500, 65000).jpegsave_buffer(Q=75),
    "mirrored progressive 4:4:4": lambda: oriented(picture(6000, 4000), 3).jpegsave_buffer(
        Q=88, interlace=True, subsample_mode="off"
    ),
    "TIFF float, tall tiles": lambda: floats(6000, 4096).tiffsave_buffer(
        compression="deflate", tile=True, tile_width=256, tile_height=4096
    ),
}
"""What is not 3:2, and peaks elsewhere for it."""

MOST = {
    "GIF": 24,
    "AVIF": 24,
    "AVIF 4:4:4": 24,
    "AVIF lossless": 24,
    "AVIF 10 bit": 24,
    "SVG": 24,
    "TIFF one strip": 50,
    "WebP alpha": 24,
    "PNG noisy alpha": 24,
    "PNG 16 bit alpha": 24,
    "PNG 16 bit interlaced": 50,
}
"""Megapixels above which making or decoding one takes minutes."""


if __name__ == "__main__":
    main()
