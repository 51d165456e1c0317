"""The arithmetic of a dry run, its sample, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.waiting import eventually
from worker.errors import StorageUnavailable
from worker.operate.backfill.estimate import Prices, Reservoir, Sampled, estimate, summary
from worker.operate.backfill.inventory import Item
from worker.operate.backfill.remaining import Remaining, time_left
from worker.settings.settings import Settings

SOUND = Sampled(width=4000, height=2500)


def settings(**values: str) -> Settings:
    return Settings.load({}, values)


def test_hours_and_dollars_follow_from_the_sample() -> None:
    prices = Prices(vcpus=10, vcpu_hour=0.01, thousand_writes=0.005, thousand_reads=0.0004)
    found = estimate(1_000_000, [SOUND, SOUND], settings(), prices)
    # 10 megapixels at 0.095 s, and 0.05 s around them: one second a photo.
    assert found["cpu_seconds"] == 1.0
    assert found["vcpu_hours"] == pytest.approx(277.778)
    assert found["hours"] == pytest.approx(27.778)
    assert found["renditions_a_photo"] == 9
    assert found["dollars"] == {
        "machines": pytest.approx(2.7778),
        "writes": 50.0,
        "reads": pytest.approx(0.8),
        "total": pytest.approx(53.5778),
    }
    assert "27.778 hours on 10 vCPUs" in summary(found)
    assert "assumed: 2 originals stand for all" in summary(found)


def test_what_would_be_refused_is_told_and_costs_nothing() -> None:
    found = estimate(100, [SOUND, Sampled(refused="corrupt_original")], settings(), Prices())
    assert found["refused"] == {"corrupt_original": 1}
    assert found["photos"] == 50
    assert "of 2 sampled would be refused: corrupt_original 1" in summary(found)


def test_without_a_sound_original_there_is_no_figure() -> None:
    found = estimate(100, [Sampled(refused="corrupt_original")], settings(), Prices())
    assert "hours" not in found
    assert "no estimate" in summary(found)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ladder": "320,full"}, "your ladder and efforts cost as much"),
        ({"effort": "6"}, "your ladder and efforts cost as much"),
        ({"target_bytes": "100k"}, "targets, which take several encodes"),
    ],
    ids=["ladder", "effort", "target"],
)
def test_what_the_figures_are_not_of_is_said(values: dict[str, str], words: str) -> None:
    found = estimate(100, [SOUND], settings(**values), Prices())
    assert words in summary(found)


def test_slower_encodings_take_longer() -> None:
    seconds = [
        float(str(estimate(100, [SOUND], settings(encoding=each), Prices())["cpu_seconds"]))
        for each in ("fast", "balanced", "compact", "small")
    ]
    assert seconds == sorted(set(seconds))


def test_a_reservoir_keeps_some_of_all_and_the_same_every_time() -> None:
    def kept() -> list[int]:
        reservoir: Reservoir[int] = Reservoir(20)
        for number in range(10_000):
            reservoir.add(number)
        return reservoir.kept

    assert kept() == kept()
    assert len(set(kept())) == 20
    assert max(kept()) > 5_000
    none: Reservoir[int] = Reservoir(0)
    none.add(1)
    assert none.kept == []


def test_the_rest_is_told_once_something_is_known() -> None:
    assert time_left(10.0, 0, 100) == {}
    assert time_left(10.0, 50, None) == {}
    assert time_left(1.0, 50, 100) == {}
    assert time_left(10.0, 20, 100) == {"left": "40 s"}
    assert time_left(10.0, 120, 100) == {"left": "0 s"}


class Names:
    """An inventory of so many names; fails behind them if told so."""

    bucket = "b"

    def __init__(self, count: int, *, fails: bool = False) -> None:
        self.count = count
        self.fails = fails
        self.behind: str | None = None
        self.ended = False

    def items(self, behind: str | None = None) -> Iterator[Item]:
        self.behind = behind
        for number in range(self.count):
            yield Item(name=str(number))
        self.ended = True
        if self.fails:
            raise StorageUnavailable("503")


def test_names_are_counted_behind_the_place_meanwhile() -> None:
    names, times = Names(100), iter([0.0, 10.0])
    with Remaining(names, "p", lambda: next(times)) as remaining:
        assert eventually(lambda: remaining.total, "all are counted") == 100
        assert remaining.left(20) == {"left": "40 s"}
    assert names.behind == "p"


def test_a_listing_that_fails_only_leaves_the_rest_unknown() -> None:
    names = Names(10, fails=True)
    with Remaining(names, None) as remaining:
        eventually(lambda: names.ended, "the listing has failed")
    assert remaining.total is None
