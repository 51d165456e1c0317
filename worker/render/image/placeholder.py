"""What a page shows of a photo before the photo is there: its ThumbHash and its average colour.

Owns the arithmetic from RGBA pixels to those two values. It refuses to decode, scale or fetch
anything: the caller brings a picture that is already small, upright and in sRGB.

The format is Evan Wallace's ThumbHash (https://evanw.github.io/thumbhash/): the lowest terms of a
cosine transform of brightness, two colour differences and alpha, four bits a term, in about 25
bytes.
"""

from __future__ import annotations

from math import cos, floor, pi
from operator import mul
from typing import NamedTuple

MAX_EDGE_PX = 100
"""The longest edge that `thumbhash` takes: more pixels cost time without changing the result."""

_OPAQUE = 255

_NOISE = 1e-9
"""Far above what summing rounding errors can add up to, far below what four bits can show."""


class _Channel(NamedTuple):
    """One channel as cosine terms: the mean, the others scaled to 0..1, and that scale."""

    mean: float
    terms: list[float]
    scale: float


def thumbhash(width: int, height: int, rgba: bytes) -> bytes:
    """The ThumbHash of a picture of at most 100 x 100 px.

    `rgba` holds four bytes a pixel, row by row, colour not multiplied by alpha. The same pixels
    give the same bytes on every machine. Raises ValueError when the size is out of range or does
    not fit the bytes. Safe in any thread.
    """
    if not (1 <= width <= MAX_EDGE_PX and 1 <= height <= MAX_EDGE_PX):
        msg = f"a ThumbHash needs 1 to {MAX_EDGE_PX} px an edge, not {width} x {height}"
        raise ValueError(msg)
    if len(rgba) != width * height * 4:
        msg = f"{width} x {height} px are {width * height * 4} bytes of RGBA, not {len(rgba)}"
        raise ValueError(msg)

    has_alpha = min(rgba[3::4]) < _OPAQUE
    brightness, yellow_blue, red_green, alpha = _channels(rgba, has_alpha=has_alpha)

    longest = max(width, height)
    most = 5 if has_alpha else 7  # alpha's terms take the room of some of brightness's
    across = max(1, (2 * most * width + longest) // (2 * longest))
    down = max(1, (2 * most * height + longest) // (2 * longest))

    size = width, height
    l_mean, l_terms, l_scale = _transform(brightness, size, max(3, across), max(3, down))
    p_mean, p_terms, p_scale = _transform(yellow_blue, size, 3, 3)
    q_mean, q_terms, q_scale = _transform(red_green, size, 3, 3)
    terms = l_terms + p_terms + q_terms

    landscape = width > height
    head = (
        _quantize(63 * l_mean)
        | _quantize(31.5 + 31.5 * p_mean) << 6
        | _quantize(31.5 + 31.5 * q_mean) << 12
        | _quantize(31 * l_scale) << 18
        | has_alpha << 23
        | (down if landscape else across) << 24
        | _quantize(63 * p_scale) << 27
        | _quantize(63 * q_scale) << 33
        | landscape << 39
    )
    packed = bytearray(head.to_bytes(5, "little"))
    if has_alpha:
        a_mean, a_terms, a_scale = _transform(alpha, size, 5, 5)
        packed.append(_quantize(15 * a_mean) | _quantize(15 * a_scale) << 4)
        terms += a_terms

    nibbles = [_quantize(15 * term) for term in terms]
    if len(nibbles) % 2:
        nibbles.append(0)
    packed.extend(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    return bytes(packed)


def average_color(rgba: bytes) -> str:
    """The mean colour as `#rrggbb`, each pixel counting by its alpha; `#000000` if all are clear.

    Raises ValueError unless `rgba` holds whole pixels and at least one. Safe in any thread.
    """
    if not rgba or len(rgba) % 4:
        msg = f"{len(rgba)} bytes are not a picture of RGBA pixels"
        raise ValueError(msg)
    alpha = rgba[3::4]
    weight = sum(alpha) or 1
    sums = (sum(map(mul, rgba[band::4], alpha)) for band in range(3))
    return "#" + "".join(f"{(2 * total + weight) // (2 * weight):02x}" for total in sums)


def _channels(
    rgba: bytes, *, has_alpha: bool
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Brightness, yellow minus blue, red minus green, and alpha, over the average colour."""
    reds: list[float] = [value / 255 for value in rgba[0::4]]
    greens: list[float] = [value / 255 for value in rgba[1::4]]
    blues: list[float] = [value / 255 for value in rgba[2::4]]
    alphas: list[float] = []
    if has_alpha:
        alphas = [value / 255 for value in rgba[3::4]]
        # Over the average, clear pixels do not drag an edge of some other colour into the terms.
        reds, greens, blues = (_over_average(band, alphas) for band in (reds, greens, blues))
    pixels = list(zip(reds, greens, blues, strict=True))
    return (
        [(red + green + blue) / 3 for red, green, blue in pixels],
        [(red + green) / 2 - blue for red, green, blue in pixels],
        [red - green for red, green, _ in pixels],
        alphas,
    )


def _over_average(band: list[float], alphas: list[float]) -> list[float]:
    average = sum(map(mul, band, alphas)) / (sum(alphas) or 1.0)
    return [average + (value - average) * alpha for value, alpha in zip(band, alphas, strict=True)]


def _transform(channel: list[float], size: tuple[int, int], across: int, down: int) -> _Channel:
    """The lowest terms of the two-dimensional cosine transform: all rows first, then columns.

    Separable, it costs (across x pixels) instead of (across x down x pixels) products.
    """
    width, height = size
    rows = [channel[start : start + width] for start in range(0, width * height, width)]
    columns = [[sum(map(mul, row, wave)) for row in rows] for wave in _waves(width, across)]
    # Only the triangle of low frequencies, in rows of one vertical frequency: the format's order.
    mean, *terms = (
        sum(map(mul, columns[x], wave)) / (width * height)
        for y, wave in enumerate(_waves(height, down))
        for x in range(across)
        if x * down < across * (down - y)
    )
    scale = max(map(abs, terms))
    if scale < _NOISE:
        # A flat channel. Scaling its rounding errors up would make bytes of pure chance.
        return _Channel(mean, [0.0] * len(terms), 0.0)
    return _Channel(mean, [0.5 + 0.5 * term / scale for term in terms], scale)


def _waves(length: int, count: int) -> list[list[float]]:
    return [
        [cos(pi / length * frequency * (place + 0.5)) for place in range(length)]
        for frequency in range(count)
    ]


def _quantize(value: float) -> int:
    """Round half up, as the format's JavaScript does; Python's `round` would go to even.

    A term of zero lies exactly on a half (7.5), so the noise of a sum would decide it: it counts
    as the half that it is.
    """
    return floor(value + 0.5 + _NOISE)
