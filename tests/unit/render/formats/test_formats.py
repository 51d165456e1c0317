"""The format by content."""

from __future__ import annotations

import gzip
import time

import pytest

from tests.support.skeletons import LONG, SHORT, box, tiff
from worker.errors import CorruptOriginal, UnsupportedFormat
from worker.render.formats.formats import RENDERED, sniff

SUBFILE_TYPE, COMPRESSION, PHOTOMETRIC, SUB_IFDS, DNG_VERSION = 0xFE, 0x103, 0x106, 0x14A, 0xC612


def ftyp(*brands: bytes) -> bytes:
    return box(b"ftyp", brands[0], bytes(4), *brands[1:])


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"RIFF\n\n\n\nWEBPVP8 ", "webp"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
        (tiff([(PHOTOMETRIC, SHORT, 2)]), "tiff"),
        (tiff([(PHOTOMETRIC, SHORT, 2)], order=">"), "tiff"),
        (ftyp(b"avif", b"mif1"), "avif"),
        (ftyp(b"mif1", b"avif", b"miaf"), "avif"),
        (ftyp(b"heic", b"mif1"), "heic"),
        (ftyp(b"mif1", b"heic"), "heic"),
        (ftyp(b"msf1", b"hevc"), "heic"),
        (ftyp(b"mif1", b"miaf") + b"....hvcC", "heic"),
        (ftyp(b"mif1", b"miaf") + b"....av1C", "avif"),
        (b"<svg>", "svg"),
        (b"\xef\xbb\xbf  <?xml version='1.0'?>\n<!-- > --><svg xmlns='x'/>", "svg"),
        (b"<!DOCTYPE svg [<!ENTITY a 'b'>]><svg:svg >", "svg"),
        (gzip.compress(b"<svg/>", mtime=0), "svg"),
        (b"<!--" + b"a licence " * 3200 + b"--><svg/>", "svg"),
    ],
)
def test_a_format_is_known_by_its_content(data: bytes, name: str) -> None:
    assert sniff(data) == name
    assert name in RENDERED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"BM" + bytes(60),
        b"%PDF-1.7",
        b"8BPS",
        b"\xff\x0a",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"<html><svg/></html>",
        b"<?xml version='1.0'?><gpx/>",
        gzip.compress(b"a tar, perhaps", mtime=0),
        b"\x1f\x8b\x08 no gzip",
        ftyp(b"crx ", b"isom"),
        ftyp(b"isom", b"mp42"),
        ftyp(b"mif1", b"miaf"),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        sniff(data)


@pytest.mark.parametrize(
    "data",
    [
        tiff([(SUBFILE_TYPE, LONG, 1), (SUB_IFDS, LONG, 8)]),
        tiff([(DNG_VERSION, LONG, 1)]),
        tiff([(PHOTOMETRIC, SHORT, 32803)]),
        tiff([(PHOTOMETRIC, SHORT, 34892)], order=">"),
        tiff([(COMPRESSION, SHORT, 34713)]),
        b"II*\0\x10\0\0\0CR\x02\0" + bytes(40),
    ],
    ids=["NEF", "DNG", "CFA", "LinearRaw", "NEF-compression", "CR2"],
)
def test_a_camera_raw_is_no_tiff(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="raw"):
        sniff(data)


def test_a_preview_beside_the_picture_makes_no_raw() -> None:
    pages = [(SUBFILE_TYPE, LONG, 0), (SUB_IFDS, LONG, 8)]
    assert sniff(tiff(pages, [(SUBFILE_TYPE, LONG, 1)])) == "tiff"


@pytest.mark.parametrize("size", [0, 8, 1 << 20])
def test_a_first_box_of_an_impossible_size_is_corrupt(size: int) -> None:
    with pytest.raises(CorruptOriginal):
        sniff(size.to_bytes(4, "big") + b"ftypheic" + bytes(2000))


@pytest.mark.parametrize("piece", [b"<!-- -->", b"<?a?>", b"<!DOCTYPE a>", b"<", b" ", b"\x1f\x8b"])
def test_no_text_makes_the_search_slow(piece: bytes) -> None:
    started = time.process_time()
    with pytest.raises(UnsupportedFormat):
        sniff(piece * 100_000)
    assert time.process_time() - started < 1  # a search that goes back would take for ever


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"II+\0\x08\0\0\0", "BigTIFF"),
        (b"MM\0+\0\x08\0\0", "BigTIFF"),
        ("<svg/>".encode("utf-16"), "UTF-16"),
        (b"\xfe\xff" + "<svg/>".encode("utf-16-be"), "UTF-16"),
    ],
)
def test_what_is_nearly_one_is_named(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=name):
        sniff(data)
