"""Charts: well-formed, to scale, and with every value in reading."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from worker.lab.bench.chart import bars

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> tuple[list[str], list[float]]:
    """A chart's texts, and the lengths of its bars."""
    root = ET.fromstring(svg)  # noqa: S314 (our own)
    assert root.tag == f"{SVG}svg"
    texts = ["".join(each.itertext()) for each in root.iter(f"{SVG}text")]
    return texts, [float(each.attrib["width"]) for each in root.iter(f"{SVG}rect")]


def test_bars_show_names_values_and_units() -> None:
    texts, _ = parsed(bars("Time", "CPU s", {"320": 0.5, "full": 1234.0}))
    assert texts == ["Time", "320", "0.500 CPU s", "full", "1,234.0 CPU s"]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 3e6])
def test_bars_are_as_long_as_their_values(scale: float) -> None:
    _, (quarter, whole, nothing) = parsed(bars("T", "s", {"a": scale, "b": 4 * scale, "c": 0.0}))
    assert quarter == pytest.approx(whole / 4, abs=0.2)
    assert 500 < whole < 760
    assert nothing == 0


def test_names_of_any_kind_are_text() -> None:
    name = "<script>&\"'"
    svg = bars(name, name, {name: 1.0})
    assert "<script>" not in svg
    assert parsed(svg)[0] == [name, name, f"1.000 {name}"]


@pytest.mark.parametrize("values", [{}, {"a": 0.0}])
def test_nothing_and_zero_can_be_drawn(values: dict[str, float]) -> None:
    assert len(parsed(bars("T", "s", values))[1]) == len(values)
