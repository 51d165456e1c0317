"""From values to pixels over round ticks, and values as text: the arithmetic of a chart's axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

_TICKS = 5


class Scale:
    """From values to pixels, over round ticks that begin at `least`."""

    def __init__(self, least: float, most: float, start: float, end: float) -> None:
        """Values from `least` to `most` lie between the pixels `start` and `end`."""
        self.step = _round_step((most - least) / _TICKS)
        self._least, self._start = least, start
        # A little air, so that no label touches the top.
        self.most = least + self.step * math.ceil((most - least) * 1.06 / self.step or 1)
        self._pixels = (end - start) / (self.most - least)

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self._start + (value - self._least) * self._pixels

    def ticks(self) -> list[float]:
        """Round values, the ends among them."""
        count = round((self.most - self._least) / self.step)
        return [self._least + self.step * i for i in range(count + 1)]


def near(values: Sequence[float], start: float, end: float) -> Scale:
    """A scale around these values, so that differences of a few percent can be seen."""
    least, most = min(values, default=0), max(values, default=0)
    step = _round_step(max(most - least, most * 0.05) / _TICKS)
    # Half a step of air at least on either side.
    first = max(0.0, step * math.floor(least / step - 0.5))
    return Scale(first, most + step / 2, start, end)


def _round_step(rough: float) -> float:
    """The next larger of 1, 2, 2.5 and 5 times a power of ten."""
    if rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)


def number(value: float) -> str:
    """At most three digits that matter, and no exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
