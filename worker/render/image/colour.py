"""Colour: whatever an original is in becomes sRGB, 8 bit, with its alpha.

By its embedded profile where it has one; CMYK without one by libvips's own; else by what the file
states in numbers (`formats/stated`), which libvips leaves aside: HDR would come out grey and dull.
HDR is rolled off here whichever way it is stated.
"""

from __future__ import annotations

from worker.errors import UnsupportedFormat
from worker.render.formats.stated import HLG, PQ, Stated, hdr_profile
from worker.render.image.vips import pyvips

_MAX_BANDS = 5
"""CMYK with alpha; more is a measurement, not a picture."""

_RGBA = 4

_PEAKS = {"uchar": 255, "ushort": 65535}

_WHITE_NITS = 203.0
"""Diffuse white of HDR (ITU-R BT.2408); what is brighter is rolled off from the knee upwards."""

_KNEE = 0.75

_LUMINANCE = [0.2126390, 0.7151687, 0.0721923]
"""Of linear light of sRGB's primaries (IEC 61966-2-1)."""


def to_srgb(
    image: pyvips.Image, stated: Stated | None = None, *, narrow: bool = False
) -> pyvips.Image:
    """Convert, lazily: pixels are read when the result is.

    `narrow` codes are of 16 to 235 (of 8 bits), alpha apart.

    Raises:
        UnsupportedFormat: more bands than a picture has.
        pyvips.Error: what libvips cannot convert.
    """
    if image.bands > _MAX_BANDS:
        raise UnsupportedFormat(f"{image.bands} bands are no picture's")
    converted = _converted(_widened(image) if narrow else image, stated)
    if converted.bands > _RGBA:
        # A second channel of alpha, or of something else.
        converted = converted.extract_band(0, n=_RGBA)
    return converted


def from_lab(image: pyvips.Image) -> pyvips.Image:
    """CIELAB as TIFF stores it in 8 bits, come as mere numbers: L of 0 to 255, signed a and b."""
    light, *signed = (image[band] for band in range(3))
    # Not a cast to signed numbers, which would cut off at 127.
    bands = [
        light * (100 / 255),
        *((each >= 1 << 7).ifthenelse(each - 256, each) for each in signed),
    ]
    bands += [image[band] for band in range(3, image.bands)]
    return bands[0].bandjoin(bands[1:]).copy(interpretation="lab")


def _converted(image: pyvips.Image, stated: Stated | None) -> pyvips.Image:
    if image.get_typeof("icc-profile-data"):
        profile = bytes(image.get("icc-profile-data"))
        if stated is None or not stated.outranks:
            hdr = None if image.interpretation == "cmyk" else hdr_profile(profile, stated)
            try:
                return _from_stated(image, hdr) if hdr else _by_profile(image, embedded=True)
            except pyvips.Error:
                # Sound pixels with a damaged profile are rendered as if they came without it.
                pass
        image = image.copy()
        image.remove("icc-profile-data")
    if image.interpretation == "cmyk":
        return _by_profile(image, input_profile="cmyk")
    if stated and not stated.plain and image.format in _PEAKS:
        return _from_stated(image, stated)
    if image.interpretation == "b-w" and image.format in {"float", "double"}:
        # Linear light of 0 to 1, as libvips reads three bands of such numbers.
        grey = image.extract_band(0)
        rest = [image.extract_band(1)] if image.hasalpha() else []
        image = grey.bandjoin([grey, grey, *rest]).copy(interpretation="scrgb")
    image = image.colourspace("srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def _by_profile(image: pyvips.Image, **source: object) -> pyvips.Image:
    # The black of a press is a dark grey, and means black.
    black = image.interpretation == "cmyk"
    return image.icc_transform(
        "srgb", intent="relative", black_point_compensation=black, depth=8, **source
    )


def _split(image: pyvips.Image) -> tuple[pyvips.Image, list[pyvips.Image]]:
    """Colours, and alpha if there is any."""
    if not image.hasalpha():
        return image, []
    return image.extract_band(0, n=image.bands - 1), [image.extract_band(image.bands - 1)]


def _widened(image: pyvips.Image) -> pyvips.Image:
    colours, alpha = _split(image)
    peak = _PEAKS[image.format]
    black, white = 16 / 256 * (peak + 1), 235 / 256 * (peak + 1)
    codes = pyvips.Image.identity(ushort=image.format == "ushort")
    # The cast cuts off what is below black or above white.
    wide = ((codes - black) * (peak / (white - black))).rint().cast(image.format)
    return colours.maplut(wide).bandjoin(alpha).copy(interpretation=image.interpretation)


def _from_stated(image: pyvips.Image, stated: Stated) -> pyvips.Image:
    image, alpha = _split(image)
    peak = _PEAKS[image.format]
    light = image.maplut(
        _light(pyvips.Image.identity(ushort=peak > _PEAKS["uchar"]) / peak, stated)
    )
    if light.bands == 1:
        light = light.bandjoin([light, light])
    if stated.matrix:
        light = light.recomb(pyvips.Image.new_from_array([list(row) for row in stated.matrix]))
    if stated.transfer == HLG:
        # BT.2100's way from scene to screen, at 1,000 nits: on luminance, so that hues stay.
        luminance = light.recomb(pyvips.Image.new_from_array([_LUMINANCE]))
        luminance = (luminance > 0).ifthenelse(luminance, 0)
        light = light * luminance**0.2 * (1000 / _WHITE_NITS)
    if stated.hdr:
        # As it is up to the knee, then ever flatter towards white, without a corner between.
        above = 1 - (1 - _KNEE) ** 2 / (light + (1 - 2 * _KNEE))
        light = (light <= _KNEE).ifthenelse(light, above)
    result = light.copy(interpretation="scrgb").colourspace("srgb").cast("uchar")
    return result.bandjoin([(each * (255 / peak)).rint().cast("uchar") for each in alpha])


def _light(codes: pyvips.Image, stated: Stated) -> pyvips.Image:
    """Codes of 0 to 1 as linear light, diffuse white being 1; HLG's is the scene's, 1 its peak."""
    if stated.gamma:
        return codes**stated.gamma
    if stated.transfer == PQ:  # SMPTE ST 2084
        root = codes ** (1 / 78.84375)
        above = root - 0.8359375
        above = (above > 0).ifthenelse(above, 0)
        return (above / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125) * (
            10_000 / _WHITE_NITS
        )
    if stated.transfer == HLG:  # ARIB STD-B67
        low = codes**2 / 3
        high = (((codes - 0.55991073) / 0.17883277).exp() + 0.28466892) / 12
        return (codes <= 0.5).ifthenelse(low, high)  # noqa: PLR2004
    low = codes / 12.92
    high = ((codes + 0.055) / 1.055) ** 2.4
    return (codes <= 0.04045).ifthenelse(low, high)  # noqa: PLR2004 (IEC 61966-2-1)
