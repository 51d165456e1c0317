"""How much memory one render will take, told from its header before a pixel is decoded.

The prediction should never be lower than what is measured, and not more than half above it: what
is too low kills its own render, what is too high keeps others waiting. The coefficients are
measured through real slots; `scripts/measure_memory.py` compares, docs/performance.md has the
table. Bytes above what an idle child process holds.
"""

from __future__ import annotations

from typing import Final

from worker.header import Header
from worker.ladder import RungSize
from worker.recipe import Recipe

FIXED_BYTES: Final = 44 << 20
"""Codecs' code and tables, Python's copies, stacks, and the first rungs of a small picture."""

_ENCODER: Final = 5.4
"""Bytes a pixel of one rendition: WebP's planes and tables, and the encoded file twice."""

_SEARCHING_EFFORT: Final = 3
_SEARCH: Final = 8.0
"""From that effort on WebP keeps what it would write: 3 to 7 bytes a pixel of photos, 12 of pure
noise, half as much again at the highest qualities."""

_HIGH_QUALITY: Final = 90

_ALPHA_ENCODER: Final = 29.0
"""Alpha is encoded without loss, whose search for repetitions is what takes the memory."""

_DECODER: Final = {
    "webp": 7.2,  # a frame of four bands, and planes
    "gif": 5.0,  # a frame of four bands, and its indices
    "avif": 11.5,  # planes of two frames, and the picture before it is copied
    "heic": 9.0,
    "svg": 9.0,  # two surfaces of four bands
}
"""Bytes a pixel that a decoder holds besides the picture it delivers; one that delivers row by row
holds none."""

UNTOUCHED: Final = {"webp": 9.0}
"""Bytes a pixel that are allocated and never used: WebP's canvas for the frames of an animation."""

_DEEP: Final = 1.8
"""What more than 8 bits a band multiplies it with."""

_STRIP_BYTES: Final = 128 << 20
"""A strip of a TIFF, packed and unpacked; libtiff refuses more than 50 MiB at once."""

_BYTE: Final = 8
_COEFFICIENT_BYTES: Final = 2


def peak_bytes(header: Header, original_bytes: int, recipe: Recipe) -> int:
    """The most that a render of this original will hold at once, over all of its steps."""
    bands = 4 if header.has_alpha else 3
    alpha = _ALPHA_ENCODER if header.has_alpha else 0.0
    pixels = header.pixels * bands
    *sized, full = recipe.ladder.sizes(header.width, header.height)
    largest = max(map(_pixels, sized), default=0)
    # Turned into a copy, while the decoder still stands.
    decode = _decoder_bytes(header, original_bytes) + pixels * (2 if header.turned else 1)
    rungs = sum(map(_pixels, sized)) * bands + largest * (_encoder(recipe, recipe.effort) + alpha)
    encoder = _encoder(recipe, recipe.full_effort) + alpha
    clamped = _pixels(full) * bands if _pixels(full) < header.pixels else 0
    steps = (
        header_bytes(original_bytes) + decode,
        FIXED_BYTES + original_bytes + pixels + rungs,
        FIXED_BYTES + original_bytes + pixels + clamped + _pixels(full) * encoder,
    )
    return int(max(steps))


def _encoder(recipe: Recipe, effort: int) -> float:
    """Bytes a pixel of one rendition."""
    if effort < _SEARCHING_EFFORT:
        return _ENCODER
    return _ENCODER + _SEARCH * (1.5 if recipe.quality > _HIGH_QUALITY else 1.0)


def limit_bytes(header: Header, needs_bytes: int) -> int:
    """What must be allowed for a render that needs so much: allocated and never touched as well."""
    return needs_bytes + int(header.pixels * UNTOUCHED.get(header.format, 0.0))


def header_bytes(original_bytes: int) -> int:
    """The most that reading the header takes: the file, and the copy that is handed to libvips."""
    return FIXED_BYTES + 2 * original_bytes


def _decoder_bytes(header: Header, original_bytes: int) -> int:
    """What the decoder holds until the picture is delivered."""
    if header.format == "jpeg":
        # All coefficients of all components, as if none were stored at half the size.
        return header.pixels * header.bands * _COEFFICIENT_BYTES if header.progressive else 0
    if header.progressive:
        return header.decoded_bytes
    if header.format == "tiff":
        # As if it were all one strip: the header does not tell.
        return min(_STRIP_BYTES, original_bytes + header.decoded_bytes * 3 // 2)
    if header.format == "svg":
        return int(header.pixels * _DECODER["svg"]) + header.document_bytes
    deep = _DEEP if header.bits > _BYTE else 1.0
    return int(header.pixels * _DECODER.get(header.format, 0.0) * deep)


def _pixels(size: RungSize) -> int:
    return size.width * size.height


def largest_pixels(memory_bytes: int, recipe: Recipe, *, progressive: bool = False) -> int:
    """The largest 3:2 JPEG that so much memory renders, in pixels; to the nearest 1 %."""
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
        # A camera's file: 4 bits a pixel.
        fits = peak_bytes(header, middle // 2, recipe) <= memory_bytes
        low, high = (middle, high) if fits else (low, middle)
    return low
