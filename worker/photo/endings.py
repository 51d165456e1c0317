"""Endings: the endings of picture files, and the content type that each ending stands for."""

from __future__ import annotations

from typing import Final

_CONTENT_TYPES: Final = {
    **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif"), "image/jpeg"),
    "png": "image/png",
    "apng": "image/apng",
    **dict.fromkeys(("tif", "tiff"), "image/tiff"),
    "webp": "image/webp",
    "gif": "image/gif",
    **dict.fromkeys(("avif", "avifs"), "image/avif"),
    "heic": "image/heic",
    "heics": "image/heic-sequence",
    **dict.fromkeys(("heif", "hif"), "image/heif"),
    **dict.fromkeys(("svg", "svgz"), "image/svg+xml"),
}


_REFUSED: Final = {**dict.fromkeys(("bmp", "dib"), "a BMP"), "jxl": "a JPEG XL"}
"""Pictures that people have and that are not rendered; better refused by name than passed over."""


def named_like_a_picture(name: str) -> bool:
    """Whether a file's or an object's name has the ending of a picture, rendered or not."""
    return _ending(name) in _CONTENT_TYPES or _ending(name) in _REFUSED


def why_refused(name: str) -> str:
    """Why a file of this name need not be uploaded; empty for all but pictures never rendered."""
    what = _REFUSED.get(_ending(name))
    return f"{what}, which is not read; save it as JPEG, PNG or WebP" if what else ""


def content_type(name: str) -> str:
    """Return the content type with which a file of this name is uploaded."""
    return _CONTENT_TYPES.get(_ending(name), "application/octet-stream")


def _ending(name: str) -> str:
    _, dot, ending = name.rpartition(".")
    return ending.lower() if dot else ""
