"""Style sheets: what they refer to, for how many elements at most, and what hides in them."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress

import pytest

from worker.errors import UnsupportedFormat
from worker.render.formats.svg_styles import Styles, blends, surfaces, urls

COUNT = Counter({"": 1000, "rect": 400, "g": 50, ".a": 7, ".b": 3, "#one": 1})


def read(text: str) -> Styles:
    styles = Styles()
    styles.read(text)
    return styles


@pytest.mark.parametrize(
    ("sheet", "times"),
    [
        (".a{fill:url(#f)}", 7),
        ("rect{fill:url(#f)}", 400),
        ("rect.b{fill:url(#f)}", 3),
        ("g rect#one:hover{fill:url(#f)}", 1),
        (".a>.b,.a{fill:url(#f)}", 10),
        (".none{fill:url(#f)}", 0),
        ("*{fill:url(#f)}", 1000),
        ("[x='.none']{fill:url(#f)}", 1000),
        ("rect:is(g .none, .none){fill:url(#f)}", 1000),
        ("svg|none{fill:url(#f)}", 1000),
        ("@media all{.a{fill:url(#f)}}", 7),
        (".none{x:'}'} .a{fill:url(#f)}", 7),
        ("rect{a:'{'; x:'.none{'; fill:url(#f)}", 400),
        ("/* .none{ */ .a{fill:url(#f)}", 7),
        (".a{x:url(/*)} .b{fill:url(#f)} .a{x:url(*/)}", 3),
        (".n\\6fne{fill:u\\72l(#f)}", 1000),
        (".a{fill:url(#f)", 1000),
        (".a{fill:url(#f)} .b{stroke:URL( '#f' )}", 10),
    ],
)
def test_a_reference_counts_for_all_that_may_have_it(sheet: str, times: int) -> None:
    assert read(sheet).references(COUNT)["f"] == times


def test_selectors_are_counted_and_colours_are_not() -> None:
    assert read(".a,.b c,d{fill:rgb(1,2,3)} e{f:g}").selectors == 4
    assert read("@media all{" + "a,b{c:d(e,f)}" * 10 + "}").selectors == 21
    assert read("a," * 1000).selectors == 1000


@pytest.mark.parametrize(
    "sheet",
    [
        "@import 'a.css';",
        "a{b:c}@IMPORT url(data:,)",
        "@\\49 mport 'a';",
        "@import url(file:///a.css);",
        "@import url('https.css');",
        "@import 'https://example.org/a.css'; @import 'data:,';",
        "@import 'data:,https://example.org/';",
        "@import url(https://example.org 'data:,')",
    ],
)
def test_an_import_is_refused(sheet: str) -> None:
    with pytest.raises(UnsupportedFormat, match="import"):
        read(sheet)


@pytest.mark.parametrize(
    "sheet",
    [
        "@import url('https://example.org/a?b=c:d@1;2');",
        "@import url( https://example.org/a?b=c:d@1;2 ) screen;",
        '@IMPORT "HTTP://example.org/a";',
        "@import/**/'https://example.org/*';",
        "@\\69mport 'https://example.org';",
    ],
)
def test_an_import_from_the_web_is_passed_over(sheet: str) -> None:
    times = 1000 if "\\" in sheet else 7
    assert read(sheet + ".a{fill:url(#f)}").references(COUNT)["f"] == times


def test_a_word_in_a_comment_imports_nothing() -> None:
    read("/* @import 'a.css' */ .important{a:b}")


@pytest.mark.parametrize(
    ("declarations", "expected"),
    [
        ("fill:red;stroke-opacity:.5", 0),
        ("opacity:.5", 1),
        ("OPACITY : .5; mix-blend-mode:screen", 1),
        ("mask:url(#m)", 2),
        ("filter:url(#f);mask:url(#m);opacity:0", 4),
        ("mask-type:alpha", 0),
    ],
)
def test_what_is_drawn_apart_needs_a_surface(declarations: str, expected: int) -> None:
    assert surfaces(declarations) == expected


@pytest.mark.parametrize(
    ("declarations", "expected"),
    [
        ("fill:red", 0),
        ("mix-blend-mode: normal !important", 0),
        ("mix-blend-mode:multiply", 1),
        ("mix-blend-mode:normal;Mix-Blend-Mode : SCREEN", 1),
        ("mix-blend-mode:multiply;mix-blend-mode:luminosity", 3),
        ("mix-blend-mode:inherit", 3),
        ("mix-blend-mode:/**/hue", 3),
        ("mix-blend-mode/**/:hue", 3),
        ("m\\69x-blend-mode:screen", 1),
        ("x-mix-blend-mode:hue", 0),
    ],
)
def test_a_blend_weighs_by_its_mode(declarations: str, expected: int) -> None:
    assert blends(declarations) == expected


def test_the_blends_of_a_sheet_count_for_all_that_may_have_them() -> None:
    assert read(".a{mix-blend-mode:hue} g{mix-blend-mode:screen} *{a:b}").blends(COUNT) == 71


def test_the_surfaces_of_a_sheet_are_bounded_by_depth_and_by_matches() -> None:
    assert read(".a{opacity:.5}").surfaces(COUNT, 4) == 4
    assert read(".b{mask:url(#m)}").surfaces(COUNT, 40) == 6
    assert read(".a{fill:red}").surfaces(COUNT, 40) == 0


def test_urls_are_found_in_any_case_and_through_escapes() -> None:
    assert urls("URL(#a) url( '#b' ) u\\72l(#c) url(\\23 d) url(http://e#f)") == [
        "a",
        "b",
        "c",
        "d",
    ]


@pytest.mark.parametrize(
    "piece",
    [
        "@import url(https://",
        "@import 'https://a';",
        "mix-blend-mode:",
        "{",
        "}",
        "a,",
        "/*",
        "'",
        "'\n",
        "url(",
        "\\",
        "a{",
        "@",
        ".a ",
        "*",
        "{a:url(#b)",
        ">",
    ],
)
def test_no_sheet_takes_long(piece: str) -> None:
    started = time.process_time()
    with suppress(UnsupportedFormat):
        read(piece * 300_000).references(COUNT)
    assert time.process_time() - started < 5  # a search that goes back takes minutes
