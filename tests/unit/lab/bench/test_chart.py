"""Charts: well-formed, to scale, and with every value in reading."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from worker.lab.bench.chart import Dot, Series, bars, dots, lines

SVG = "{http://www.w3.org/2000/svg}"


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 (our own)


def texts(svg: str) -> list[str]:
    root = parse(svg)
    assert root.tag == f"{SVG}svg"
    return ["".join(each.itertext()) for each in root.iter() if each.tag == f"{SVG}text"]


def test_bars_show_categories_units_and_values() -> None:
    series = [Series(name="encode", values=(0.5, 12.0)), Series(name="resize", values=(0.25, 3.0))]
    svg = bars("Time", "CPU s", ["320", "full"], series, x_label="rung")
    assert {"Time", "CPU s", "rung", "320", "full", "encode", "resize", "0.75", "15"} <= {
        *texts(svg)
    }
    told = re.findall(r"<title>([^<]*)</title></rect>", svg)
    assert told[0] == "320, encode: 0.5 CPU s"
    assert len(told) == 4


def test_bars_are_as_high_as_their_values_and_stand_on_each_other() -> None:
    series = [Series(name="a", values=(1.0, 2.0)), Series(name="b", values=(1.0, 2.0))]
    root = parse(bars("T", "s", ["x", "y"], series, x_label="l"))
    found = [each for each in root.iter(f"{SVG}rect") if len(each)]
    height = [float(each.attrib["height"]) for each in found]
    top = [float(each.attrib["y"]) for each in found]
    assert height == pytest.approx([height[0], height[0], 2 * height[0], 2 * height[0]], abs=0.2)
    assert top[1] + height[1] == pytest.approx(top[0], abs=0.2)


def test_lines_name_both_axes_and_start_at_zero() -> None:
    series = [
        Series(name="0 ms", points=((1, 31.5), (2, 61.0))),
        Series(name="50 ms", points=((1, 31.0), (2, 60.5))),
    ]
    svg = lines("Throughput", series, x_label="vCPUs", y_label="photos a minute")
    assert {"vCPUs", "photos a minute", "0 ms", "50 ms", "31.5", "61", "60.5", "1", "2", "0"} <= {
        *texts(svg)
    }
    assert svg.count("<polyline") == 2


def test_dots_are_named_and_their_labels_do_not_meet() -> None:
    found = [Dot(name=f"way {n}", x=1.1 + n / 100, y=3.0 + n / 100) for n in range(6)]
    svg = dots("T", found, x_label="MB", y_label="CPU s")
    assert {"MB", "CPU s", "way 0 (1.1; 3)", "way 5 (1.15; 3.05)"} <= {*texts(svg)}
    labels = [
        float(each.attrib["y"])
        for each in parse(svg).iter(f"{SVG}text")
        if "way" in (each.text or "")
    ]
    assert all(abs(a - b) >= 13 for i, a in enumerate(labels) for b in labels[:i])


@pytest.mark.parametrize(
    "draw",
    [
        lambda name: bars(name, name, [name], [Series(name=name, values=(1.0,))], x_label=name),
        lambda name: lines(name, [Series(name=name, points=((1, 1),))], x_label=name, y_label=name),
        lambda name: dots(name, [Dot(name=name, x=1, y=1)], x_label=name, y_label=name),
    ],
)
def test_names_of_any_kind_are_text(draw: Callable[[str], str]) -> None:
    svg = draw("<script>&\"'")
    assert "<script>" not in svg
    assert any("<script>&\"'" in text for text in texts(svg))


def test_nothing_and_zero_can_be_drawn() -> None:
    texts(bars("T", "s", [], [], x_label="l"))
    texts(bars("T", "s", ["a"], [Series(name="a", values=(0.0,))], x_label="l"))
    texts(lines("T", [], x_label="x", y_label="y"))
    texts(dots("T", [], x_label="x", y_label="y"))


@pytest.mark.parametrize("scale", [1e-4, 0.03, 1.0, 777.0, 3e6])
def test_every_size_fits_its_page_with_a_few_ticks(scale: float) -> None:
    values = tuple(scale * each for each in (0.2, 0.5, 1.0))
    svg = bars("T", "s", ["a", "b", "c"], [Series(name="n", values=values)], x_label="l")
    root = parse(svg)
    assert all(float(each.attrib["y"]) > 60 for each in root.iter(f"{SVG}rect") if len(each))
    assert 4 <= len(list(root.iter(f"{SVG}line"))) <= 8
