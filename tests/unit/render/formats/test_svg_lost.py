"""What a drawer leaves out in silence is refused by name, but where a fall-back is drawn."""

from __future__ import annotations

import pytest

from tests.unit.render.formats.test_svg import drawing, read_drawing
from worker.errors import UnsupportedFormat
from worker.render.formats.svg_pictures import replaced

XHTML = "xmlns='http://www.w3.org/1999/xhtml'"
HTML = f"<foreignObject {{}}><div {XHTML}><p>Label</p></div></foreignObject>"
FEATURE = "requiredFeatures='http://www.w3.org/TR/SVG11/feature#Extensibility'"
PLAIN = HTML.format("")
EXTENSION, PLACED = 'requiredExtensions="x"', 'x="1"'
FALLBACK = "<text>Label</text>"


@pytest.mark.parametrize(
    ("inside", "name"),
    [
        (PLAIN, "foreignObject"),
        (f"<g>{PLAIN}</g>", "foreignObject"),
        ("<foreignObject><img src='a'/></foreignObject>", "foreignObject"),
        ("<text><textPath href='#a'>Round</textPath></text>", "textPath"),
        ("<text><textPath href='#a'><tspan>Round</tspan></textPath></text>", "textPath"),
        (f"<switch>{PLAIN}</switch>", "foreignObject"),
        (f"<switch>{HTML.format(FEATURE)}</switch>", "foreignObject"),
        (f"<switch><g>{PLAIN}</g>{FALLBACK}</switch>", "foreignObject"),
        (f"<switch>{FALLBACK}</switch>{PLAIN}", "foreignObject"),
    ],
)
def test_content_that_is_left_out_is_named(inside: str, name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=name):
        read_drawing(drawing(inside))


@pytest.mark.parametrize(
    "inside",
    [
        "<foreignObject width='0'><div> <span class='edgeLabel'/>\n</div></foreignObject>",
        "<text><textPath href='#a'> </textPath>b</text>",
        f"<switch>{HTML.format(FEATURE)}{FALLBACK}</switch>",
        f"<switch><g {FEATURE}>{PLAIN}</g>{FALLBACK}</switch>",
        f"<switch>{HTML.format(EXTENSION)}{FALLBACK}</switch>",
        f"<switch>{PLAIN}{FALLBACK}</switch>",
        f"<switch>{PLAIN}<switch>{PLAIN}{FALLBACK}</switch></switch>",
    ],
)
def test_what_loses_nothing_passes(inside: str) -> None:
    read_drawing(drawing(inside))


def test_a_switch_passes_over_what_is_not_drawn() -> None:
    found = read_drawing(drawing(f"<switch>{HTML.format(PLACED)}{FALLBACK}</switch>"))
    text = replaced(found.text, found.pictures, lambda data: ("png", data))
    assert b'<foreignObject x="1" requiredExtensions="none"><div' in text
