"""Colour that a file states by numbers instead of by a plain profile. Pure.

PNG's chunks with the precedence of its third edition (cICP, iCCP, sRGB, gAMA and cHRM), the
numbers of AVIF and HEIC, EXIF's Adobe RGB, and profiles that mean PQ or HLG: a colour management
system takes the peak of such a profile, up to 10,000 nits, for white.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

Matrix: TypeAlias = tuple[tuple[float, float, float], ...]
_Point: TypeAlias = tuple[float, float]

SRGB: Final = 13
PQ: Final = 16
HLG: Final = 18
"""Transfers by their numbers in ISO/IEC 23091-2."""

_SDR_TRANSFERS = {1, 2, 6, SRGB, 14, 15}
"""BT.709's and those that are shown as it is: screens show them as sRGB. 2 is "not stated"."""

_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}

_D65: _Point = (0.3127, 0.3290)
_BT709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
_PRIMARIES: dict[int, tuple[_Point, _Point, _Point, _Point]] = {
    1: _BT709,
    2: _BT709,
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
"""Red, green, blue and white of ISO/IEC 23091-2's primaries."""

_BRADFORD: Matrix = (
    (0.8951, 0.2664, -0.1614),
    (-0.7502, 1.7135, 0.0367),
    (0.0389, -0.0685, 1.0296),
)
_D50 = (0.9642, 1.0, 0.8249)
"""XYZ of the white of profiles (ICC.1:2022, 7.2.16)."""

_USUAL_GAMMA = 1 / 0.45455
"""PNG's own approximation of sRGB; programs write it, and the primaries, beside sRGB pixels."""

_SAME = 0.002
_SANE_GAMMAS = (0.1, 10.0)
_SANE_ENTRY = 20.0
_MAX_TAGS = 200
_CURVE_AT = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """How codes of 0 to 1 become linear light of sRGB's primaries.

    `gamma` is an exponent and takes the place of `transfer`, 0 where there is none. `matrix` goes
    from linear light of the file's primaries to that of sRGB's; None where they are the same.
    `outranks` an embedded profile.
    """

    transfer: int = SRGB
    gamma: float = 0.0
    matrix: Matrix | None = None
    outranks: bool = False

    @property
    def hdr(self) -> bool:
        """Whether it is brighter than white."""
        return self.transfer in {PQ, HLG}

    @property
    def plain(self) -> bool:
        """Whether it is sRGB."""
        return self.transfer == SRGB and not self.gamma and self.matrix is None


def by_numbers(primaries: int, transfer: int) -> Stated | None:
    """What numbers of ISO/IEC 23091-2 state; None where a reserved or a rare one is among them."""
    points = _PRIMARIES.get(primaries)
    if points is None:
        return None
    matrix = _to_srgb(points)
    if transfer in _GAMMAS:
        return Stated(gamma=_GAMMAS[transfer], matrix=matrix)
    if transfer in {PQ, HLG}:
        return Stated(transfer=transfer, matrix=matrix)
    return Stated(matrix=matrix) if transfer in _SDR_TRANSFERS else None


@dataclass(slots=True)
class PngColour:
    """Takes the chunks of a PNG that state colour; see `stated`. `narrow` is of 16 to 235."""

    narrow: bool = False
    _cicp: Stated | None = None
    _srgb: bool = False
    _gamma: float = 0.0
    _points: list[float] = field(default_factory=list)

    def take(self, kind: bytes, chunk: bytes) -> None:
        """One chunk; the first of each kind counts."""
        if kind == b"cICP" and len(chunk) == 4 and chunk[2] == 0 and self._cicp is None:  # noqa: PLR2004
            known = chunk[:2] != b"\2\2" and by_numbers(chunk[0], chunk[1])
            if known:
                self._cicp = replace(known, outranks=True)
                self.narrow = chunk[3] == 0
        elif kind == b"sRGB":
            self._srgb = True
        elif kind == b"gAMA" and len(chunk) == 4 and not self._gamma:  # noqa: PLR2004
            gamma = 100_000 / max(1, int.from_bytes(chunk, "big"))
            self._gamma = gamma if _SANE_GAMMAS[0] < gamma < _SANE_GAMMAS[1] else 0.0
        elif kind == b"cHRM" and len(chunk) == 32 and not self._points:  # noqa: PLR2004
            self._points = [number / 100_000 for number in struct.unpack(">8I", chunk)]

    def stated(self) -> Stated | None:
        """By precedence; a profile comes between cICP and the rest."""
        if self._cicp or self._srgb:
            return self._cicp
        matrix = None
        if self._points:
            white, red, green, blue = zip(self._points[::2], self._points[1::2], strict=True)
            matrix = _to_srgb((red, green, blue, white))
        gamma = self._gamma
        if matrix is None and abs(gamma - _USUAL_GAMMA) < _SAME:
            gamma = 0.0
        return Stated(gamma=gamma, matrix=matrix) if gamma or matrix else None


def hdr_profile(profile: bytes, beside: Stated | None) -> Stated | None:
    """What a profile means that is PQ or HLG; None where it is like any other.

    By its `cicp` tag, else by its curves. A profile of tables shows neither: then the numbers
    `beside` it in the file count, if they are HDR's.
    """
    tags = _tags(profile)
    cicp = tags.get(b"cicp", b"")
    if len(cicp) >= 12 and cicp[9] in {PQ, HLG}:  # noqa: PLR2004
        return by_numbers(cicp[8], cicp[9])
    curve = tags.get(b"rTRC") or tags.get(b"kTRC")
    if curve is None:
        return beside if beside and beside.hdr else None
    transfer = _hdr_curve(curve)
    if transfer is None:
        return None
    columns = [_xyz(tags.get(name, b"")) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    colorants = tuple(zip(*columns, strict=True))
    srgb = _times(_adaptation(_white(_D65), _D50), _from_points(_BT709))
    matrix = _times(_inverse(srgb), colorants) if any(map(any, columns)) else None
    return Stated(transfer=transfer, matrix=matrix)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = min(_MAX_TAGS, int.from_bytes(profile[128:132], "big"))
    found: dict[bytes, bytes] = {}
    for at in range(132, min(132 + 12 * count, len(profile) - 11), 12):
        name, offset, size = struct.unpack_from(">4sII", profile, at)
        found[name] = profile[offset : offset + size]
    return found


def _xyz(tag: bytes) -> tuple[float, float, float]:
    x, y, z = struct.unpack(">3i", tag[8:20].ljust(12, b"\0"))
    return x / 65536, y / 65536, z / 65536


def _hdr_curve(tag: bytes) -> int | None:
    """PQ or HLG, where a table is the curve of one of them; HLG's of a scene or of a screen."""
    count = min(int.from_bytes(tag[8:12], "big"), (len(tag) - 12) // 2)
    if tag[:4] != b"curv" or count < 16:  # noqa: PLR2004
        return None
    table = struct.unpack_from(f">{count}H", tag, 12)
    found = [table[round(code * (count - 1))] / (table[-1] or 1) for code in _CURVE_AT]
    codes = [round(code * (count - 1)) / (count - 1) for code in _CURVE_AT]
    pq = [_pq(code) for code in codes]
    hlg = [_hlg(code) for code in codes]
    for transfer, wanted in ((PQ, pq), (HLG, hlg), (HLG, [light**1.2 for light in hlg])):
        if all(abs(a - b) <= 0.03 * b + 0.0002 for a, b in zip(found, wanted, strict=True)):
            return transfer
    return None


def _pq(code: float) -> float:
    root = code ** (1 / 78.84375)
    above = max(root - 0.8359375, 0)
    return float((above / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125))


def _hlg(code: float) -> float:
    if code <= 0.5:  # noqa: PLR2004
        return code * code / 3
    return float((2.718281828459045 ** ((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)


def _to_srgb(points: tuple[_Point, _Point, _Point, _Point]) -> Matrix | None:
    """None where they are sRGB's, or no primaries of anything."""
    if all(
        abs(a - b) < _SAME
        for mine, usual in zip(points, _BT709, strict=True)
        for a, b in zip(mine, usual, strict=True)
    ):
        return None
    try:
        back = _inverse(_from_points(_BT709))
        adapted = _times(_adaptation(_white(points[3]), _white(_D65)), _from_points(points))
    except ZeroDivisionError:
        return None
    matrix = _times(back, adapted)
    return matrix if all(abs(each) < _SANE_ENTRY for row in matrix for each in row) else None


def _white(point: _Point) -> tuple[float, float, float]:
    x, y = point
    return x / y, 1.0, (1 - x - y) / y


def _from_points(points: tuple[_Point, _Point, _Point, _Point]) -> Matrix:
    """Linear light of these primaries to XYZ."""
    columns = [(x, y, 1 - x - y) for x, y in points[:3]]
    primaries: Matrix = tuple(zip(*columns, strict=True))
    scale = _applied(_inverse(primaries), _white(points[3]))
    return tuple((row[0] * scale[0], row[1] * scale[1], row[2] * scale[2]) for row in primaries)


def _adaptation(white: tuple[float, float, float], wanted: tuple[float, float, float]) -> Matrix:
    """Bradford's, from one white to another, both in XYZ."""
    before, after = _applied(_BRADFORD, white), _applied(_BRADFORD, wanted)
    scaled: Matrix = tuple(
        (row[0] * b / a, row[1] * b / a, row[2] * b / a)
        for row, a, b in zip(_BRADFORD, before, after, strict=True)
    )
    return _times(_inverse(_BRADFORD), scaled)


def _applied(matrix: Matrix, vector: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return x, y, z


def _times(left: Matrix, right: Matrix) -> Matrix:
    columns = [_applied(left, column) for column in zip(*right, strict=True)]
    return tuple(zip(*columns, strict=True))


def _inverse(matrix: Matrix) -> Matrix:
    """Of a matrix that has one.

    Raises:
        ZeroDivisionError: it has none.
    """
    (a, b, c), (d, e, f), (g, h, i) = matrix
    whole = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        ((e * i - f * h) / whole, (c * h - b * i) / whole, (b * f - c * e) / whole),
        ((f * g - d * i) / whole, (a * i - c * g) / whole, (c * d - a * f) / whole),
        ((d * h - e * g) / whole, (b * g - a * h) / whole, (a * e - b * d) / whole),
    )


ADOBE_RGB: Final = Stated(
    gamma=563 / 256, matrix=_to_srgb(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65))
)
"""Adobe RGB (1998), 4.3, as cameras state it by EXIF's interoperability index R03 (DCF 2.0)."""
