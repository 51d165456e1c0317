"""WebP: the only room that talks to libwebp itself. In child processes only.

libvips encodes with a build of libwebp of its own, after copying the picture, and lets through only
some of the encoder's settings. The build that comes with Pillow makes the same bytes of the same
settings in a sixth less CPU time, keeps no copy, and can be asked for what suits a rung. Its C
interface is public and checks its own version; see docs/decisions/0014.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_char_p, c_float, c_int, c_size_t, c_uint32, c_void_p
from typing import Any, Final

from PIL import _webp

from worker.errors import RenderOutOfMemory
from worker.photo.looks import Tuning

_ABI: Final = 0x0210
"""The version of the structures below (`WEBP_ENCODER_ABI_VERSION`, src/webp/encode.h): the library
refuses to fill in those of another major version (its upper byte)."""

_OUT_OF_MEMORY: Final = (1, 2)
_RGBA_BANDS: Final = 4


class _Config(ctypes.Structure):
    _fields_ = [
        ("lossless", c_int),
        ("quality", c_float),
        ("method", c_int),
        ("image_hint", c_int),
        ("target_size", c_int),
        ("target_psnr", c_float),
        ("segments", c_int),
        ("sns_strength", c_int),
        ("filter_strength", c_int),
        ("rest", c_int * 20),
    ]


class _Picture(ctypes.Structure):
    _fields_ = [
        ("use_argb", c_int),
        ("colorspace", c_int),
        ("width", c_int),
        ("height", c_int),
        ("planes", c_void_p * 3),
        ("strides", c_int * 2),
        ("alpha", c_void_p),
        ("alpha_stride", c_int),
        ("pad1", c_uint32 * 2),
        ("argb", c_void_p),
        ("argb_stride", c_int),
        ("pad2", c_uint32 * 3),
        ("writer", c_void_p),
        ("custom_ptr", c_void_p),
        ("extra_info_type", c_int),
        ("extra_info", c_void_p),
        ("stats", c_void_p),
        ("error_code", c_int),
        ("progress_hook", c_void_p),
        ("user_data", c_void_p),
        ("pad3", c_uint32 * 3),
        ("pad4", c_void_p * 2),
        ("pad6", c_uint32 * 8),
        ("memory", c_void_p * 2),
        ("pad7", c_void_p * 2),
    ]


class _Written(ctypes.Structure):
    _fields_ = [
        ("memory", c_void_p),
        ("size", c_size_t),
        ("max_size", c_size_t),
        ("pad", c_uint32),
    ]


class Frame:
    """One picture as the encoder takes it: luma, and chroma of half its width and height.

    Holds 1.5 bytes a pixel, 2.5 with alpha; the pixels that it was made of are not needed any more.
    Not thread-safe.
    """

    def __init__(self, pixels: Any, width: int, height: int, bands: int) -> None:  # noqa: ANN401
        """Convert sRGB pixels: a writable buffer, row by row, of 3 or 4 (alpha) bytes each.

        Raises:
            RenderOutOfMemory: it does not fit the memory.
        """
        self._picture = _Picture()
        if not _lib.WebPPictureInitInternal(ctypes.byref(self._picture), _ABI):
            raise ImportError("this libwebp has other structures than those known here")
        self._picture.width, self._picture.height = width, height
        take = _lib.WebPPictureImportRGBA if bands == _RGBA_BANDS else _lib.WebPPictureImportRGB
        first = (c_char * (width * height * bands)).from_buffer(pixels)
        self._check(take(ctypes.byref(self._picture), first, width * bands))

    def __del__(self) -> None:
        """Let the planes go."""
        _lib.WebPPictureFree(ctypes.byref(self._picture))

    def encode(self, tuning: Tuning) -> bytes:
        """The WebP file of this picture, without any metadata.

        Raises:
            RenderOutOfMemory: it does not fit the memory.
            ValueError: the encoder refuses this tuning.
            RuntimeError: the encoder gave up for another reason.
        """
        config = _Config()
        _lib.WebPConfigInitInternal(ctypes.byref(config), 0, tuning.quality, _ABI)
        config.method = tuning.method
        config.sns_strength = tuning.sns_strength
        config.filter_strength = tuning.filter_strength
        if not _lib.WebPValidateConfig(ctypes.byref(config)):
            raise ValueError(f"libwebp knows no {tuning}")
        written = _Written()
        _lib.WebPMemoryWriterInit(ctypes.byref(written))
        self._picture.writer = ctypes.cast(_lib.WebPMemoryWrite, c_void_p)
        self._picture.custom_ptr = ctypes.cast(ctypes.pointer(written), c_void_p)
        try:
            self._check(_lib.WebPEncode(ctypes.byref(config), ctypes.byref(self._picture)))
            return ctypes.string_at(written.memory, written.size)
        finally:
            _lib.WebPMemoryWriterClear(ctypes.byref(written))

    def _check(self, succeeded: int) -> None:
        if succeeded:
            return
        if self._picture.error_code in _OUT_OF_MEMORY:
            raise RenderOutOfMemory("the slot's memory limit was reached: libwebp has no memory")
        raise RuntimeError(f"libwebp gave up with its error {self._picture.error_code}")


def decode(data: bytes, width: int, height: int, bands: int) -> bytearray:
    """The pixels of a WebP of this size that was written here: `bands` (3 or 4) bytes each.

    Raises:
        RenderOutOfMemory: it does not fit the memory.
    """
    try:
        pixels = bytearray(width * height * bands)
    except MemoryError as error:
        raise RenderOutOfMemory("the render's memory limit was reached") from error
    read = _lib.WebPDecodeRGBAInto if bands == _RGBA_BANDS else _lib.WebPDecodeRGBInto
    first = (c_char * len(pixels)).from_buffer(pixels)
    if not read(data, len(data), first, len(pixels), width * bands):
        # libwebp wrote it, at this size: only memory can have failed.
        raise RenderOutOfMemory("the slot's memory limit was reached: libwebp cannot read it back")
    return pixels


def version() -> str:
    """For the recipe."""
    number = _lib.WebPGetEncoderVersion()
    return f"libwebp-{number >> 16}.{number >> 8 & 255}.{number & 255}"


def _load() -> ctypes.CDLL:
    """The library that Pillow has loaded, wherever that lies: in its wheel, or the system's.

    Pillow's module is asked for it: a name is looked up in the libraries that a module needs too.
    """
    try:
        return _declared(ctypes.CDLL(_webp.__file__))
    except AttributeError as error:
        why = (
            "Pillow hides its libwebp: install Pillow from its wheel, or with a shared libwebp 1.x"
        )
        raise ImportError(why) from error


def _declared(lib: ctypes.CDLL) -> ctypes.CDLL:
    lib.WebPConfigInitInternal.argtypes = [c_void_p, c_int, c_float, c_int]
    lib.WebPPictureInitInternal.argtypes = [c_void_p, c_int]
    lib.WebPPictureImportRGB.argtypes = [c_void_p, c_void_p, c_int]
    lib.WebPPictureImportRGBA.argtypes = [c_void_p, c_void_p, c_int]
    lib.WebPEncode.argtypes = [c_void_p, c_void_p]
    for name in ("WebPDecodeRGBInto", "WebPDecodeRGBAInto"):
        getattr(lib, name).argtypes = [c_char_p, c_size_t, c_void_p, c_size_t, c_int]
        getattr(lib, name).restype = c_void_p
    for name in ("WebPValidateConfig", "WebPMemoryWriterInit"):
        getattr(lib, name).argtypes = [c_void_p]
    for name in ("WebPMemoryWriterClear", "WebPPictureFree"):
        getattr(lib, name).argtypes = [c_void_p]
        getattr(lib, name).restype = None
    return lib


_lib = _load()
