"""How a TIFF stores its picture: which page it is, whether it is all there, whether it can be read.

TIFF is a box for anything. libtiff opens much that libvips then reads as something else (32-bit
integers as other colours, YCbCr as RGB), and a tile that is not there is a black tile. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from worker.errors import CorruptOriginal, UnsupportedFormat
from worker.render.formats.tiff import Directory, directories

_SUBFILE_TYPE, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 0xFE, 258, 259, 262, 277
_PLANES, _TILE_WIDTH, _TILE_ROWS, _STRIP_ROWS, _SAMPLE_FORMAT = 284, 322, 323, 278, 339
_STRIP_PLACES, _STRIP_SIZES, _TILE_PLACES, _TILE_SIZES = 273, 279, 324, 325
_EXTRA_SAMPLES = 338
_PROFILE = 34675
_METADATA = (270, 700, 33723, 34377)
"""Description, XMP, IPTC and Photoshop's own; what libvips takes into memory."""

_REDUCED = 1
_PARTS = 1 << 20
"""Strips or tiles of a page."""

_LZW, _JPEG, _WEBP = 5, 7, 50001
_COMPRESSIONS = {1, 2, 3, 4, _LZW, _JPEG, 8, 32773, 32946, _WEBP}
"""None, three of faxes, LZW, JPEG, Deflate (twice) and PackBits; WebP."""

_OTHER_COMPRESSIONS = {
    6: "JPEG of the old kind",
    32809: "ThunderScan",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50002: "JPEG XL",
    52546: "JPEG XL",
}

_RGB, _YCBCR, _LAB = 2, 6, 8
_PHOTOMETRICS = {0, 1, _RGB, 3, 5, _YCBCR, _LAB}
_COLOURS = {_RGB: 3, 5: 4, _YCBCR: 3, _LAB: 3}
_ALPHAS = {1, 2}
_MAX_SAMPLES = 5
"""Four inks and alpha; the decoder holds all of a page's samples, also those that are left out."""
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_DEPTHS = {_UNSIGNED: {1, 2, 4, 8, 16}, _UNDEFINED: {1, 2, 4, 8, 16}, _FLOAT: {16, 32}}


@dataclass(slots=True)
class TiffLayout:
    """What a survey finds; `pages` counts all, `page` is the one to render.

    `part_rows` are those of one of its strips or tiles (0: not told, so all are in one strip).
    `lab` means that its bytes are CIELAB, which libvips takes for its own packed kind of it; the
    `mends` pass them off as RGB, and make entries of no type harmless. `bands` are those of the
    picture, alpha last, where there are others too.
    """

    pages: int = 0
    page: int = 0
    tiled: bool = False
    part_rows: int = 0
    lab: bool = False
    bands: tuple[int, ...] = ()
    profile_bytes: int = 0
    metadata_bytes: int = 0
    mends: list[tuple[int, bytes]] = field(default_factory=list)


def survey_tiff(data: bytes, most_pages: int) -> TiffLayout:
    """Choose a page and look at how it is stored.

    Raises:
        CorruptOriginal: a strip or tile of it is not in the file.
        UnsupportedFormat: it is stored in a way that is not read, or not read rightly.
        OriginalTooLarge: more than `most_pages`.
    """
    layout = TiffLayout()
    chosen: Directory | None = None
    for number, page in enumerate(directories(data, most_pages)):
        layout.pages = number + 1
        layout.mends += [(entry, page.harmless(entry)) for entry in page.odd_entries]
        if chosen is None or (_is_reduced(chosen) and not _is_reduced(page)):
            # Some scanners put a preview first.
            chosen, layout.page = page, number
    if chosen is not None:
        layout.tiled = _TILE_WIDTH in chosen
        layout.part_rows = chosen.number(_TILE_ROWS if layout.tiled else _STRIP_ROWS) or 0
        layout.profile_bytes = chosen.size_bytes(_PROFILE)
        layout.metadata_bytes = sum(map(chosen.size_bytes, _METADATA))
        _check_kind(chosen, layout)
        _check_extents(data, chosen, layout)
    layout.mends.sort()
    return layout


def _is_reduced(page: Directory) -> bool:
    return bool((page.number(_SUBFILE_TYPE) or 0) & _REDUCED)


def _check_kind(page: Directory, layout: TiffLayout) -> None:
    compression = page.number(_COMPRESSION) or 1
    if compression not in _COMPRESSIONS:
        name = _OTHER_COMPRESSIONS.get(compression, f"number {compression}")
        raise UnsupportedFormat(f"a TIFF whose compression ({name}) is not read")
    photometric = page.number(_PHOTOMETRIC)
    if photometric is None:
        raise UnsupportedFormat("a TIFF that does not say what its numbers mean (no photometric)")
    if photometric not in _PHOTOMETRICS:
        raise UnsupportedFormat(f"a TIFF of a colour space (photometric {photometric}) not read")
    _check_numbers(page, photometric, compression, layout)


def _check_numbers(page: Directory, photometric: int, compression: int, layout: TiffLayout) -> None:
    """How large and of what kind they are, and which of them belong to the picture."""
    if photometric == _YCBCR and compression != _JPEG:
        raise UnsupportedFormat("a TIFF of YCbCr without JPEG compression")
    samples = page.number(_SAMPLES) or 1
    if samples > _MAX_SAMPLES:
        raise UnsupportedFormat(f"a TIFF of {samples} bands")
    if samples > 1 and layout.tiled and page.number(_PLANES) == 2:  # noqa: PLR2004
        raise UnsupportedFormat("a TIFF whose colours are in tiles of their own")
    layout.bands = _meant(page, _COLOURS.get(photometric, 1), samples)
    depths = set(page.numbers(_BITS, _PARTS)) or {1}
    kinds = set(page.numbers(_SAMPLE_FORMAT, _PARTS)) or {_UNSIGNED}
    depth, kind = max(depths), max(kinds)
    if photometric == _LAB and kind == _SIGNED:
        kind = _UNSIGNED  # what of it is signed, the colour space says
    if len(depths) > 1 or len(kinds) > 1 or depth not in _DEPTHS.get(kind, set()):
        names = {_SIGNED: "signed ", _FLOAT: "floating point "}
        raise UnsupportedFormat(
            f"a TIFF of {names.get(kind, '')}numbers of {', '.join(map(str, sorted(depths)))} bits"
        )
    if compression == _JPEG and depth != 8:  # noqa: PLR2004
        raise UnsupportedFormat(f"a TIFF in JPEG of {depth} bits")
    if samples > 1 and depth < 8:  # noqa: PLR2004
        raise UnsupportedFormat(f"a TIFF of {samples} colours of {depth} bits each")
    _pass_off_lab(page, photometric, compression, depth, layout)


def _pass_off_lab(
    page: Directory, photometric: int, compression: int, depth: int, layout: TiffLayout
) -> None:
    if photometric == _LAB and depth == 8:  # noqa: PLR2004
        if compression in {_JPEG, _WEBP}:
            raise UnsupportedFormat("a TIFF of CIELAB in a lossy compression")
        layout.lab = True
        layout.mends.append((page.place(_PHOTOMETRIC), page.short(_RGB)))


def _meant(page: Directory, colours: int, samples: int) -> tuple[int, ...]:
    """Colours and alpha, where a page has more bands than these; else nothing.

    What is beside the colours is alpha only if the file says so (1 and 2); where it says nothing
    at all, the first is taken for alpha, as by other readers.
    """
    kinds = page.numbers(_EXTRA_SAMPLES, _MAX_SAMPLES)
    if not kinds or samples <= colours:
        return ()
    alpha = [colours + at for at, kind in enumerate(kinds) if kind in _ALPHAS]
    bands = (*range(colours), *(band for band in alpha[:1] if band < samples))
    return () if bands == (*range(samples),) else bands


def _check_extents(data: bytes, page: Directory, layout: TiffLayout) -> None:
    """Raises CorruptOriginal where a strip or tile is not all there."""
    tags = (_TILE_PLACES, _TILE_SIZES) if layout.tiled else (_STRIP_PLACES, _STRIP_SIZES)
    places, sizes = (page.numbers(tag, _PARTS) for tag in tags)
    if len(sizes) != len(places):
        sizes = [0] * len(places)  # left out, or nonsense: a decoder works them out, or complains
    for place, size in zip(places, sizes, strict=True):
        if place + size > len(data):
            raise CorruptOriginal(
                f"the file ends at byte {len(data):,}, a part of it at {place + size:,}"
            )
