"""This module predicts a render's memory from the header, before a pixel is decoded.

A prediction should be between the measured memory and 1.5 times as much. If it is too low, the
render reaches its limit and fails; if it is too high, other renders wait. The coefficients were
measured in real slots; `benchmarks.memory` compares them, docs/performance.md has the table. All
figures are bytes above what an idle child process holds.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from math import ceil
from typing import Final

from worker.photo.header import Header
from worker.photo.ladder import FULL, RungSize
from worker.photo.looks import BLIND_METHODS, Looks
from worker.photo.recipe import Recipe
from worker.photo.targets import ceiling

FIXED_BYTES: Final = 12 << 20
"""For the codecs' code and tables, Python's copies and stacks."""

_STRIP_ROWS: Final = 640
"""libvips keeps so many rows if a decoder delivers row by row."""

_TILES_BYTES: Final = 36 << 20
_FLOAT_BYTES: Final = 16
"""A pixel with alpha takes four floats while `resize` resizes it tile by tile."""

_FRAME: Final = 1.5
"""Bytes a pixel of the frame that is encoded (`webp.Frame`); alpha takes one more."""

_DECODER: Final = {
    "webp": 7.4,  # a frame of four bands, and planes
    "gif": 4.8,  # a frame of four bands, and its indices
    "svg": 9.0,  # two surfaces of four bands
}
"""Bytes a pixel that a decoder holds besides the picture that it delivers. Decoders that deliver
row by row hold none."""

_WEBP_ALPHA: Final = 3.4

_AVIF: Final = 10.3
_AVIF_PLANES: Final = 2.0
"""The picture before it is copied, and two frames of planes."""

_HEIC: Final = 4.7

_PLANES: Final = {"400": 1.0, "420": 1.5, "422": 2.0}
"""Samples a pixel by chroma subsampling; three if the header does not say."""

UNTOUCHED: Final = {"webp": 9.0}
"""Bytes a pixel that are allocated and stay unused: WebP's canvas for an animation's frames."""

_UNTOUCHED_PLANES: Final = {"avif": 1.2}
"""Bytes for each byte of the planes that stay unused; they are allocated by the decode."""

_BYTE: Final = 8
_COEFFICIENT_BYTES: Final = 2

_QUALITIES: Final = (50, 80, 90, 95, 100)
_MOST: Final = (0.46, 0.61, 0.77, 0.87, 1.01)
_MOST_BLIND: Final = (0.65, 0.97, 1.34, 1.74, 2.31)
"""Bytes a pixel of pure noise as WebP, at these qualities; a blind method (`looks`) takes more."""

_MOST_OF_ALL: Final = 1.0
_MOST_RESIZED: Final = 0.2
"""Bytes a pixel at quality 80. A resized picture takes less, because resizing reduces noise."""

_FINER: Final = (0.6, 1.0, 1.75, 2.4, 3.0)
"""A photo's bytes at `_QUALITIES`, relative to quality 80."""

_BLIND: Final = 1.7
_WRITER: Final = 3.5
"""Bytes in memory for each byte written: a buffer that doubles, and Python's copy."""

_SEARCH: Final = 25.0
"""From effort 3 on, WebP keeps two bytes for each binary decision before it writes."""

_ALPHA_SMOOTH: Final = (23.5, 14.4, 14.4, 16.0, 16.0, 16.0, 20.5)
_ALPHA_NOISE: Final = (23.5, 31.4, 31.4, 31.8, 40.0, 40.0, 59.0)
_ALPHA_NOISE_DENSITY: Final = 0.5
"""Bytes a pixel of alpha, at efforts 0 to 6. Alpha is encoded without loss: the search for
repetitions takes more memory if it finds fewer. The original's density selects a value between the
smooth and the noisy figure."""

_PNG: Final = 3.2
"""Bytes for each byte that cannot be compressed: a buffer that doubles, and Python's copy."""

_MARK: Final = 10.0

_LIKENESS: Final = 44 << 20
_LIKENESS_KEPT: Final = 9 << 20
"""`likeness` takes the first figure to compare a rendition. The second figure is kept for each
picture to compare with: for the rung that is encoded, and for `full`."""

_ALPHA_SHARE: Final = {"svg": 1.0, "gif": 0.1}
"""Shares that do not depend on the density: a drawing's density says little about its alpha, and a
GIF's alpha is one bit."""


def peak_bytes(header: Header, original_bytes: int, recipe: Recipe) -> int:
    """Return the most bytes that a render of this original holds at once, over all of its steps."""
    looks = recipe.looks
    has_alpha = header.has_alpha and looks.background is None
    bands = 4 if has_alpha else 3
    decoded = header.pixels * (4 if header.has_alpha else 3)
    pixels = header.pixels * bands
    sizes = recipe.ladder.sizes(header.width, header.height)
    sized = [size for size in sizes if size.rung != FULL]
    full = sizes[-1] if len(sized) < len(sizes) else None
    largest = max(map(_pixels, sized), default=0)
    last = _pixels(full) if full else 0
    clamped = last * bands if last < header.pixels else 0
    in_tiles = clamped or has_alpha
    tiles = min(_TILES_BYTES, header.pixels * _FLOAT_BYTES) if in_tiles else 0
    tiles = max(tiles, _LIKENESS if looks.target_quality is not None else 0)
    marked = max(last, largest) * _marked(looks)
    # A background replaces alpha before the picture is encoded.
    shown = header if has_alpha else replace(header, has_alpha=False)
    density = original_bytes / header.pixels
    frame = bands if looks.format == "png" else _FRAME + has_alpha
    held = last * frame
    rung = frame + _written(shown, density, looks, looks.effort, _MOST_RESIZED)
    whole = frame + _written(shown, density, looks, looks.full_effort, _MOST_OF_ALL)
    judged = 2 * _LIKENESS_KEPT if looks.target_quality is not None else 0
    steps = (
        _copies(header) * original_bytes + _decoder_bytes(header, original_bytes) + decoded,
        # The picture is turned or mirrored into a copy. The decoder's strips are still kept, and
        # the copy has strips too.
        original_bytes + 2 * (decoded + _strips_bytes(header)) if header.copied else 0,
        decoded + pixels if decoded > pixels else 0,
        pixels + largest * bands + clamped + tiles + marked,
        (pixels if not clamped else clamped + (0 if sized else pixels)) + largest * bands + held,
        held + sum(map(_pixels, sized)) * bands + max(tiles + marked, largest * rung + judged),
        last * whole + judged,
    )
    return FIXED_BYTES + int(max(steps))


def _marked(looks: Looks) -> float:
    """Return the bytes a pixel of a rung for its watermark: the mark and the covered area."""
    return looks.watermark.scale * _MARK if looks.watermark else 0.0


def _written(header: Header, density: float, looks: Looks, effort: int, most: float) -> float:
    """Return the bytes a pixel that encoding a rung takes, besides its frame."""
    bands = 4 if header.has_alpha else 3
    if looks.format == "png":
        return _PNG * bands
    if looks.target_quality is None:
        return _encoder(header, density, looks.quality, effort, most)
    quality = ceil(ceiling(looks.target_quality))
    # After the encoder has ended, its result is decoded to be judged.
    return max(bands + 2 * most, _encoder(header, density, quality, effort, most) + most)


def limit_bytes(header: Header, needs_bytes: int) -> int:
    """Return a render's limit: `needs_bytes` plus memory that is allocated and stays unused."""
    untouched = UNTOUCHED.get(header.format, 0.0)
    untouched += _UNTOUCHED_PLANES.get(header.format, 0.0) * _plane_bytes(header)
    return needs_bytes + int(header.pixels * untouched)


def header_bytes(original_bytes: int) -> int:
    """Return the bytes that reading a header takes at most: the file, and the copy for libvips."""
    return FIXED_BYTES + 2 * original_bytes


def _copies(header: Header) -> int:
    """Return the file's copies in memory during the decode; libvips and libheif have their own."""
    return 4 if header.format == "avif" else 2


def _decoder_bytes(header: Header, original_bytes: int) -> int:
    """Return the bytes that the decoder holds until the picture is delivered."""
    pixels = header.pixels
    planes = _plane_bytes(header)
    if header.format == "svg":
        return int(pixels * _DECODER["svg"]) + header.document_bytes
    if header.format == "heic":
        deep = 2 if header.bits > _BYTE else 1
        return int(pixels * (_HEIC * deep + planes))
    if header.progressive and header.format != "gif":
        # A progressive JPEG keeps all coefficients; each component counts at full size.
        coefficients = _COEFFICIENT_BYTES * pixels * header.bands
        if header.format == "jpeg":
            return coefficients + _strips_bytes(header)
        return header.decoded_bytes
    if header.format == "avif":
        whole = _AVIF + _AVIF_PLANES * planes
    else:
        whole = _DECODER.get(header.format, 0.0)
        whole += _WEBP_ALPHA if header.format == "webp" and header.has_alpha else 0.0
    return int(pixels * whole) + _strips_bytes(header) + _packed_bytes(header, original_bytes)


def _plane_bytes(header: Header) -> float:
    """Return the bytes a pixel of an AVIF's or HEIC's planes, before they become bands."""
    return _PLANES.get(header.chroma, 3.0) * (2 if header.bits > _BYTE else 1)


def _strips_bytes(header: Header) -> int:
    """Return the bytes of the rows that are kept from a picture delivered by rows or tiles."""
    width, height = header.width, header.height
    if header.turned:
        width, height = height, width
    rows = 2 * header.part_rows if header.tiled else _STRIP_ROWS
    return min(height, rows) * (header.decoded_bytes // height)


def _packed_bytes(header: Header, original_bytes: int) -> int:
    """Return the bytes of a TIFF's packed strip, or of a few packed tiles; 0 for other formats."""
    if header.format != "tiff":
        return 0
    rows = header.part_rows or header.height
    return original_bytes * min(rows, header.height) // header.height


def _encoder(header: Header, density: float, quality: int, effort: int, most: float) -> float:
    """Return the bytes a pixel that encoding takes besides the frame.

    They depend on what the picture shows. `density` is the original's bytes a pixel: in a JPEG or
    WebP it predicts the encoder's bytes; a picture of another format counts as noise.
    """
    blind = effort <= BLIND_METHODS
    likely = most
    if header.format in {"jpeg", "webp"}:
        likely = min(most, 0.05 + 0.45 * density + 0.25 * density**2)
    likely *= _at(quality, _FINER) * (_BLIND if blind else 1.0)
    encoded = min(likely, _at(quality, _MOST_BLIND if blind else _MOST))
    colour = 0.4 + encoded * (_WRITER if blind else _SEARCH)
    if not header.has_alpha:
        return colour
    share = _ALPHA_SHARE.get(header.format, min(1.0, density / _ALPHA_NOISE_DENSITY))
    smooth, noisy = _ALPHA_SMOOTH[effort], _ALPHA_NOISE[effort]
    # Alpha is encoded before colour; only its encoded bytes stay.
    return max(colour + share, smooth + (noisy - smooth) * share)


def _at(quality: int, figures: tuple[float, ...]) -> float:
    """Interpolate between the figures for `_QUALITIES`."""
    at = max(1, min(bisect_left(_QUALITIES, quality), len(_QUALITIES) - 1))
    low, high = _QUALITIES[at - 1], _QUALITIES[at]
    share = max(0.0, (quality - low) / (high - low))
    return figures[at - 1] + (figures[at] - figures[at - 1]) * share


def _pixels(size: RungSize) -> int:
    return size.width * size.height


def largest_pixels(memory_bytes: int, recipe: Recipe, *, progressive: bool = False) -> int:
    """Return the largest 3:2 JPEG that so much memory can render, in pixels, to the nearest 1 %."""
    low, high = 0, 1 << 32
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        width = round((middle * 1.5) ** 0.5)
        header = Header(
            format="jpeg",
            width=max(1, width),
            height=max(1, width * 2 // 3),
            bands=3,
            bits=8,
            progressive=progressive,
        )
        # A camera writes about 4 bits a pixel.
        fits = peak_bytes(header, middle // 2, recipe) <= memory_bytes
        low, high = (middle, high) if fits else (low, middle)
    return low
