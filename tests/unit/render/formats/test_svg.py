"""SVG as text: what may be drawn, at which size, and what is refused before anything draws."""

from __future__ import annotations

import base64
import gzip

import pytest

from tests.support.skeletons import png
from tests.support.small_pictures import corners, jpeg
from worker.errors import CorruptOriginal, OriginalTooLarge, UnsupportedFormat
from worker.photo.limits import Limits
from worker.render.formats.svg import MAX_FILTER_STEPS, MAX_TEXT_BYTES, Drawing
from worker.render.formats.svg import read_drawing as read
from worker.render.formats.svg_budget import MAX_DEPTH, MAX_ELEMENTS
from worker.render.formats.svg_pictures import replaced

LIMITS = Limits(max_original_bytes=1 << 30, max_original_pixels=1_000_000)


def drawing(inside: str = "", head: str = "", size: str = "width='20' height='10'") -> bytes:
    return f"{head}<svg xmlns='http://www.w3.org/2000/svg' {size}>{inside}</svg>".encode()


FILTER = "<filter id='f'><feBlend/></filter>"
RESULTS = "<filter id='f'><feBlend result='a'/><feBlend result='b'/></filter>"
CHAINED = "<g id='a' opacity='.5'/><g id='b' opacity='.5'><use href='#a'/></g>"


def read_drawing(data: bytes) -> Drawing:
    return read(data, LIMITS)


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_the_size_is_the_stated_one() -> None:
    found = read_drawing(drawing(size="width='60' viewBox='0 0 30 40'"))
    assert (found.width, found.height) == (60, 80)
    with pytest.raises(UnsupportedFormat, match="size"):
        read_drawing(drawing(size="width='60'"))


def test_svgz_is_inflated_and_its_end_is_needed() -> None:
    text = drawing("<rect/>" * 100)
    packed = gzip.compress(text)
    assert read_drawing(packed).text == text
    with pytest.raises(CorruptOriginal, match="ends early"):
        read_drawing(packed[:-12])
    with pytest.raises(CorruptOriginal, match="damaged"):
        read_drawing(packed[:30] + b"\xff\xff\xff\xff" + packed[34:])
    with pytest.raises(OriginalTooLarge):
        read_drawing(gzip.compress(b"<svg>" + bytes(MAX_TEXT_BYTES)))


@pytest.mark.parametrize(
    "data",
    [
        b"<svg",
        b"<svg><g></svg>",
        b"<svg>&undefined;</svg>",
        b"<svg>\xff\xfe</svg>",
        b"<?xml version='1.0' encoding='klingon'?><svg/>",
    ],
)
def test_what_is_no_xml_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptOriginal):
        read_drawing(data)


ILLUSTRATOR = (
    "<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'http://www.w3.org/svg11.dtd' "
    "[<!ENTITY ns_svg 'http://www.w3.org/2000/svg'>]>"
)


def test_what_drawing_programs_write_passes() -> None:
    inside = (
        "<style>.a{fill:red}</style><script>alert(1)</script><text>&lt;Hanoi&gt;</text>"
        "<a href='https://example.org'><use href='#b'/></a><rect id='b' class='a'/>"
        f"<image href='{data_url(jpeg(corners()), 'image/jpeg')}'/>"
        f"<image xmlns:xlink='x' xlink:href='{data_url(png(width=9, height=9))}'/>"
    )
    read_drawing(drawing(inside, ILLUSTRATOR))


@pytest.mark.parametrize(
    ("inside", "head"),
    [
        ("&x;", "<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"),
        ("", "<!DOCTYPE svg [<!ENTITY % x SYSTEM 'http://127.0.0.1/'>%x;]>"),
        ("&b;", "<!DOCTYPE svg [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>"),
        ("<image href='http://127.0.0.1/a.png'/>", ""),
        ("<image href='file:///etc/hostname'/>", ""),
        ("<image href='canary.png'/>", ""),
        ("<filter><feImage href='canary.png'/></filter>", ""),
        ("<use href='other.svg#a'/>", ""),
        ("<xi:include xmlns:xi='x' href='canary.svg'/>", ""),
        (f"<image href='{data_url(b'<svg/>', 'image/svg+xml')}'/>", ""),
        (f"<image href='{data_url(b'BMxxxx')}'/>", ""),
        ("<image xmlns:x='http://www.w3.org/1999/xlink' x:href='canary.png'/>", ""),
        (f"<image href='#a' x:href='{data_url(b'<svg/>', 'image/svg+xml')}' xmlns:x='x'/>", ""),
        ("<filter><feImage x:href='canary.png' xmlns:x='x'/></filter>", ""),
        ("<style>@import url(data:text/css,a%7Bb:c%7D);</style>", ""),
        ("<style>a{b:c} @IMPORT 'a.css';</style>", ""),
        ("<style>@\\69mport 'a.css';</style>", ""),
        ("", "<?xml-stylesheet href='data:text/css,a%7Bb:c%7D'?>"),
        ("", "<?xml-stylesheet href='a.css#s' type='text/css'?>"),
        ("", "<?xml-stylesheet title=\"href='#s'\" href='a.css'?>"),
        ("", "<?xml-stylesheet href='#s' href='a.css'?>"),
        ("", "<?xml-stylesheet href='#s' junk?>"),
        ("", "<?xml-stylesheet?>"),
    ],
)
def test_nothing_outside_itself_is_loaded(inside: str, head: str) -> None:
    with pytest.raises(UnsupportedFormat):
        read_drawing(drawing(inside, head))


def test_a_style_sheet_may_be_an_element_of_the_document() -> None:
    head = "<?xml-stylesheet href=\"#s\" type='text/css' ?>"
    read_drawing(drawing("<style id='s'>.a{fill:red}</style>", head))


def test_fonts_of_the_web_are_done_without() -> None:
    for scheme in ("https:", ""):
        fonts = f"@import url('{scheme}//fonts.googleapis.com/css2?family=Inter:wght@400;700');"
        read_drawing(drawing(f"<style>{fonts} text{{font-family:Inter}}</style><text>a</text>"))
    read_drawing(drawing("<style>@import url(//fonts.googleapis.com/css?family=Inter);</style>"))
    read_drawing(drawing("<style>@import '//example.org/a.css';</style>"))


def test_embedded_pictures_are_measured_together() -> None:
    half = f"<image href='{data_url(png(width=1000, height=600))}'/>"
    read_drawing(drawing(half))
    with pytest.raises(OriginalTooLarge, match="1,200,000"):
        read_drawing(drawing(half * 2))
    with pytest.raises(CorruptOriginal, match="embedded"):
        read_drawing(drawing(f"<image href='{data_url(png()[:20])}'/>"))


NESTED_IN = "<image href='{}'/>"


def nested(inside: str, times: int = 1) -> str:
    """A drawing in a drawing, so many deep."""
    for _ in range(times):
        inside = NESTED_IN.format(data_url(drawing(inside), "image/svg+xml"))
    return inside


def test_a_drawing_in_a_drawing_has_the_same_budgets() -> None:
    read_drawing(drawing(nested("<rect/>", 4)))
    with pytest.raises(OriginalTooLarge, match="deep"):
        read_drawing(drawing(nested("<rect/>", 5)))
    half = "<rect/>" * (MAX_ELEMENTS // 2)
    read_drawing(drawing(nested(half)))
    with pytest.raises(OriginalTooLarge, match="draws more"):
        read_drawing(drawing(nested(half) + half))
    with pytest.raises(OriginalTooLarge, match="draws more"):
        read_drawing(drawing(nested(nested(half) + half)))
    picture = f"<image href='{data_url(png(width=1000, height=600))}'/>"
    with pytest.raises(OriginalTooLarge, match="1,200,000"):
        read_drawing(drawing(picture + nested(picture)))
    with pytest.raises(UnsupportedFormat, match="embedded"):
        read_drawing(drawing(nested("<image href='file:///etc/hostname'/>")))
    packed = data_url(gzip.compress(drawing("<a/>" + " " * (MAX_TEXT_BYTES // 2))))
    with pytest.raises(OriginalTooLarge, match="drawings in a drawing"):
        read_drawing(drawing(NESTED_IN.format(packed) * 2))
    assert read_drawing(drawing(nested("<g opacity='.5'/>"))).surfaces == 2
    memory = [read_drawing(drawing(inside)).memory_bytes for inside in (nested(half), half)]
    assert memory[0] > memory[1]


def test_pictures_are_put_in_their_place_in_any_encoding() -> None:
    picture = data_url(png(width=9, height=9))
    inside = (
        f"<g a='>'/><image alt='é \">\"' href='{picture}'/><image x:href='\n{picture}' a='>' "
        "xmlns:x='x'>é</image ><feImage href='#a'/>"
    )
    for encoding in ("utf-8", "latin-1"):
        text = drawing(inside, f"<?xml version='1.0' encoding='{encoding}'?>").decode()
        found = read_drawing(text.encode(encoding))
        made = replaced(found.text, found.pictures, lambda data: ("x", data[:3])).decode(encoding)
        assert picture not in made
        assert made.count("data:image/x;base64,") == 2
        assert "<g a='>'/>" in made
        assert ">é</image >" in made


def test_a_picture_in_an_entity_is_refused() -> None:
    head = f"<!DOCTYPE svg [<!ENTITY e \"<image href='{data_url(png())}'/>\">]>"
    with pytest.raises(UnsupportedFormat, match="entity"):
        read_drawing(drawing("&e;", head))


def doublings(times: int, kind: str = "use") -> str:
    attribute = "href='#{}'" if kind == "use" else "fill='url(#{})'"
    parts = ["<rect id='a0'/>"]
    for n in range(times):
        twice = f"<{kind} {attribute.format(f'a{n}')}/>" * 2
        parts.append(f"<g id='a{n + 1}'>{twice}</g>")
    return f"<defs>{''.join(parts)}</defs><use href='#a{times}'/>"


@pytest.mark.parametrize("kind", ["use", "rect"])
def test_doublings_are_counted_not_drawn(kind: str) -> None:
    read_drawing(drawing(doublings(9, kind)))
    with pytest.raises(OriginalTooLarge, match="draws more"):
        read_drawing(drawing(doublings(60, kind)))


def test_circles_end() -> None:
    read_drawing(drawing("<g id='a'><use href='#b'/></g><g id='b'><use href='#a'/></g>"))


@pytest.mark.parametrize(
    "inside",
    [
        "<g>" * MAX_DEPTH + "</g>" * MAX_DEPTH,
        "<a/>" * MAX_ELEMENTS,
        f"<filter>{'<feGaussianBlur/>' * (MAX_FILTER_STEPS + 1)}</filter>",
        f"<style>{'a{{b:c}}'.format() * 3000}</style>{'<a/>' * 2000}",
        FILTER + "<rect filter='url(#f)'/>" * 500,
        FILTER + "<rect filter='URL( \"#f\" )'/>" * 500,
        FILTER + "<rect style='filter:u\\72l(#f)'/>" * 500,
        FILTER + "<style>rect{filter:url(#f)}</style>" + "<rect/>" * 500,
        "<style>a, .b #c {FILTER:Url('#f')}</style>" + FILTER + "<a/>" * 500,
        f"<style>{'a b,' * 3000}c{{d:e}}</style>{'<a/>' * 2000}",
        "<rect style='mix-blend-mode:multiply'/>" * 801,
        "<rect style='fill:red;MIX-BLEND-MODE : Color'/>" * 267,
        "<rect style='mix-blend-m\\6f de:multiply'/>" * 801,
        "<rect mix-blend-mode='screen'/>" * 801,
        "<style>.a{mix-blend-mode:screen}</style>" + "<rect class='a'/>" * 801,
        "<g id='a' style='mix-blend-mode:multiply'/>" + "<use href='#a'/>" * 800,
        "<filter>" + "<feMorphology radius='9 1'/>" * 4 + "</filter>",
        "<filter primitiveUnits='objectBoundingBox'>"
        + "<feMorphology radius='.01'/>" * 4
        + "</filter>",
        "<filter>" + "<feConvolveMatrix order='9'/>" * 7 + "</filter>",
    ],
    ids=[
        "deep",
        "many",
        "filter",
        "rules",
        "filtered",
        "filtered-loudly",
        "filtered-in-escapes",
        "filtered-by-style",
        "filtered-by-list",
        "selectors",
        "blends",
        "costly-blends",
        "blends-in-escapes",
        "blends-by-attribute",
        "blends-by-style",
        "blends-by-use",
        "morphology",
        "boxed-morphology",
        "convolution",
    ],
)
def test_too_much_is_refused(inside: str) -> None:
    with pytest.raises(OriginalTooLarge):
        read_drawing(drawing(inside))


def test_the_refusal_says_that_filters_and_blends_weigh_more() -> None:
    with pytest.raises(OriginalTooLarge, match="filters and blends weigh more"):
        read_drawing(drawing(FILTER + "<rect filter='url(#f)'/>" * 500))


def test_some_blends_pass() -> None:
    read_drawing(drawing("<rect style='mix-blend-mode:multiply'/>" * 700))
    normal = "<rect style='mix-blend-mode:normal'/><rect mix-blend-mode='normal'/>"
    few = "<style>.a{mix-blend-mode:color}</style><g class='a'/>"
    read_drawing(drawing(few + normal * 10_000))


def test_the_outline_is_the_root_and_its_styles() -> None:
    size = "width='20' height='10' font-family='&quot;A&amp;B&quot;'"
    inside = "<g><style media='all'>a>b{c:d}</style></g><rect/>"
    found = read_drawing(drawing(inside, size=size)).outline
    assert b"rect" not in found
    assert read_drawing(found).outline == found
    assert b"a&gt;b{c:d}" in found
    long = f"<style>{'a{b:c}' * 20_000}</style>"
    assert len(read_drawing(drawing(long)).outline) < 1000
    rooted = read_drawing(drawing(size=f"width='20' height='10' class='{'a ' * 50_000}'"))
    assert rooted.outline == b""


def test_many_small_filters_are_not_one_long_one() -> None:
    read_drawing(drawing("<filter><feBlend/><feBlend/></filter>" * MAX_FILTER_STEPS))


def test_a_style_that_few_elements_have_costs_what_these_do() -> None:
    few = "<rect/>" * 2000 + "<rect class='a b'/>" * 5
    for selector in (".b", "g > rect.b:hover", "#one, .a"):
        read_drawing(drawing(f"<style>{selector}{{filter:url(#f)}}</style>{FILTER}{few}"))


def test_a_gradient_costs_nothing_by_style() -> None:
    gradient = f"<linearGradient id='f'>{'<stop/>' * 20}</linearGradient>"
    read_drawing(
        drawing(f"<style>*{{fill:url(#f)}}</style>{gradient}{'<rect/>' * (MAX_ELEMENTS - 50)}")
    )


def test_a_small_reach_costs_little() -> None:
    steps = "<feMorphology radius='.01'/>" * MAX_FILTER_STEPS
    read_drawing(drawing(f"<filter>{steps}</filter>"))
    read_drawing(drawing(f"<filter>{'<feConvolveMatrix/>' * MAX_FILTER_STEPS}</filter>"))


@pytest.mark.parametrize(
    ("inside", "surfaces"),
    [
        ("<g><rect/></g>" * 9, 0),
        ("<g opacity='1'/>", 0),
        ("<g opacity='.5'/>" * 9, 1),
        ("<g opacity='.5'>" * 9 + "</g>" * 9, 9),
        ("<g style='opacity:.5'><g style='fill-opacity:.5'/></g>", 1),
        ("<g style='mix-blend-mode:multiply'><g style='Isolation: isolate'/></g>", 2),
        ("<mask id='m'><g opacity='.5'/></mask><g opacity='.5'><g mask='url(#m)'/></g>", 4),
        ("<filter id='f'><feBlend/><feBlend/></filter><g filter='url(#f)'/>", 5),
        (RESULTS + "<g opacity='.5'><g filter='url(#f)'/></g>", 8),
        (CHAINED + "<g opacity='.5'><use href='#b'/></g>", 3),
        ("<g><g><g/></g></g><style>g{opacity:.5}</style>", 3),
        ("<style>.x{mask:url(#m)}</style><mask id='m'/><g class='x'/>" + "<g/>" * 9, 2),
    ],
)  # fmt: skip
def test_the_surfaces_that_are_needed_at_once_are_counted(inside: str, surfaces: int) -> None:
    assert read_drawing(drawing(inside)).surfaces == surfaces


def test_the_memory_of_a_drawing_is_foreseen() -> None:
    plain = read_drawing(drawing()).memory_bytes
    assert read_drawing(drawing("<rect/>" * 1000)).memory_bytes > plain + 1_500_000
    path = f"<path d='{'M0 0L9 9' * 10_000}'/>"
    assert read_drawing(drawing(path)).memory_bytes > plain + 80_000 * 60
    embedded = f"<image href='{data_url(png(width=1000, height=900))}'/>"
    assert read_drawing(drawing(embedded)).memory_bytes > plain + 900_000 * 10


def test_an_xml_of_something_else_is_no_svg() -> None:
    with pytest.raises(UnsupportedFormat, match="gpx"):
        read_drawing(b"<gpx><svg/></gpx>")
