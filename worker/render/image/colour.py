"""Colour: whatever an original is in becomes sRGB, 8 bit, with its alpha.

By its embedded profile where it has one; CMYK without one by libvips's own; AVIF and HEIC without
one by their colour numbers (`nclx`), which libvips leaves aside: HDR would come out grey and dull.
"""

from __future__ import annotations

from worker.errors import UnsupportedFormat
from worker.render.image.vips import pyvips

_MAX_BANDS = 5
"""CMYK with alpha; more is a measurement, not a picture."""

_RGBA = 4

_P3, _BT2020 = 12, 9
_PQ, _HLG = 16, 18
_TO_SRGB = {
    _P3: [
        [1.2249402, -0.2249402, 0.0],
        [-0.0420570, 1.0420570, 0.0],
        [-0.0196376, -0.0786360, 1.0982736],
    ],
    _BT2020: [
        [1.6604910, -0.5876411, -0.0728499],
        [-0.1245505, 1.1328999, -0.0083494],
        [-0.0181508, -0.1005789, 1.1187297],
    ],
}
"""Linear light, D65 to D65 (ITU-R BT.2087 for 2020; the same derivation from SMPTE EG 432-1)."""

_WHITE_NITS = 203.0
"""Diffuse white of HDR (ITU-R BT.2408); what is brighter is rolled off from the knee upwards."""

_KNEE = 0.75


def to_srgb(image: pyvips.Image, nclx: tuple[int, int] | None = None) -> pyvips.Image:
    """Convert, lazily: pixels are read when the result is.

    Raises:
        UnsupportedFormat: more bands than a picture has.
        pyvips.Error: what libvips cannot convert.
    """
    if image.bands > _MAX_BANDS:
        raise UnsupportedFormat(f"{image.bands} bands are no picture's")
    converted = _converted(image, nclx)
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


def _converted(image: pyvips.Image, nclx: tuple[int, int] | None) -> pyvips.Image:
    if image.get_typeof("icc-profile-data"):
        try:
            return image.icc_transform("srgb", embedded=True, intent="relative", depth=8)
        except pyvips.Error:
            # Sound pixels with a damaged profile are rendered as if they came without a profile.
            image = image.copy()
            image.remove("icc-profile-data")
    if image.interpretation == "cmyk":
        return image.icc_transform("srgb", input_profile="cmyk", intent="relative", depth=8)
    if nclx and (nclx[0] in _TO_SRGB or nclx[1] in {_PQ, _HLG}):
        return _from_nclx(image, *nclx)
    if image.interpretation == "b-w" and image.format in {"float", "double"}:
        # Linear light of 0 to 1, as libvips reads three bands of such numbers.
        grey = image.extract_band(0)
        rest = [image.extract_band(1)] if image.hasalpha() else []
        image = grey.bandjoin([grey, grey, *rest]).copy(interpretation="scrgb")
    image = image.colourspace("srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def _from_nclx(image: pyvips.Image, primaries: int, transfer: int) -> pyvips.Image:
    alpha = image.extract_band(image.bands - 1) if image.hasalpha() else None
    if alpha is not None:
        image = image.extract_band(0, n=image.bands - 1)
    wide = image.format == "ushort"
    codes = pyvips.Image.identity(ushort=wide) / (65535 if wide else 255)
    light = image.maplut(_light(codes, transfer))
    if light.bands == 1:
        light = light.bandjoin([light, light])
    if primaries in _TO_SRGB:
        light = light.recomb(pyvips.Image.new_from_array(_TO_SRGB[primaries]))
    if transfer in {_PQ, _HLG}:
        # As it is up to the knee, then ever flatter towards white, without a corner between.
        above = 1 - (1 - _KNEE) ** 2 / (light + (1 - 2 * _KNEE))
        light = (light <= _KNEE).ifthenelse(light, above)
    result = light.copy(interpretation="scrgb").colourspace("srgb").cast("uchar")
    if alpha is None:
        return result
    return result.bandjoin((alpha / 257 if wide else alpha).rint().cast("uchar"))


def _light(codes: pyvips.Image, transfer: int) -> pyvips.Image:
    """Codes of 0 to 1 as linear light, diffuse white being 1."""
    if transfer == _PQ:  # SMPTE ST 2084
        root = codes ** (1 / 78.84375)
        above = root - 0.8359375
        above = (above > 0).ifthenelse(above, 0)
        return (above / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125) * (
            10_000 / _WHITE_NITS
        )
    if transfer == _HLG:  # ARIB STD-B67 at 1,000 nits, system gamma 1.2
        low = codes**2 / 3
        high = (((codes - 0.55991073) / 0.17883277).exp() + 0.28466892) / 12
        return (codes <= 0.5).ifthenelse(low, high) ** 1.2 * (1000 / _WHITE_NITS)  # noqa: PLR2004
    low = codes / 12.92
    high = ((codes + 0.055) / 1.055) ** 2.4
    return (codes <= 0.04045).ifthenelse(low, high)  # noqa: PLR2004 (IEC 61966-2-1)
