"""CSS functions that a drawer does not know get their values, or are refused by name."""

from __future__ import annotations

import pytest

from tests.unit.render.formats.test_svg import FILTER, drawing, read_drawing
from worker.errors import OriginalTooLarge, UnsupportedFormat
from worker.render.formats.svg_resolve import resolved


def css(sheet: str, inside: str = "") -> str:
    return resolved(drawing(f"<style>{sheet}</style>{inside}")).decode()


@pytest.mark.parametrize(
    ("sheet", "wanted"),
    [
        (":root{--c:#0a0} .a{fill:var(--c)}", ".a{fill:#0a0}"),
        (".a{fill:var( --c )} svg{--c: rgb(0, 160, 0) ;}", ".a{fill:rgb(0, 160, 0)}"),
        (":root{--a:var(--b);--b:red}.a{fill:var(--a)}", ".a{fill:red}"),
        (".a{fill:var(--none, rgb(1,2,3))}", ".a{fill:rgb(1,2,3)}"),
        (".a{fill:var(--none, var(--c, red))}", ".a{fill:red}"),
        (".a{fill:light-dark(#fff, rgb(1,2,3))}", ".a{fill:#fff}"),
        (".a{fill:light-dark(rgb(1, 2, 3),var(--x,#000))}", ".a{fill:rgb(1, 2, 3)}"),
        (".a{fill:LIGHT-DARK(red,blue)}", ".a{fill:red}"),
        (":root{--h:142}.a{fill:oklch(60% .19 var(--h))}", ".a{fill:rgb(35,154,25)}"),
        (".a{fill:oklch(1 0 0deg / 50%)}", ".a{fill:rgba(255,255,255,0.5000)}"),
        (".a{fill:oklab(0 none 0)}", ".a{fill:rgb(0,0,0)}"),
        (
            ":root{--c:red}@media (prefers-color-scheme: dark){:root{--c:blue}}a{fill:var(--c)}",
            "a{fill:red}",
        ),
        (":root{--a:var(--a)}.a{fill:var(--a)}", ".a{fill:var(--a)}"),
        (".a{fill:var(--none)}", ".a{fill:var(--none)}"),
    ],
)
def test_a_value_takes_the_place_of_a_function(sheet: str, wanted: str) -> None:
    assert wanted in css(sheet)


def test_attributes_have_values_too() -> None:
    made = css(
        ":root{--c:#0a0}",
        "<rect fill='var(--c)' style='stroke:var(--c)' data-x='var(--c)' a='é'/><a style='--d:1'/>",
    )
    assert '<rect fill="#0a0" style="stroke:#0a0" data-x="var(--c)" a="&#233;"/>' in made
    rooted = resolved(
        drawing("<g fill='var(--c)'>a</g>", size="width='9' height='9' style='--c:red'")
    )
    assert b'<g fill="red">a</g>' in rooted
    data = resolved(drawing("<style><![CDATA[:root{--c:a>b}a{b:var(--c)}]]></style>"))
    assert b"a{b:a&gt;b}</style>" in data


def test_a_document_without_functions_stays_as_it_is() -> None:
    text = drawing("<style>a{fill:rgb(1,2,3)}</style><text>envar(x)</text>")
    assert resolved(text) is text


@pytest.mark.parametrize(
    ("sheet", "name"),
    [
        (".a{fill:lab(50% 1 2)}", r"lab\(\)"),
        (".a{fill:color-mix(in srgb, red, blue)}", r"color-mix\(\)"),
        (".a{fill:color(display-p3 0 1 0)}", r"color\(\)"),
        (".a{fill:oklch(from red l c h)}", "oklch"),
        (".a{--c:red}.b{--c:blue}.a{fill:var(--c)}", "--c"),
        (".a{fill:var(--c", "does not end"),
    ],
)
def test_what_is_not_simple_is_refused_by_name(sheet: str, name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=name):
        read_drawing(drawing(f"<style>{sheet}</style>"))


def test_values_grow_to_a_limit() -> None:
    doubling = "".join(f"--v{n}:{f'var(--v{n + 1}) ' * 8};" for n in range(12))
    with pytest.raises((OriginalTooLarge, UnsupportedFormat)):
        css(f":root{{{doubling}--v12:{'x' * 100}}}a{{b:var(--v0)}}")
    long = f":root{{--v:{'x' * 4000}}}" + "a{b:var(--v)}" * 5000
    with pytest.raises(OriginalTooLarge):
        css(long)


def test_what_a_value_refers_to_is_counted() -> None:
    sheet = "<style>:root{--f:url(#f)}rect{filter:var(--f)}</style>"
    with pytest.raises(OriginalTooLarge, match="draws more"):
        read_drawing(drawing(sheet + FILTER + "<rect/>" * 500))


@pytest.mark.parametrize(
    ("style", "sheet", "colour"),
    [
        ("background:#00a000", "", "#00a000"),
        ("background-color: rgb(0,160,0)", "", "rgb(0,160,0)"),
        ("background:red;background-color:light-dark(#00a000,#000)", "", "#00a000"),
        ("enable-background:new 0 0 9 9", "", ""),
        ("background:none", "", ""),
        ("", "svg{background:white}", "white"),
        ("", ":root, .x{background:white}", "white"),
        ("background:red", "svg{background:white}", "red"),
        ("", "@media (prefers-color-scheme: dark){svg{background:#000}}", ""),
        ("", "rect{background:#000}", ""),
    ],
)
def test_the_root_may_have_a_background(style: str, sheet: str, colour: str) -> None:
    size = f"width='9' height='9' style='{style}'"
    assert read_drawing(drawing(f"<style>{sheet}</style>", size=size)).background == colour


def test_a_background_of_more_than_a_colour_is_refused() -> None:
    for value in ("url(a.png)", "linear-gradient(red,blue)", "red url(a.png)"):
        with pytest.raises(UnsupportedFormat, match="background"):
            read_drawing(drawing(size=f"width='9' height='9' style='background:{value}'"))
